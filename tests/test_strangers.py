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
from tests_support import cli

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
    options = ("--suite", "short", "--no-floors", "--set", "tracker=lines")
    cli("run", "unetpp", *options, "--workspace", folder, site=site, check=0)
    return next(folder.glob("runs/short/unetpp/*"))


def test_every_kind_is_registered_and_listed_with_its_plugin(site, plugins):
    assert not plugins.broken
    listed = json.loads(cli("plugins", "--format", "json", site=site, check=0).stdout)
    theirs = {row["plugin"]: row for row in listed if row["distribution"] == "strangers"}
    assert {name: row["registered"] for name, row in theirs.items()} == ADDS
    assert {kind for added in ADDS.values() for kind in added} == set(plugins.kinds)


def test_a_plugin_is_one_module(site):
    """One file each; two where something lies beside it (a recipe, a suite, a lazy command)."""
    for name in ADDS:
        folder = site / name
        count = len(list(folder.iterdir())) if folder.is_dir() else 1
        assert count <= 2, name


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
    (run,) = workspace.glob("runs/short/one_class/*")
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


def test_a_metric_is_looked_up_and_computed(plugins):
    """The end-to-end part, a column and a criterion ``missed.class``, belongs here once results are
    computed from registered metrics."""
    from benchbcss.scoring.per_class import estimands

    entry = plugins.metrics.find("missed")
    assert (entry.info.direction, entry.info.track) == ("lower", "both")
    counts = np.array([[[3, 5, 1, 9], [0, 0, 0, 18]], [[4, 0, 4, 10], [2, 1, 0, 15]]])
    values = estimands(entry.load(), counts)
    assert values["pooled"].tolist() == [5 / 12, 0.0]
    assert values["per_roi"].tolist() == [(1 / 4 + 1 / 2) / 2, 0.0]


def test_a_reader_opens_its_folder(plugins, tmp_path):
    """The end-to-end part, ``run --data`` on such a folder, belongs here once data is read by
    registered readers."""
    reader = plugins.readers.find("flat").load()
    assert not reader.detects(tmp_path)
    codes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    Image.fromarray(codes).save(tmp_path / "P07_mercy.mask.png")
    Image.fromarray(np.dstack([codes] * 3)).save(tmp_path / "P07_mercy.png")
    assert reader.detects(tmp_path)
    opened = reader(tmp_path)
    (name,) = opened.ids
    assert (opened.patient(name), opened.site(name)) == ("P07", "mercy")
    assert np.array_equal(opened.codes(name), codes)
    assert opened.image(name).shape == (2, 3, 3)


def test_an_augmentation_is_made_from_its_settings(plugins):
    """The end-to-end part, ``train.augment: [{name: posterise, levels: 2}]``, belongs here once
    recipes list registered transforms."""
    import torch

    factory = plugins.augmentations.find("posterise").load()
    image, target = torch.tensor([0.1, 0.4, 0.6, 0.9]).expand(3, 1, 4), torch.zeros(1, 4).long()
    seen, kept = factory(levels=2).apply(image, target, torch.Generator())
    assert seen[0, 0].tolist() == [0, 0, 1, 1]
    assert kept is target
    with pytest.raises(ValueError, match="at least 2"):
        factory(levels=1)
