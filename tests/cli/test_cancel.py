"""``benchbcss cancel``: what cannot be stopped keeps nothing else from being stopped."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from benchbcss import registry
from benchbcss.cli.cancel import cancel
from benchbcss.errors import InputError, RunError
from benchbcss.io import write_json
from benchbcss.runs.executors import local

ANSWERS = {"idle": InputError("idle is not at work here."), "mute": RunError("Slurm is mute.")}


@pytest.fixture
def stop(tmp_path, monkeypatch):
    """Runs ``cancel`` on runs of these backends, of which a known one does not let itself."""
    stopped = []

    def stop_one(run_dir):
        name = run_dir.parent.name
        if name in ANSWERS:
            raise ANSWERS[name]
        stopped.append(name)
        return "told to stop"

    def run(*names, executor="local"):
        for name in names:
            folder = tmp_path / "runs" / "s" / name / "seed0-x"
            folder.mkdir(parents=True)
            write_json(folder / "submitted.json", {"executor": executor, "jobs": []})
            write_json(folder / "status.json", {"stage": "training"})
        done = CliRunner().invoke(cancel, [*names, "--workspace", str(tmp_path)])
        return SimpleNamespace(done=done, stopped=stopped, error=done.exception)

    monkeypatch.setattr(local.Local, "stop", staticmethod(stop_one))
    return run


def test_a_queue_that_does_not_answer_stops_no_other(stop):
    outcome = stop("mute", "a", "b")
    assert outcome.stopped == ["a", "b"]
    assert outcome.done.exit_code == 1
    assert "error: mute seed0-x: Slurm is mute." in outcome.done.output


def test_one_that_is_not_at_work_is_told_beside_those_that_are(stop):
    outcome = stop("idle", "a")
    assert (outcome.stopped, outcome.done.exit_code) == (["a"], 0)
    assert "warning: idle is not at work here." in outcome.done.output


def test_none_at_work_is_an_error(stop):
    outcome = stop("idle")
    assert outcome.stopped == []
    assert isinstance(outcome.error, InputError)


def test_an_executor_that_is_not_installed_is_named(stop):
    assert "gone" not in registry.load().executors
    outcome = stop("a", executor="gone")
    assert isinstance(outcome.error, InputError)
    assert "'gone'" in str(outcome.error)
