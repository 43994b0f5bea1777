"""Whatever a criterion may ask for has an interval, in records made from now on."""

import shutil
from pathlib import Path

import pytest

from benchbcss.results import evaluate, judge, store
from benchbcss.results.schema import Criterion, MetricUsed

RUNS = Path(__file__).parents[2] / "leaderboard" / "results" / "runs" / "phantom-small"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run of the project's leaderboard, its tables beside its record."""
    (source,) = (RUNS / "unetpp").glob("seed0-*")
    return shutil.copytree(source, tmp_path_factory.mktemp("run") / source.name)


@pytest.mark.parametrize("metric", ["recall.tumor", "iou.stroma", "dice.other", "dice.tumor"])
def test_every_metric_and_class_that_is_scored_can_meet_a_criterion(run_dir, metric):
    result = evaluate.rebuild(run_dir)
    suite = result.suite.model_copy(
        update={"criteria": [Criterion(metric=metric, at_least=0.05)], "file": None}
    )
    (verdict,) = judge.verdicts(result.model_copy(update={"suite": suite}), "semantic")
    assert (verdict.status, verdict.reason.count("[")) == ("pass", 2)


def test_values_of_a_plugin_that_is_not_installed_stay(run_dir, tmp_path):
    """They are of the same predictions and masks; a criterion may rest on them."""
    place = shutil.copytree(run_dir, tmp_path / "run")
    old = store.load(place)
    part = old.tracks["semantic"]
    used = MetricUsed(label="missed", direction="lower", plugin="plugin 'missed' of strangers 1.0")
    values = {name: {**part.per_class[name], "missed": {"tumor": 0.25}} for name in part.per_class}
    update = {"metrics": {**part.metrics, "missed": used}, "per_class": values}
    tracks = {"semantic": part.model_copy(update=update)}
    store.save(place, old.model_copy(update={"tracks": tracks}))
    new = evaluate.rebuild(place).tracks["semantic"]
    assert new.metrics["missed"] == used
    assert {name: new.per_class[name]["missed"] for name in values} == {
        name: {"tumor": 0.25} for name in values
    }
    assert new.per_class["per_roi"]["iou"] == part.per_class["per_roi"]["iou"]
