"""What a stranger touches: the examples of docs/hooks.md, installed as one distribution.

Each row of the architecture's table is proven by using what one file adds, as a user would.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests_support import SET_TINY_UNETPP, cli

PAGE = Path(__file__).parents[1] / "docs" / "hooks.md"
#: plugin -> what it registers
ADDS = {
    "one_class": {"backends": ["one_class"]},
    "short": {"suites": ["short"]},
    "flat": {"readers": ["flat"]},
    "missed": {"metrics": ["missed"]},
    "posterise": {"augmentations": ["posterise"]},
    "foreground": {"executors": ["foreground"]},
    "tsv": {"exporters": ["tsv"]},
    "lines": {"trackers": ["lines"]},
    "dark": {"labellers": ["dark"]},
    "finished": {"commands": ["finished"]},
    "notes": {},
}


def install(site):
    """The page's examples as a distribution ``strangers 1.0`` in the folder ``site``."""
    files = dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", PAGE.read_text(), re.S))
    info = site / "strangers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(files.pop("entry_points.txt"))
    for name, content in files.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(content)
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture
def plugins(site, monkeypatch):
    """The registry with the strangers in it, in this process."""
    from benchbcss import registry

    monkeypatch.syspath_prepend(str(site))
    registry.load.cache_clear()
    before = set(sys.modules)
    yield registry.load()
    registry.load.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def workspace(site, tmp_path_factory):
    """One run of a stranger's backend on a stranger's suite by a stranger's executor."""
    folder = tmp_path_factory.mktemp("workspace")
    options = ("--suite", "short", "--executor", "foreground", "--no-floors")
    done = cli("run", "one_class", *options, "--workspace", folder, site=site, check=0)
    assert "one_class: in the foreground" in done.stderr
    return folder


@pytest.fixture(scope="module")
def trained(site, tmp_path_factory):
    """The folder of a short training logged by a stranger's tracker."""
    pytest.importorskip("segmentation_models_pytorch")
    folder = tmp_path_factory.mktemp("trained")
    options = ("--suite", "short", "--no-floors", "--set", "tracker=lines", *SET_TINY_UNETPP)
    cli("run", "unetpp", *options, "--workspace", folder, site=site, check=0)
    return next(folder.glob("runs/short/unetpp/[!.]*"))


def test_every_kind_is_registered_and_listed_with_its_plugin(site, plugins):
    assert not plugins.broken
    listed = json.loads(cli("plugins", "--format", "json", site=site, check=0).stdout)
    theirs = {row["plugin"]: row for row in listed if row["distribution"] == "strangers"}
    assert {name: row["registered"] for name, row in theirs.items()} == ADDS
    assert {kind for added in ADDS.values() for kind in added} == set(plugins.kinds)


def test_a_plugin_is_one_module(site):
    """One file each; two where something lies beside it (a recipe, a suite, a lazy command)."""
    for name in ADDS:
        written = {path.name for path in (site / name).glob("*")} - {"__pycache__"}
        assert len(written) <= 2, name


@pytest.mark.parametrize("name", ADDS)
def test_each_works_alone(site, name):
    done = cli("plugins", "--format", "json", site=site, BENCHBCSS_PLUGINS=name, check=0)
    listed = {row["plugin"]: row["state"] for row in json.loads(done.stdout)}
    assert listed == {"core": "loaded", name: "loaded"}


