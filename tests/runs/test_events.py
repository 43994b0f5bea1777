"""What plugins are told of a run; and one written for the first edition, which still works."""

import dataclasses
import json
import types
from typing import ClassVar

import pydantic
import pytest
from tests_support import SET_TINY_UNETPP, cli

from benchbcss import events, hookspecs, registry
from benchbcss.errors import PluginError, UnknownNameError
from benchbcss.protocols import Tracker
from benchbcss.registry import Plugins, Source
from benchbcss.runs.announce import Announcer

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
    options = ("--suite", "short", "--no-floors", *SET_TINY_UNETPP)
    done = cli("run", "unetpp", *options, "--workspace", tmp_path, site=site)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/short/unetpp/[!.]*")
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
    assert [entry["plugin"] for entry in listed] == ["core", "floors", "suites"]


# -- one process: who is told what --------------------------------------------------------------


class model(pydantic.BaseModel):
    """Stands for a specification or a record: frozen, and dumped for hooks of the first edition."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)


class Heard(Tracker):
    """Keeps what it is told; raises where ``fails`` says so."""

    fails = ""
    told: ClassVar[list] = []

    def _keep(self, event):
        Heard.told.append(event)
        if type(event).__name__ == Heard.fails:
            raise RuntimeError("the disk of the tracker is full")

    run_started = epoch_ended = run_ended = run_failed = _keep


def listener(told, fails=""):
    """A plugin that hears everything and raises at the event ``fails``."""
    module = types.ModuleType("listener")

    def hook(event):
        told.append(event)
        if type(event).__name__ == fails:
            raise RuntimeError("the disk is full")

    for name in ("run_start", "epoch_end", "run_end", "run_failed"):
        impl = types.FunctionType(hook.__code__, globals(), name, None, hook.__closure__)
        setattr(module, f"benchbcss_{name}", hookspecs.hookimpl(impl))
    return module


def tracking(name):
    module = types.ModuleType(name)

    @hookspecs.hookimpl
    def benchbcss_register_trackers(register):
        register("heard", f"{__name__}:Heard")

    module.benchbcss_register_trackers = benchbcss_register_trackers
    return module


@pytest.fixture
def plugins(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())
    found = Plugins()
    monkeypatch.setattr(registry, "load", lambda: found)
    monkeypatch.setattr(Heard, "fails", "")
    monkeypatch.setattr(Heard, "told", [])
    found.add(tracking("tracking"), Source("tracking", "dist-t", "1"))
    return found


def _this():
    module = types.ModuleType(__name__)
    module.Heard = Heard
    return module


def tell(announcer):
    announcer.run_started(model(seed=1))
    announcer.epoch_ended({"step": 2})
    announcer.run_ended(model(tracks={}))


def names(told):
    return [type(event).__name__ for event in told]


def test_everyone_hears_everything_in_order(plugins, tmp_path):
    told = []
    plugins.add(listener(told), Source("ear", "dist-e", "1"))
    tell(Announcer(tmp_path, "heard"))
    assert names(told) == names(Heard.told) == ["RunStarted", "EpochEnded", "RunEnded"]
    assert [told[0].spec, told[1].record, told[2].result] == [
        model(seed=1),
        {"step": 2},
        model(tracks={}),
    ]
    assert {event.run_dir for event in told} == {tmp_path}


def test_without_a_tracker_hooks_hear_all_the_same(plugins, tmp_path):
    told = []
    plugins.add(listener(told), Source("ear", "dist-e", "1"))
    tell(Announcer(tmp_path, "none"))
    assert len(told) == 3
    assert Heard.told == []


def test_a_plugin_that_raises_is_named_and_told_nothing_more(plugins, tmp_path, capsys):
    bad, good = [], []
    plugins.add(listener(bad, "RunStarted"), Source("bad", "dist-b", "2"))
    plugins.add(listener(good), Source("good", "dist-g", "1"))
    Heard.fails = "EpochEnded"
    tell(Announcer(tmp_path, "heard"))
    assert names(bad) == ["RunStarted"]
    assert len(good) == 3
    assert names(Heard.told) == ["RunStarted", "EpochEnded"]
    said = capsys.readouterr().err
    assert "warning: plugin 'bad' of dist-b 2 raised RuntimeError: the disk is full" in said
    assert "warning: the tracker 'heard' raised RuntimeError: the disk of the tracker" in said


def test_a_tracker_that_cannot_start_stops_the_run_and_hears_no_failure(plugins, tmp_path):
    told = []
    plugins.add(listener(told), Source("ear", "dist-e", "1"))
    Heard.fails = "RunStarted"
    announcer = Announcer(tmp_path, "heard")
    with pytest.raises(
        PluginError, match=r"'heard' \(plugin 'tracking' of dist-t 1\) cannot start"
    ):
        announcer.run_started(model())
    announcer.run_failed(RuntimeError("x"), "loading")
    assert names(Heard.told) == ["RunStarted"]
    assert told == []


def test_a_failure_is_told_in_words(plugins, tmp_path):
    announcer = Announcer(tmp_path, "heard")
    announcer.run_started(model())
    announcer.run_failed(PluginError("the loss was not finite"), "training")
    assert Heard.told[-1] == events.RunFailed(tmp_path, "the loss was not finite", "training")


def test_an_unknown_tracker_is_a_misspelt_name(plugins, tmp_path):
    with pytest.raises(UnknownNameError, match="There is no tracker 'herd'. Did you mean 'heard'"):
        Announcer(tmp_path, "herd").run_started(model())


def test_the_first_editions_arguments_still_come_with_a_warning_for_authors(plugins, tmp_path):
    heard = []
    module = types.ModuleType("old")

    @hookspecs.hookimpl
    def benchbcss_epoch_end(run_dir, record):
        heard.append((run_dir, record))

    module.benchbcss_epoch_end = benchbcss_epoch_end
    with pytest.warns(DeprecationWarning, match="take the argument 'event' alone"):
        plugins.add(module, Source("old", "dist-o", "1"))
    Announcer(tmp_path, "none").epoch_ended({"step": 1})
    assert heard == [(tmp_path, {"step": 1})]


def test_what_a_plugin_does_to_an_event_changes_no_run(plugins, tmp_path):
    module = types.ModuleType("vandal")

    @hookspecs.hookimpl
    def benchbcss_epoch_end(event):
        event.record["loss"]["loss"] = -1.0
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.record = {}

    module.benchbcss_epoch_end = benchbcss_epoch_end
    plugins.add(module, Source("vandal", "dist-v", "1"))
    record = {"step": 1, "loss": {"loss": 0.5}}
    Announcer(tmp_path, "none").epoch_ended(record)
    assert record == {"step": 1, "loss": {"loss": 0.5}}


@pytest.mark.slow
def test_a_failing_run_is_told(tmp_path):
    """A backend whose fit raises, heard by a plugin of the same distribution."""
    site = tmp_path / "site"
    info = site / "sad-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sad\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[benchbcss]\nsad = sad\n")
    (site / "sad").mkdir()
    (site / "sad" / "recipe.yaml").write_text("name: sad\ntrain: null\n")
    (site / "sad" / "short.yaml").write_text(SUITE)
    (site / "sad" / "__init__.py").write_text(SAD)
    command = ("run", "sad", "--suite", "short", "--no-floors", "--workspace", tmp_path / "w")
    done = cli(*command, site=site, check=1)
    assert "RuntimeError: nothing to fit" in done.stderr
    (run,) = tmp_path.glob("w/runs/short/sad/[!.]*")
    assert json.loads((run / "failure.json").read_text())["stage"] == "loading"
    assert (run / "told.txt").read_text() == (
        "loading: sad (plugin 'sad' of sad 1): while running fit it raised RuntimeError: nothing "
        "to fit (sad/__init__.py, line 29)"
    )


SAD = """
from pathlib import Path

from benchbcss import Backend, BackendInfo, hookimpl


@hookimpl
def benchbcss_register_backends(register):
    register(BackendInfo("sad", "s", {"semantic"}, "sad:recipe.yaml", trains=False), "sad:Sad")


@hookimpl
def benchbcss_register_suites(register):
    register(Path(__file__).parent / "short.yaml")


@hookimpl
def benchbcss_run_failed(event):
    (event.run_dir / "told.txt").write_text(f"{event.stage}: {event.reason}")


class Sad(Backend):
    def build(self):
        import torch

        return torch.nn.Identity()

    def fit(self, model, samples):
        raise RuntimeError("nothing to fit")
"""
