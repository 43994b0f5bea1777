"""The records of this project's own runs, the pages made from them, and the command that makes
both."""

import importlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchbcss.board import cells
from benchbcss.results import evaluate, store
from benchbcss.results.schema import METRICS_VERSION, SCHEMA_VERSION
from benchbcss.suites import load_suite

ROOT = Path(__file__).parents[2]
LARGEST = 10e6  # bytes; 99 runs, with intervals of every core metric, take 9.5e6


@pytest.fixture(scope="module")
def refresh():
    sys.path.insert(0, str(ROOT / "leaderboard"))
    try:
        yield importlib.import_module("refresh")
    finally:
        sys.path.remove(str(ROOT / "leaderboard"))


@pytest.fixture
def pages(refresh, monkeypatch):
    monkeypatch.chdir(ROOT)
    return refresh.pages


@pytest.fixture(scope="module")
def records(refresh):
    """{folder: record} of what is kept."""
    folders = sorted((refresh.RESULTS / "runs").glob("*/*/*"))
    return {path: store.load(path) for path in folders if store.has_record(path)}


# -- what is kept ----------------------------------------------------------------------------------


def test_the_page_is_what_the_records_give(refresh, pages):
    assert pages.PAGE.read_text() == pages.page(refresh.backends()), "run: make picture"


def test_the_readme_shows_their_board(pages):
    block = pages.BLOCK.search(pages.README.read_text())[0]
    assert pages.board("semantic") in block, "run: make picture"
    assert max(map(len, block.splitlines())) <= 80
    for status, mark in cells.MARKS.items():
        assert f"{mark} {status}" in block


def test_every_backend_has_rows_or_is_said_to_lack_them(refresh, pages, records):
    text = pages.PAGE.read_text()
    there = {(record.backend, record.seed) for record in records.values()}
    kept = (refresh.RESULTS / "runs").glob("*/*/*/failure.json")
    failed = {(path.parts[-3], store.load_spec(path.parent).seed) for path in kept}
    lacking = text.partition("## Not run yet")[2].partition("##")[0]
    for name in refresh.backends():
        seeds = {seed for seed in range(pages.SEEDS) if (name, seed) not in there | failed}
        lines = [line for line in lacking.splitlines() if f"`{name}`" in line]
        said = {int(n) for line in lines for n in re.findall(r"\d", line.partition(" of ")[0])}
        assert said == seeds, name
    assert {name for name, _ in failed} == set(
        re.findall(r"^- `(\w+)`:", text.partition("## Failed")[2].partition("##")[0], re.M)
    )


def test_the_records_are_of_this_suite_and_of_present_metrics(refresh, records):
    assert records
    for path, record in records.items():
        assert json.loads((path / "result.json").read_text())["schema_version"] == SCHEMA_VERSION
        assert record.metrics_version == METRICS_VERSION, "run: make leaderboard"
        assert record.data.phantom
        assert (record.preset, record.suite.name) == ("smoke", refresh.SUITE)
        assert record.suite.file == str(refresh.SUITE_FILE)
        assert record.fingerprint == store.load_spec(path).fingerprint()
    assert len({record.suite.fingerprint for record in records.values()}) == 1
    suite, preset = load_suite(ROOT / refresh.SUITE_FILE)
    now = [criterion.model_dump() for criterion in suite.criteria]
    assert preset == "smoke"
    for record in records.values():
        assert [criterion.model_dump() for criterion in record.suite.criteria] == now


def test_one_record_of_each_backend_and_seed(records):
    keys = [(record.backend, record.seed) for record in records.values()]
    assert len(keys) == len(set(keys))


def test_they_are_small_and_name_no_place_of_the_machine(refresh, pages):
    files = [path for path in pages.HERE.rglob("*") if path.is_file() and ".pyc" not in path.name]
    assert sum(path.stat().st_size for path in files) < LARGEST
    kept = [path for path in refresh.RESULTS.rglob("*") if path.is_file()]
    endings = {path.suffix for path in kept if path.name[0] != "."}  # those are not committed
    assert endings <= {".json", ".jsonl", ".parquet"}
    for path in refresh.RESULTS.rglob("*.json"):
        assert '"/' not in path.read_text(), path


def test_phantom_is_said_wherever_numbers_are(pages):
    text = pages.PAGE.read_text()
    assert text.index("**Phantom.**") < text.index("##")
    for block in re.findall(r"^phantom-small / [^\n]*\n[^\n]*", text, re.M):
        assert "synthetic images (phantom), not BCSS" in " ".join(block.split())


def test_every_picture_of_the_documentation_is_made_by_a_command(pages):
    """And shown somewhere."""
    made = {pages.REPORT, *(pages.PICTURES / name for name in ("board.png", "confusion.svg"))}
    made.add(pages.PICTURES / "curves.svg")
    there = [*ROOT.glob("*.png"), *ROOT.glob("*.svg"), *(ROOT / "docs").rglob("*.png")]
    there += [*(ROOT / "docs").rglob("*.svg"), *pages.PICTURES.iterdir()]
    assert {path for path in there if "build" not in path.parts} == made
    text = pages.PAGE.read_text()
    for path in made - {pages.REPORT}:
        assert f"({path.relative_to(pages.HERE)})" in text
    assert "(docs/report.png)" in pages.README.read_text()