def test_names_are_listed_without_importing_what_is_heavy(site):
    code = (
        "import sys; from benchbcss import registry; registry.load(); "
        "print({'torch', 'numpy', 'pandas', 'finished_command'} & set(sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "set()\n", done.stderr


def test_a_backend_runs(workspace):
    (path,) = workspace.glob("runs/short/one_class/*/result.json")
    result = json.loads(path.read_text())
    assert result["plugin"]["distribution"] == "strangers"
    recall = result["tracks"]["semantic"]["per_class"]["pooled"]["recall"]
    assert (recall["stroma"], recall["tumor"]) == (1.0, 0.0)


def test_a_suite_is_used(workspace):
    assert [path.name for path in workspace.glob("runs/*")] == ["short"]
    (path,) = workspace.glob("runs/short/one_class/*/spec.json")
    assert json.loads(path.read_text())["suite"]["highlight"] == "blood_vessel"


def test_an_executor_keeps_what_is_finished(site, workspace):
    options = ("--suite", "short", "--executor", "foreground", "--no-floors", "--format", "json")
    done = cli("run", "one_class", *options, "--workspace", workspace, site=site, check=0)
    assert [run["status"] for run in json.loads(done.stdout)] == ["kept"]


def test_an_exporter_writes_the_board(site, workspace, tmp_path):
    common = ("leaderboard", "--workspace", workspace)
    text = cli(*common, "--format", "tsv", site=site, check=0).stdout
    suite, track, backend, mean = text.strip().split("\t")
    assert (suite, track, backend) == ("short", "semantic", "one_class")
    assert 0 < float(mean) < 1
    cli(*common, "--output", tmp_path / "board.tsv", site=site, check=0)
    assert (tmp_path / "board.tsv").read_text() == text
    assert "|tsv]" in cli("leaderboard", "--help", site=site, check=0).stdout
    done = cli(*common, "--format", "tvs", site=site, check=2)
    assert "There is no exporter 'tvs'. Did you mean 'tsv'?" in done.stderr


def test_a_command_is_listed_and_runs(site, workspace):
    assert re.search(r"finished +List finished runs\.", cli("--help", site=site, check=0).stdout)
    (run,) = workspace.glob("runs/short/one_class/[!.]*")
    done = cli("finished", "--workspace", workspace, site=site, check=0)
    assert done.stdout.split() == [run.name]
    assert "Did you mean 'finished'" in cli("finishd", site=site, check=2).stderr


@pytest.mark.slow
def test_a_tracker_is_told_of_training(trained):
    logged = [json.loads(line) for line in (trained / "epochs.jsonl").read_text().splitlines()]
    lines = (trained / "lines.txt").read_text().splitlines()
    assert lines[0] == "unetpp seed 0"
    assert lines[1:-1] == [f"{record['step']} {record['loss']['loss']}" for record in logged]
    assert lines[-1] == "done: ['semantic']"


@pytest.mark.slow
def test_events_are_told_to_every_plugin(trained):
    notes = (trained / "notes.txt").read_text().splitlines()
    assert notes[0] == "unetpp starts"
    assert notes[1] == "epoch 0 ended"
    assert notes[-1] == "a result of semantic"


@pytest.mark.slow
def test_a_labeller_names_what_sam2_proposes(site, tmp_path):
    pytest.importorskip("sam2")
    sets = ("view.size=64", "predict.labeller=dark")
    options = [word for text in sets for word in ("--set", text)]
    command = ("run", "sam_zeroshot", "--weights", "none", "--suite", "short", "--no-floors")
    cli(*command, *options, "--workspace", tmp_path, site=site, check=0)
    (path,) = tmp_path.glob("runs/short/sam_zeroshot/*/result.json")
    result = json.loads(path.read_text())
    assert result["notes"]["semantic"]["labeller"] == "dark"
    predicted = path.parent / "predictions" / "semantic"
    labels = {label for p in predicted.iterdir() for label in np.unique(np.array(Image.open(p)))}
    assert labels <= {0, 1}


SUITE = """
summary: Data and a bound of a stranger's
label_map: bcss5
split: splits.csv
tile: {size: 64, overlap: 16}
tracks: [semantic]
budget: {epochs: null, steps: 4}
default_preset: smoke
criteria:
  - {metric: missed.tumor, at_most: 0.9}
  - {metric: missed.stroma, at_most: 0.9}
"""


@pytest.fixture(scope="module")
def flat(site, tmp_path_factory):
    """Data in a stranger's layout, scored with a stranger's metric by a stranger's backend."""
    root = tmp_path_factory.mktemp("flat")
    rng = np.random.default_rng(0)
    names = [f"P{i:02}_{'mercy' if i % 2 else 'hope'}" for i in range(16)]
    (root / "data").mkdir()
    for name in names:
        codes = rng.choice([1, 2, 3, 4, 18, 0], (64, 64)).astype(np.uint8)
        Image.fromarray(codes).save(root / "data" / f"{name}.mask.png")
        image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "data" / f"{name}.png")
    parts = ["train", "val", *["test"] * 14]
    lines = [f"{name},{part}" for name, part in zip(names, parts, strict=True)]
    (root / "data" / "splits.csv").write_text("filename,split\n" + "\n".join(lines) + "\n")
    (root / "theirs.yaml").write_text(SUITE)
    options = ("--suite", root / "theirs.yaml", "--data", root / "data", "--no-floors")
    cli("run", "one_class", *options, "--workspace", root / "w", site=site, check=0)
    return root


