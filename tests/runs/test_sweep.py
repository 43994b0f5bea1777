"""Sweeps: validation alone chooses, the test ROIs are seen by the chosen alone, and what was tried
is counted. Workers run in this process; one test lets them be processes."""

import contextlib
import io
import json
import os
import sys

import pytest
import yaml
from click.testing import CliRunner
from tests_support import cli

import benchbcss as bb
from benchbcss.board import model
from benchbcss.errors import InputError, RunError
from benchbcss.results import store
from benchbcss.runs import executors, grids, rehearse, worker
from benchbcss.upkeep import clean

PLUGIN = """
import torch
from benchbcss.contract import Backend, BackendInfo
from benchbcss.hookspecs import hookimpl
from benchbcss.training.losses import cross_entropy
from benchbcss.weights import Provenance


@hookimpl
def benchbcss_register_backends(register):
    for name, trains in (("learner", True), ("painter", False)):
        register(BackendInfo(name=name, summary=name, tracks={"semantic"},
                             recipe=f"tried:{name}.yaml", trains=trains), f"tried:{name.title()}")


class Learner(Backend):
    def build(self):
        self.context.provenance = Provenance(source="random")
        return torch.nn.Conv2d(3, 6, self.recipe["model"]["width"], padding="same")

    def loss(self, model, batch):
        if batch.target.shape[0] and self.recipe["model"]["fails"]:
            raise RuntimeError("it fails as asked")
        return {"ce": cross_entropy(model(batch.image), batch.target)}

    def predict(self, model, image):
        return model(image)


class Painter(Backend):
    def build(self):
        self.context.provenance = Provenance(source="none")
        return torch.nn.Identity()

    def predict_roi(self, model, image):
        import numpy as np
        return np.full(image.shape[:2], self.recipe["model"]["label"], np.uint8)
"""
RECIPES = {
    "learner": "name: learner\ntrain: {lr: 0.01, batch_size: 2}\nmodel: {width: 1, fails: false}\n",
    "painter": "name: painter\nmodel: {label: 0}\n",
}
SUITE = {
    "summary": "tiny",
    "label_map": "bcss5",
    "mpp": 0.3,
    "tracks": ["semantic"],
    "tile": {"size": 32, "overlap": 8},
    "budget": {"steps": 3},
}
LEARNER = {"backends": ["learner"], "grid": {"train.lr": [0.001, 0.1], "model.width": [1, 3]}}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A distribution with a backend that learns and one that paints a label."""
    from benchbcss import registry

    place = tmp_path / "site"
    (place / "tried").mkdir(parents=True)
    (place / "tried" / "__init__.py").write_text(PLUGIN)
    for name, text in RECIPES.items():
        (place / "tried" / f"{name}.yaml").write_text(text)
    info = place / "tried-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tried\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[benchbcss]\ntried = tried\n")
    monkeypatch.syspath_prepend(str(place))
    path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    registry.load.cache_clear()
    yield place
    registry.load.cache_clear()
    sys.modules.pop("tried", None)


@pytest.fixture
def here(site, monkeypatch):
    """Runs are carried out in this process; the list of what was worked on."""
    worked = []

    def run_all(specs, settings, *, executor):
        outcomes = []
        for spec in specs:
            run_dir = spec.run_dir(settings.workspace)
            if executors.finished(spec, settings):
                outcomes.append(executors.Outcome(spec, run_dir, "kept"))
                continue
            executors.prepare(spec, settings)
            worked.append((spec.backend, spec.seed, spec.until))
            with contextlib.redirect_stdout(io.StringIO()):  # its log
                worker._work(run_dir)
            outcomes.append(executors.judge(spec, run_dir))
        return outcomes

    monkeypatch.setattr(executors, "run_all", run_all)
    return worked


class Sweep:
    """A sweep's file beside a suite's, and the command on it."""

    def __init__(self, folder, place):
        self.folder, self.workspace = folder, place / "w"
        self.path = place / "tune.yaml"
        suite = {**SUITE, "split": "splits.csv"}
        (place / "tiny.yaml").write_text(yaml.safe_dump(suite))

    def write(self, *grid, **more):
        content = {"suite": "tiny.yaml", "grids": list(grid), **more}
        self.path.write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def words(self):
        data = ["--data", self.folder, "--workspace", self.workspace, "--device", "cpu"]
        return list(map(str, ["sweep", self.path, *data]))

    def run(self, *more, floors=False):
        from benchbcss.cli.main import cli as group

        words = [*self.words, *([] if floors else ["--no-floors"]), *more]
        return CliRunner().invoke(group, words, catch_exceptions=True)

    def json(self, *more):
        done = self.run("--format", "json", *more)
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    def records(self):
        return sorted(self.workspace.glob("runs/*/*/*/result.json"))


@pytest.fixture
def sweep(folder, tmp_path):
    return Sweep(folder, tmp_path)


def test_validation_alone_chooses_and_only_the_chosen_are_tested(here, sweep):
    sweep.write(LEARNER, {"backends": ["painter"], "grid": {"model.label": [0, 1]}}, seeds=2)
    told = sweep.json()
    settings = told["settings"]
    labels = [item["setting"] for item in settings]
    assert labels[:3] == ["lr=0.001 width=1", "lr=0.001 width=3", "lr=0.1 width=1"]
    assert labels[4:] == ["label=0", "label=1"]
    for backend, count in (("learner", 4), ("painter", 2)):
        mine = [item for item in settings if item["backend"] == backend]
        assert len(mine) == count
        best = max(mine, key=lambda item: item["validation"]["mean"])
        assert [item for item in mine if item["chosen"]] == [best]
        scores = best["validation"]["by_seed"].values()
        assert best["validation"]["mean"] == pytest.approx(sum(scores) / 2)
    # Of what is not chosen no test score exists anywhere, and no prediction of a test ROI.
    assert len(sweep.records()) == 4
    predicted = {
        path.parents[1].parent for path in sweep.workspace.glob("runs/*/*/*/predictions/*/*")
    }
    assert predicted == {path.parent for path in sweep.records()}
    for chosen, count in zip(told["chosen"], (4, 2), strict=True):
        assert len(chosen["runs"]) == 2
        assert chosen["test"].keys() == {"semantic"}
        for run in chosen["runs"]:
            record = json.loads((sweep.workspace / run / "result.json").read_text())
            selection = record["selection"]
            assert selection["settings"] == count
            assert selection["tested"] == 0
            assert selection["rule"] == "mean validation Dice, over 2 seeds"
    # What was trained is not trained again.
    assert here.count(("learner", 0, "training")) == 4
    assert here.count(("learner", 0, "result")) == 1


def test_the_score_is_the_best_validation_of_the_weights_that_are_scored(here, sweep):
    sweep.write({"backends": ["learner"]})
    (item,) = sweep.json()["settings"]
    record = json.loads(sweep.records()[0].read_text())
    assert item["validation"]["mean"] == record["training"]["best_mean_dice"]
    assert item["validation"]["sd"] is None
    assert item["setting"] == ""


def test_a_second_time_nothing_is_run_and_more_settings_count_on(here, sweep):
    sweep.write({"backends": ["learner"], "grid": {"train.lr": [0.001, 0.1]}})
    first = sweep.json()
    del here[:]
    assert sweep.json() == first
    assert here == []
    # The grid is replaced after the test score was seen: the two tried before still count.
    sweep.write({"backends": ["learner"], "grid": {"train.lr": [0.1, 0.2, 0.3]}})
    again = sweep.json()
    assert [kind for _, _, kind in here].count("training") == 2
    (chosen,) = again["chosen"]
    assert chosen["selection"]["settings"] == 4
    # One that was tested before and is beaten now is said beside the choice.
    (before,) = first["chosen"]
    rejected = before["runs"] != chosen["runs"] and before["setting"] in ("lr=0.1",)
    assert chosen["selection"]["tested"] == int(rejected)
    record = json.loads((sweep.workspace / chosen["runs"][0] / "result.json").read_text())
    assert record["selection"] == chosen["selection"]


def test_an_interrupted_setting_goes_on_where_it_stopped(here, sweep, monkeypatch):
    sweep.write({"backends": ["painter"], "grid": {"model.label": [0, 1]}})
    kill = {"left": 1}
    real = worker._work

    def once(run_dir):
        if not kill["left"]:
            raise KeyboardInterrupt
        kill["left"] -= 1
        return real(run_dir)

    monkeypatch.setattr(worker, "_work", once)
    done = sweep.run()
    assert done.exit_code == 130
    assert "1 of 2 runs are finished" in done.stderr
    assert sweep.records() == []
    monkeypatch.setattr(worker, "_work", real)
    del here[:]
    sweep.json()
    assert [kind for _, _, kind in here] == ["training", "result"]


def test_nothing_is_chosen_while_a_setting_fails(here, sweep):
    sweep.write({"backends": ["learner"], "grid": {"model.fails": [False, True]}})
    done = sweep.run()
    assert done.exit_code == 1
    assert "1 of 2 runs failed" in done.stderr
    assert "Nothing is chosen" in done.stderr
    assert sweep.records() == []
    # Left out of the file, it was tried all the same.
    sweep.write({"backends": ["learner"], "set": {"model.fails": False}})
    (chosen,) = sweep.json()["chosen"]
    assert chosen["selection"]["settings"] == 2


def test_a_run_that_waits_for_its_sweep_is_neither_interrupted_nor_rubbish(here, sweep):
    sweep.write({"backends": ["painter"], "grid": {"model.label": [0, 1]}})
    sweep.json()
    (waiting,) = {p.parent for p in sweep.workspace.glob("runs/*/*/*/validation.json")} - {
        p.parent for p in sweep.records()
    }
    assert store.is_held(waiting)
    board = model.load(sweep.workspace)
    assert board.unfinished == []
    assert board.failures == []
    assert [item.path for item in clean.look(sweep.workspace) if item.path == waiting] == []
    assert _states(sweep.workspace, "runs", "list") == {"done", "held"}
    assert _states(sweep.workspace, "status") == {"done", "held"}
    told = " ".join(_words(sweep.workspace, "status").split())
    assert (
        "held: 1 run of sweeps, trained and validated; a sweep scores only what it chooses" in told
    )
    assert "interrupted" not in told
    # Damaged, it is made anew.
    (waiting / "validation.json").write_text('{"mean_dice": 1.0, "track": "semantic"}')
    assert not store.is_held(waiting)
    assert "held" not in _states(sweep.workspace, "runs", "list")
    del here[:]
    sweep.json()
    assert [kind for _, _, kind in here] == ["training"]


def _words(workspace, *command):
    from benchbcss.cli.main import cli as group

    done = CliRunner().invoke(group, [*command, "--workspace", str(workspace)])
    assert done.exit_code == 0, done.output
    return done.stdout


def _states(workspace, *command):
    return {run["state"] for run in json.loads(_words(workspace, *command, "--format", "json"))}


def test_from_python_it_does_what_the_command_does(here, sweep):
    sweep.write({"backends": ["painter"], "grid": {"model.label": [0, 1]}}, seeds=2)
    where = {"data": sweep.folder, "workspace": sweep.workspace, "quiet": True}
    made = bb.sweep(sweep.path, device="cpu", floors=False, **where)
    table = made.to_pandas()
    assert list(table["chosen"]) == [True, False], "the best first"
    assert table["validation"].is_monotonic_decreasing
    assert list(table["seeds"]) == [2, 2]
    told = sweep.json()
    assert {i["setting"]: i["validation"]["mean"] for i in told["settings"]} == dict(
        zip(table["setting"], table["validation"], strict=True)
    )
    runs = made.load()
    assert [str(run.path) for run in runs] == told["chosen"][0]["runs"]
    assert {run.result.selection.settings for run in runs} == {2}
    assert {row.backend for row in made.leaderboard().rows} == {"painter"}
    assert f"painter {table['setting'][0]}: validation" in repr(made)
    with pytest.raises(TypeError, match="Did you mean 'floors'"):
        bb.sweep(sweep.path, flors=True)


def test_from_python_nothing_is_chosen_while_a_setting_fails(here, sweep):
    sweep.write({"backends": ["learner"], "grid": {"model.fails": [False, True]}})
    with pytest.raises(RunError, match="1 of 2 runs failed.*learner seed 0: .*it fails as asked"):
        bb.sweep(sweep.path, data=sweep.folder, workspace=sweep.workspace, quiet=True, device="cpu")
    assert sweep.records() == []


def test_the_board_says_among_how_many_a_row_was_chosen(here, sweep):
    sweep.write({"backends": ["painter"], "grid": {"model.label": [0, 1, 2]}})
    sweep.json()
    from benchbcss.cli.main import cli as group

    words = ["leaderboard", "--workspace", str(sweep.workspace)]
    shown = " ".join(CliRunner().invoke(group, words).stdout.split())
    assert "painter: best of 3 settings by validation (sweep tune)" in shown


def test_best_of_all_chooses_one(here, sweep):
    grids_of = [{"backends": ["learner"]}, {"backends": ["painter"], "grid": {"model.label": [0]}}]
    sweep.write(*grids_of, best_of="all")
    told = sweep.json()
    (chosen,) = told["chosen"]
    assert chosen["selection"]["settings"] == 2
    best = max(told["settings"], key=lambda item: item["validation"]["mean"])
    assert chosen["backend"] == best["backend"]


def test_a_table_for_people(here, sweep):
    sweep.write({"backends": ["painter"], "grid": {"model.label": [0, 1]}}, seeds=[3, 5])
    done = sweep.run(floors=False)
    assert done.exit_code == 0
    assert "mean validation Dice, which alone decides" in done.stdout
    assert "best of 2 settings by validation; semantic test mean Dice" in done.stdout


def test_a_dry_run_builds_every_setting_and_starts_none(here, sweep, monkeypatch):
    asked = []
    monkeypatch.setattr(
        rehearse, "_ask", lambda spec, seeds: asked.append(spec) or rehearse._answer(spec, seeds)
    )
    sweep.write({"backends": ["painter"], "grid": {"model.label": [0, 1]}}, seeds=2)
    done = sweep.run("--dry-run")
    assert done.exit_code == 0
    assert [spec.recipe.model["label"] for spec in asked] == [0, 1]
    assert done.stdout.count("painter seed 0 to do") == 2
    assert "2 settings x 2 seeds = 4 runs" in done.stderr
    assert here == []
    assert not (sweep.workspace / "runs").exists()
    assert not (sweep.workspace / "sweeps").exists()


def test_in_processes_of_their_own(site, sweep):
    sweep.write({"backends": ["painter"]})
    done = cli(*sweep.words, "--no-floors", check=0)
    assert "painter: best of 1 settings by validation" in done.stdout
    assert len(sweep.records()) == 1


def test_without_validation_rois_nothing_may_choose(here, sweep):
    lines = (sweep.folder / "splits.csv").read_text().replace(",val", ",train")
    (sweep.folder / "splits.csv").write_text(lines)
    sweep.write({"backends": ["painter"]})
    done = sweep.run()
    assert isinstance(done.exception, InputError)
    assert "has no validation ROI" in str(done.exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grids: [", "is not YAML"),
        ("- a", "holds no mapping"),
        ("seeds: 2", "grids is missing"),
        ("grids: []", "grids: tuple should have at least 1 item"),
        ("grids: [{backend: [x]}]", "there is no key grids.0.backend. Did you mean backends?"),
        ("grids: [{backends: [x]}]\nsead: 1", "there is no key sead. Did you mean seeds?"),
        ("grids: [{backends: []}]", "grids.0.backends: tuple should have at least 1 item"),
        ("grids: [{backends: [x], grid: {train.lr: 1}}]", "grids.0.grid.train.lr"),
        ("grids: [{backends: [x], grid: {train.lr: []}}]", "grids.0.grid.train.lr"),
        ("grids: [{backends: [x], grid: {lr=: [1]}}]", "'lr=' is no key"),
        ("grids: [{backends: [x], grid: {train.lr: [.nan]}}]", "must be a finite number"),
        ("grids: [{backends: [x], grid: {'y:train.lr': [1]}}]", "names a backend"),
        ("grids: [{backends: [x], set: {a.b: 1}, grid: {a.b: [1]}}]", "both in set and in grid"),
        ("grids: [{backends: [x, x]}]", "has the setting 'x' twice"),
        ("grids: [{backends: [x]}]\nseeds: 0", "seeds"),
        ("grids: [{backends: [x]}]\nseeds: [1, 1]", "seeds names 1 twice"),
        ("grids: [{backends: [x]}]\nname: ../up", "name"),
        (
            "grids: [{backends: [x]}]\nseeds: 1\nseeds: 2",
            "'seeds' is written twice, in line 2 and line 3",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        grids.read(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        grids.read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"grids: \xe9")
    with pytest.raises(InputError, match="cannot be read"):
        grids.read(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"backends": ["lerner"]}, "Did you mean 'learner'?"),
        ({"backends": ["floor_majority"]}, "is a floor, which is not tuned"),
        ({"backends": ["learner"], "grid": {"train.rl": [1, 2]}}, "train.lr"),
        (
            {"backends": ["learner"], "grid": {"train.lr": [0.01, "1e-2"]}},
            "come to the same recipe",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_runs(here, sweep, grid, said):
    sweep.write(grid)
    done = sweep.run()
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert here == []


@pytest.mark.parametrize("seeds", ["[4294967296]", "[-1]", "1001", "0", "[0, 0]", "[1.5]"])
def test_seeds_that_no_run_takes_are_refused(tmp_path, seeds):
    """Before all of them fail, one by one."""
    path = tmp_path / "s.yaml"
    path.write_text(f"seeds: {seeds}\ngrids: [{{backends: [a]}}]\n")
    with pytest.raises(InputError, match="seeds"):
        grids.read(path)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{grid: {x.y: [&v [*v]]}}", "'x.y' holds itself"),
        ("{set: {x.y: &v {k: *v}}}", "'x.y' holds itself"),
        (
            "{grid: {"
            + ", ".join(f"k{i}.x: [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]" for i in range(9))
            + "}}",
            "1000000000 settings, and 10000 are the most",
        ),
    ],
)
def test_grids_without_end_are_refused(tmp_path, grid, message):
    path = tmp_path / "s.yaml"
    path.write_text(f"grids: [{{backends: [a], {grid[1:-1]}}}]\n")
    with pytest.raises(InputError, match=message):
        grids.read(path)