def test_the_pictures_are_of_the_best_model(pages):
    row = pages.best()
    for name in ("confusion", "curves"):
        assert row.name in (pages.PICTURES / f"{name}.svg").read_text()
    widths = {pages.REPORT: pages.WIDTH, pages.PICTURES / "board.png": pages.BOARD_WIDTH}
    for path, width in widths.items():
        with Image.open(path) as image:
            assert image.size == (width, pages.HEIGHT)


def test_their_tables_give_the_records_again(refresh, tmp_path):
    """So a new version of metrics needs no new runs."""
    run = tmp_path / "runs" / refresh.SUITE / "unetpp" / "seed0-x"
    shutil.copytree(kept_run(refresh), run)
    (old,), (new,) = (
        result.model_dump(mode="json")["tracks"].values()
        for result in (store.load(run), evaluate.rebuild(run))
    )
    assert within(old, new)


def within(old, new):
    """Whether ``new`` says all that ``old`` says; records made today may say more."""
    if isinstance(old, dict):
        return old.keys() <= new.keys() and all(within(old[name], new[name]) for name in old)
    return old == new


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(refresh, monkeypatch, tmp_path):
    """Results and pages in a folder of their own."""
    for module in (refresh, refresh.pages):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(refresh.pages, "PAGE", tmp_path / "PAGE.md")
    monkeypatch.setattr(refresh.pages, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(refresh.pages, "README", tmp_path / "README.md")
    monkeypatch.setattr(refresh.pages, "REPORT", tmp_path / "report.png")
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(ROOT)
    return tmp_path


def kept_run(refresh):
    return next((ROOT / "leaderboard" / "results" / "runs" / refresh.SUITE).glob("unetpp/seed0-*"))


def test_of_each_backend_and_seed_the_newest_record_is_kept(refresh, elsewhere):
    workspace = elsewhere / "w"
    real = kept_run(refresh)
    spec = json.loads((real / "spec.json").read_text())
    spec["data_root"] = str(workspace / "data" / "x")
    for age, name in enumerate(("seed0-new", "seed0-old")):
        run = workspace / "runs" / refresh.SUITE / "unetpp" / name
        run.mkdir(parents=True)
        for path in real.iterdir():
            shutil.copy(path, run)
        (run / "spec.json").write_text(json.dumps(spec, indent=1))
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "final.safetensors").write_bytes(b"large")
        stamp = 1e9 - age
        os.utime(run / "result.json", (stamp, stamp))
    old = elsewhere / "results" / "runs" / refresh.SUITE / "unetpp" / "seed0-before"
    shutil.copytree(real, old)
    refresh.collect(workspace)
    kept = elsewhere / "results" / "runs" / refresh.SUITE / "unetpp"
    assert [path.name for path in kept.iterdir()] == ["seed0-new"]
    assert not (kept / "seed0-new" / "checkpoints").exists()
    assert store.load_spec(kept / "seed0-new").data_root == "build/leaderboard/data/x"
    assert store.load(kept / "seed0-new") == store.load(real)


def test_a_failure_is_kept_and_said(refresh, elsewhere):
    real = kept_run(refresh)
    run = elsewhere / "w" / "runs" / refresh.SUITE / "unetpp" / "seed1-x"
    run.mkdir(parents=True)
    spec = json.loads((real / "spec.json").read_text()) | {"seed": 1}
    (run / "spec.json").write_text(json.dumps(spec))
    (run / "failure.json").write_text(json.dumps({"reason": "no weights", "stage": "loading"}))
    shutil.copytree(
        real, elsewhere / "results" / "runs" / refresh.SUITE / real.parent.name / real.name
    )
    refresh.collect(elsewhere / "w")
    text = refresh.pages.page(["unetpp", "eomt"])
    assert "- `unetpp`: no weights" in text
    assert "- seed 2 of `unetpp`" in text
    assert "- seeds 0, 1, 2 of `eomt`" in text


def test_runs_go_seed_by_seed_and_a_failed_one_stops_nothing(refresh, monkeypatch):
    asked = []

    class Done:
        returncode = 1

    monkeypatch.setattr(
        refresh.subprocess, "run", lambda command, **_: asked.append(command) or Done
    )
    refresh.run(2, Path("w"))
    seeds = [command[command.index("--seed") + 1] for command in asked]
    assert seeds == ["0", "1"]
    assert all(set(refresh.installed()) <= set(command) for command in asked)
    Done.returncode = 130  # stopped by hand
    with pytest.raises(SystemExit):
        refresh.run(2, Path("w"))


def test_families_come_first(refresh):
    names = refresh.backends()
    assert tuple(names[: len(refresh.FIRST)]) == refresh.FIRST
    assert len(set(names)) == len(names)


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_command_pictures_a_page(refresh, tmp_path):
    (tmp_path / "page.html").write_text("<h1>A page</h1>" + "<p>text</p>" * 9)
    refresh.pages.shoot(tmp_path / "page.html", tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as image:
        assert image.size == (refresh.pages.WIDTH, refresh.pages.HEIGHT)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10
