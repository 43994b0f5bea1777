"""Whatever a criterion may ask for has an interval, in records made from now on."""

import shutil
from pathlib import Path

import pytest

from benchbcss.results import evaluate, judge
from benchbcss.results.schema import Criterion

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