def test_a_reader_opens_a_folder_of_its_layout(flat, plugins):
    from benchbcss.data.dataset import Dataset
    from benchbcss.data.store import TileStore

    source = Dataset(flat / "data", TileStore(flat / "store"))
    assert type(source.reader).__name__ == "Flat"
    assert source.split(str(flat / "data" / "splits.csv")).patients["P00_hope.png"] == "P00"
    (path,) = (flat / "w").glob("runs/theirs/one_class/*/result.json")
    spread = json.loads(path.read_text())["tracks"]["semantic"]["spread"]
    assert spread["institutes"].keys() == {"hope", "mercy"}


def test_a_metric_is_in_the_result_and_judged(flat, site):
    """One class, stroma, is answered everywhere: nothing of it is missed, and all of the others."""
    (path,) = (flat / "w").glob("runs/theirs/one_class/*/result.json")
    section = json.loads(path.read_text())["tracks"]["semantic"]
    assert section["per_class"]["pooled"]["missed"]["stroma"] == 0.0
    assert section["per_class"]["per_roi"]["missed"]["tumor"] == 1.0
    used = section["metrics"]["missed"]
    assert (used["label"], used["direction"]) == ("missed", "lower")
    assert "strangers" in used["plugin"]
    common = ("leaderboard", "--workspace", flat / "w", "--format", "json")
    row = json.loads(cli(*common, site=site, check=0).stdout)["tables"][0]["rows"][0]
    verdicts = {verdict["label"]: verdict["status"] for verdict in row["criteria"]}
    assert verdicts == {"missed.tumor <= 0.9": "fail", "missed.stroma <= 0.9": "pass"}


def test_a_bound_that_changes_changes_the_verdict_at_the_next_look(flat, site):
    suite = flat / "theirs.yaml"
    try:
        suite.write_text(SUITE.replace("missed.tumor, at_most: 0.9", "missed.tumor, at_most: 1.0"))
        common = ("leaderboard", "--workspace", flat / "w", "--format", "json")
        row = json.loads(cli(*common, site=site, check=0).stdout)["tables"][0]["rows"][0]
        assert [verdict["status"] for verdict in row["criteria"]] == ["pass", "pass"]
    finally:
        suite.write_text(SUITE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{metric: mised.tumor, at_most: 0.9}", "Did you mean 'missed.tumor'"),
        ("{metric: missed.tumor, at_least: 0.9}", "missed.tumor is better lower"),
        ("{metric: dice.tumor, at_most: 0.9}", "dice.tumor is better higher"),
    ],
)
def test_a_criterion_that_cannot_be_judged_is_refused(tmp_path, site, line, message):
    text = SUITE.replace("{metric: missed.tumor, at_most: 0.9}", line)
    (tmp_path / "s.yaml").write_text(text)
    done = cli("suites", "--validate", tmp_path / "s.yaml", site=site, check=2)
    assert message in done.stderr


def test_an_augmentation_is_listed_by_a_recipe(plugins):
    import torch

    from benchbcss.errors import RecipeError
    from benchbcss.recipes import NamedTransform
    from benchbcss.training.augment import pipeline

    steps = [NamedTransform(name="posterise", levels=2), NamedTransform(name="flips")]
    image, target = torch.tensor([0.1, 0.4, 0.6, 0.9]).expand(3, 1, 4), torch.zeros(1, 4).long()
    seen, kept = pipeline(steps[:1])(image, target, torch.Generator())
    assert seen[0, 0].tolist() == [0, 0, 1, 1]
    assert torch.equal(kept, target)
    assert len(pipeline(steps).transforms) == 2
    with pytest.raises(RecipeError, match="at least 2"):
        pipeline([NamedTransform(name="posterise", levels=1)])
