"""A pipe, a folder, a link to nowhere ... in the place of each file of a workspace: every command
answers, says at most one error, and shows the healthy runs."""

import json
import shutil

import pytest
from probe_support import SHAPES, become, fault_of, in_time, no_charts  # noqa: F401 - used by all
from runs_support import finished_run

from benchbcss.errors import BenchError
from benchbcss.io import sentence
from benchbcss.results import store
from benchbcss.runs import executors, worker

#: what lies in a run's folder; the pictures' names are added
FILES = (
    *("spec.json", "result.json", "failure.json", "status.json", "submitted.json", "log.txt"),
    *("epochs.jsonl", "training.json", "predictions.json", "files.sha256", "rois.parquet"),
    *("counts.parquet", "ignored.parquet", "objects.parquet", "surface.parquet"),
    *("scores-semantic.parquet", "checkpoints/final.safetensors", "predictions", "scoring"),
)
GOOD = "seed0-good"
#: without these there is no run
DECISIVE = ("result.json", "spec.json", "failure.json")
USUAL = ("pipe", "folder")


@pytest.fixture(scope="module")
def workspace(phantom, tmp_path_factory):
    """A good run, and for each file and shape a run that is good but for that."""
    folder = tmp_path_factory.mktemp("special")
    _, _, run_dir = finished_run(phantom, folder, "floor_colour")
    good = run_dir.rename(run_dir.with_name(GOOD))
    pictures = [path.relative_to(good).as_posix() for path in good.rglob("*.png")]
    for name in (*FILES, pictures[0]):
        for shape in SHAPES if name in DECISIVE else USUAL:
            stem = name.replace("/", "-")[:60]
            run = shutil.copytree(good, good.with_name(f"seed0-{stem}-{shape.replace(' ', '-')}"))
            become(run / name, shape)
    return folder


def of_all(workspace, output):
    """Commands that look at every run."""
    for form in ("table", "json", "csv", "md", "latex", "html"):
        yield "leaderboard", "--format", form, "--all"
    yield "leaderboard", "--check"
    yield "compare", GOOD, "floor_colour"
    yield "report", "--output", output / "report.html"
    for form in ("table", "json"):
        yield "status", "--format", form
        yield "runs", "list", "--all", "--format", form
    yield "runs", "clean"
    yield ("cite",)
    yield ("doctor",)


def test_commands_that_look_at_all_runs(workspace, tmp_path):
    faults = {}
    for command in of_all(workspace, tmp_path):
        if fault := fault_of(*command, "--workspace", workspace):
            faults[command] = fault
    assert not faults, "\n".join(f"{k}: {v}" for k, v in faults.items())


def of_one(run, output):
    """Commands that are given a run's folder."""
    if run.name.startswith(tuple(f"seed0-{name}" for name in DECISIVE)):
        yield "runs", "show", run
        yield "runs", "show", "--format", "json", run
        yield "cancel", run
    if run.name.startswith(("seed0-epochs", "seed0-counts", "seed0-result")):
        yield "runs", "show", run, "--curves", output / "curves.svg"
        yield "runs", "show", run, "--confusion", output / "confusion.svg"
    yield "show-roi", run, "worst", "--output", output / "roi.png"
    yield "rescore", run
    if run.name.endswith("pipe"):
        yield "runs", "rm", run, "--yes"


def test_commands_that_are_given_a_run(workspace, tmp_path):
    faults = {}
    for run in sorted((workspace / "runs" / "phantom" / "floor_colour").glob("seed0-*")):
        for command in of_one(run, tmp_path):
            if fault := fault_of(*command, "--workspace", workspace):
                faults[command] = fault
    assert not faults, "\n".join(f"{k}: {v}" for k, v in faults.items())


@pytest.mark.parametrize("shape", USUAL)
@pytest.mark.parametrize("name", [*FILES, "checkpoints"])
def test_the_same_command_makes_good_or_says_what_is_in_the_way(workspace, tmp_path, name, shape):
    """By a worker, in the folder of a run that was finished."""
    good = workspace / "runs" / "phantom" / "floor_colour" / GOOD
    wanted, spec = store.load(good).tracks, store.load_spec(good)
    run_dir = spec.run_dir(tmp_path)
    shutil.copytree(good, run_dir)
    become(run_dir / name, shape)
    reason = in_time(lambda: carried_out(spec, run_dir, tmp_path))
    if reason:
        assert str(run_dir) in reason
        assert "Error" not in reason
    else:
        assert store.damage(run_dir) == []
        assert store.load(run_dir).tracks == wanted


def carried_out(spec, run_dir, workspace):
    """Why the run failed, or None."""
    try:
        executors.prepare(spec, executors.Settings(workspace, lambda text: None))
        if not worker.main(run_dir):
            return None
    except BenchError as error:
        return str(error)
    except OSError as error:  # its caller makes one sentence of it
        return sentence(error)
    return json.loads((run_dir / "failure.json").read_text())["reason"]
