import pytest

from benchbcss.scoring.verdicts import Estimate, judge, judge_stability


def estimates(*intervals, rois=45.0):
    return [Estimate(f"e{i}", sum(pair) / 2, pair, rois) for i, pair in enumerate(intervals)]


@pytest.mark.parametrize(
    ("intervals", "status"),
    [
        (((0.66, 0.72), (0.70, 0.74)), "pass"),
        (((0.66, 0.72), (0.60, 0.74)), "undecided"),
        (((0.40, 0.64), (0.50, 0.63)), "fail"),
        (((0.40, 0.64), (0.50, 0.70)), "undecided"),
        (((0.65, 0.70),), "pass"),
    ],
)
def test_both_estimands_decide(intervals, status):
    assert judge("mean_dice", "mean", 0.65, estimates(*intervals)).status == status


def test_few_rois_never_pass():
    verdict = judge("mean_dice", "mean", 0.65, estimates((0.8, 0.9), rois=4.2))
    assert verdict.status == "undecided"
    assert "4.2" in verdict.reason


def test_undefined_is_not_measured():
    verdict = judge("dice.x", "x", 0.45, [Estimate("pooled", None, None, 0)])
    assert verdict.status == "not measured"


def test_no_interval_is_undecided():
    assert judge("m", "m", 0.5, [Estimate("pooled", 0.9, None, 1)]).status == "undecided"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("stable", "pass"),
        ("collapsed", "fail"),
        ("diverged", "fail"),
        ("no learning", "fail"),
        ("no gain", "fail"),
        ("undefined", "not measured"),
        ("not applicable", "not measured"),
    ],
)
def test_stability(status, verdict):
    assert judge_stability({"status": status, "reason": "r", "note": None}).status == verdict


def test_untrained_is_not_measured():
    assert judge_stability(None).status == "not measured"
