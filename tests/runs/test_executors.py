"""The loop over any executor; what ``local`` promises is in ``test_runs.py``."""

from pathlib import Path

import pytest

from benchbcss import registry
from benchbcss.errors import PluginError, UnknownNameError
from benchbcss.io import write_json
from benchbcss.kinds import EXECUTOR
from benchbcss.registry import Source
from benchbcss.runs import executors
from benchbcss.runs.executors import Executor, Outcome, Settings, failed, judge


class Spec:
    """What the loop needs of a specification."""

    def __init__(self, name):
        self.name = self.backend = name

    def run_dir(self, workspace):
        return workspace / self.name


class Backwards(Executor):
    """Ends what was submitted last first, one per poll."""

    poll_seconds = 0.0
    cancelled = 0
    stranger = False
    stops = False
    silent = False

    def submit(self, specs):
        self.waiting = list(specs)

    def poll(self):
        if Backwards.stops:
            raise KeyboardInterrupt
        if Backwards.silent:
            return None
        if Backwards.stranger:
            return [Outcome(Spec("other"), Path("/other"), "done")]
        spec = self.waiting.pop()
        return [Outcome(spec, spec.run_dir(self.settings.workspace), "done")]

    def cancel(self):
        Backwards.cancelled += 1


@pytest.fixture
def settings(tmp_path, monkeypatch):
    entry = EXECUTOR.entry(Source("p", "d", "1"), "backwards", "unused:Unused")
    plugins = registry.Plugins()
    plugins.executors.add(entry)
    monkeypatch.setattr(registry, "load", lambda: plugins)
    monkeypatch.setattr(type(entry), "load", lambda self: Backwards)
    for name, value in (("cancelled", 0), ("stranger", False), ("stops", False), ("silent", False)):
        monkeypatch.setattr(Backwards, name, value)
    return Settings(tmp_path, lambda text: None)


def test_outcomes_come_in_the_order_of_the_specifications(settings):
    specs = [Spec(name) for name in "abc"]
    outcomes = executors.run_all(specs, settings, executor="backwards")
    assert [outcome.spec.name for outcome in outcomes] == ["a", "b", "c"]
    assert Backwards.cancelled == 1


def test_nothing_to_run_is_nothing(settings):
    assert executors.run_all([], settings, executor="backwards") == []


def test_an_interruption_cancels(settings):
    Backwards.stops = True
    with pytest.raises(KeyboardInterrupt):
        executors.run_all([Spec("a")], settings, executor="backwards")
    assert Backwards.cancelled == 1


def test_an_executor_that_reports_another_run_is_named(settings):
    Backwards.stranger = True
    with pytest.raises(PluginError, match="'backwards' reports /other, which it was not asked"):
        executors.run_all([Spec("a")], settings, executor="backwards")
    assert Backwards.cancelled == 1


def test_an_executor_that_answers_nothing_is_named(settings):
    Backwards.silent = True
    with pytest.raises(PluginError, match=r"'backwards' answered poll\(\) with None, expected"):
        executors.run_all([Spec("a")], settings, executor="backwards")
    assert Backwards.cancelled == 1


def test_an_executor_that_cannot_be_made_is_named(settings, monkeypatch):
    def broken(self, settings):
        raise KeyError("queue")

    monkeypatch.setattr(Backwards, "__init__", broken)
    who = r"The executor 'backwards' \(plugin 'p' of d 1\) raised KeyError: 'queue'"
    with pytest.raises(PluginError, match=who):
        executors.run_all([Spec("a")], settings, executor="backwards")


def test_an_executor_without_its_methods_is_none():
    class Half(Executor):
        def submit(self, specs):
            pass

    assert EXECUTOR.fits(Backwards)
    assert not EXECUTOR.fits(Half)


def test_a_misspelt_executor(settings):
    with pytest.raises(UnknownNameError, match="no executor 'backward'. Did you mean 'backwards'"):
        executors.run_all([], settings, executor="backward")


def test_a_worker_is_judged_by_what_it_left(tmp_path):
    spec = Spec("a")
    assert judge(spec, tmp_path).reason == "the worker ended without a result"
    (tmp_path / "failure.json").unlink()
    write_json(tmp_path / "status.json", {"stage": "predicting"})
    assert (
        judge(spec, tmp_path, "killed by the queue").reason
        == "killed by the queue while predicting"
    )
    write_json(tmp_path / "failure.json", {"reason": "its own words", "stage": "predicting"})
    assert judge(spec, tmp_path, "exit status 1").reason == "its own words"
    write_json(tmp_path / "result.json", {})
    assert judge(spec, tmp_path).status == "done"
    assert judge(spec, tmp_path, "exit status 1").status == "failed"


def test_a_failure_that_cannot_be_written_is_reported_all_the_same(tmp_path):
    outcome = failed(Spec("a"), tmp_path / "no" / "folder", "lost")
    assert (outcome.status, outcome.reason) == ("failed", "lost")
