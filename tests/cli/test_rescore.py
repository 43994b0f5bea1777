"""A result follows from predictions and masks, or from its tables where predictions are gone."""

import shutil

import pytest
from click.testing import CliRunner
from runs_support import finished_run

from benchbcss.cli.rescore import rescore as command
from benchbcss.results import store
from benchbcss.results.schema import METRICS_VERSION, Regions


@pytest.fixture(scope="module", params=["floor_colour", "floor_box_fill"])
def done(request, phantom, tmp_path_factory):
    """A finished run of either track, whose list of checksums is current."""
    return finished_run(phantom, tmp_path_factory.mktemp("workspace"), request.param)[2]


@pytest.fixture
def run_dir(done, tmp_path):
    return shutil.copytree(done, tmp_path / "run")


def rescore(run_dir, *options):
    """(exit status, what was said)."""
    from click import ClickException

    from benchbcss.errors import BenchError

    outcome = CliRunner().invoke(command, [str(run_dir), *options], standalone_mode=False)
    if outcome.exception and not isinstance(outcome.exception, (BenchError, ClickException)):
        raise outcome.exception
    return outcome.exception is None, outcome.stderr


def a_prediction(run_dir):
    return min(run_dir.glob("predictions/**/*.png"))


LOSSES = {
    "one": lambda run_dir: a_prediction(run_dir).unlink(),
    "damaged": lambda run_dir: a_prediction(run_dir).write_bytes(b"torn"),
    "all": lambda run_dir: shutil.rmtree(run_dir / "predictions"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_without_predictions_it_follows_from_the_tables_and_says_so(run_dir, loss):
    before = store.load(run_dir)
    LOSSES[loss](run_dir)
    for table in run_dir.glob("scores-*.parquet"):  # these follow from the others
        table.unlink()
    ended, said = rescore(run_dir)
    assert ended, said
    assert "missing or damaged: the result follows from its tables" in said
    assert store.load(run_dir) == before
    assert sorted(run_dir.glob("scores-*.parquet"))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("table", ["rois.parquet", "counts.parquet|prompted.parquet"])
@pytest.mark.parametrize("damage", ["deleted", "altered"])
def test_without_both_it_is_refused_with_what_to_do(run_dir, loss, table, damage):
    record = (run_dir / "result.json").read_bytes()
    LOSSES[loss](run_dir)
    for name in table.split("|"):
        path = run_dir / name
        if not path.exists():
            continue
        if damage == "deleted":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1] + b"x")
    ended, said = rescore(run_dir)
    assert not ended
    assert "missing or damaged, and its tables do not serve" in said
    assert "Run the command that made it once more" in said
    assert (run_dir / "result.json").read_bytes() == record


def test_tables_of_older_metrics_do_not_serve(run_dir, monkeypatch):
    from benchbcss.results import evaluate

    LOSSES["all"](run_dir)
    monkeypatch.setattr(evaluate, "METRICS_VERSION", evaluate.METRICS_VERSION + 1)
    ended, said = rescore(run_dir)
    assert not ended
    assert "were counted by metrics version" in said


def test_without_the_data_it_follows_from_the_tables_and_says_so(run_dir):
    before, spec = store.load(run_dir), store.load_spec(run_dir)
    store.save_spec(run_dir, spec.model_copy(update={"data_root": "/nowhere"}))
    ended, said = rescore(run_dir)
    assert ended, said
    assert "the data folder /nowhere does not exist: the result follows from its tables" in said
    assert store.load(run_dir) == before


def test_from_tables_if_asked_to_no_picture_is_read(run_dir, monkeypatch):
    from benchbcss.tracks import TRACKS

    def never(*_):
        raise AssertionError("a picture was counted")

    before = store.load(run_dir)
    for track in TRACKS.values():
        monkeypatch.setattr(type(track), "measure", never)
    for table in run_dir.glob("scores-*.parquet"):
        table.unlink()
    ended, said = rescore(run_dir, "--tables")
    assert ended, said
    assert "warning" not in said
    assert store.load(run_dir) == before
    assert sorted(run_dir.glob("scores-*.parquet"))


def test_tables_that_are_damaged_are_not_believed(run_dir):
    (run_dir / "rois.parquet").write_bytes(b"torn")
    ended, said = rescore(run_dir, "--tables")
    assert not ended
    assert "rois.parquet is altered" in said


@pytest.fixture
def without_clip(run_dir):
    """A run of which CLIP named no regions yet."""
    result = store.load(run_dir)
    if "prompted" not in result.tracks:
        pytest.skip("names no regions")
    part = result.tracks["prompted"]
    lacking = part.model_copy(update={"regions": Regions(not_measured="no weights")})
    store.save(run_dir, result.model_copy(update={"tracks": {"prompted": lacking}}))
    return run_dir


def test_what_other_metrics_scored_is_not_completed_by_these(without_clip):
    """Its record would say one version and hold another's numbers."""
    old = store.load(without_clip).model_copy(update={"metrics_version": METRICS_VERSION - 1})
    store.save(without_clip, old)
    ended, said = rescore(without_clip, "--complete")
    assert not ended
    assert f"scored by metrics version {METRICS_VERSION - 1}" in said
    assert "Run first: benchbcss rescore" in said
    assert store.load(without_clip) == old


def test_what_is_completed_follows_from_tables_as_they_were_written(without_clip):
    table = min(without_clip.glob("prompted*.parquet"))
    table.write_bytes(table.read_bytes() + b"!")
    ended, said = rescore(without_clip, "--complete")
    assert not ended
    assert f"{table.name} is altered" in said
