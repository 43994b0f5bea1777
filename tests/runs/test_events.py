"""A tracker and a suite from a distribution of their own."""

import json

import pytest
from tests_support import cli

PLUGIN = """
import json
from pathlib import Path

from benchbcss import hookimpl


@hookimpl
def benchbcss_register_suites(register):
    register(Path(__file__).parent / "short.yaml")


def _note(run_dir, **content):
    with open(run_dir / "tracked.jsonl", "a") as handle:
        handle.write(json.dumps(content) + "\\n")


@hookimpl
def benchbcss_run_start(run_dir, spec):
    _note(run_dir, event="start", backend=spec["backend"], seed=spec["seed"])


@hookimpl
def benchbcss_epoch_end(run_dir, record):
    _note(run_dir, event="epoch", step=record["step"], loss=record["loss"]["loss"])


@hookimpl
def benchbcss_run_end(result, run_dir):
    _note(run_dir, event="end", mean=result["tracks"]["semantic"]["headline"]["per_roi"]["mean"])
"""
SUITE = """
summary: A phantom of minutes
phantom: {rois: 6, size: 96, seed: 2}
label_map: bcss5
split: splits.csv
tile: {size: 64, overlap: 16}
tracks: [semantic]
budget: {epochs: null, steps: 6}
default_preset: smoke
"""


@pytest.fixture
def site(tmp_path):
    package = tmp_path / "site" / "their_tracker"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "short.yaml").write_text(SUITE)
    info = tmp_path / "site" / "their_tracker-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tracker\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[benchbcss]\ntheirs = their_tracker\n")
    return tmp_path / "site"


@pytest.mark.slow
def test_a_strangers_tracker_hears_every_event_and_their_suite_runs(site, tmp_path):
    pytest.importorskip("segmentation_models_pytorch")
    done = cli(
        "run", "unetpp", "--suite", "short", "--no-floors", "--workspace", tmp_path, site=site
    )
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/short/unetpp/*")
    events = [json.loads(line) for line in (run / "tracked.jsonl").read_text().splitlines()]
    logged = [json.loads(line) for line in (run / "epochs.jsonl").read_text().splitlines()]
    assert events[0] == {"event": "start", "backend": "unetpp", "seed": 0}
    assert [e["loss"] for e in events[1:-1]] == [record["loss"]["loss"] for record in logged]
    result = json.loads((run / "result.json").read_text())
    mean = result["tracks"]["semantic"]["headline"]["per_roi"]["mean"]
    assert events[-1]["mean"] == pytest.approx(mean)


def test_they_are_listed_and_can_be_left_out(site):
    listed = json.loads(cli("plugins", "--format", "json", site=site).stdout)
    own = next(entry for entry in listed if entry["distribution"] == "their-tracker")
    assert own["version"] == "2.0"
    assert own["provides"] == ["short"]
    assert own["hooks"] == [
        "benchbcss_epoch_end",
        "benchbcss_register_suites",
        "benchbcss_run_end",
        "benchbcss_run_start",
    ]
    done = cli("plugins", "--format", "json", site=site, BENCHBCSS_PLUGINS="floors,suites")
    listed = json.loads(done.stdout)
    assert [entry["plugin"] for entry in listed] == ["floors", "suites"]
