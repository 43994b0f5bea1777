import pytest

from benchbcss.scoring.verdicts import (
    Estimate,
    Said,
    Verdict,
    judge,
    judge_stability,
    not_applicable,
    over_tracks,
    unmet,
)


def estimates(*intervals, rois=45.0):
    return [Estimate(f"e{i}", sum(pair) / 2, pair, rois) for i, pair in enumerate(intervals)]


@pytest.mark.parametrize(
    ("intervals", "status"),
    [
        (((0.66, 0.72), (0.70, 0.74)), "pass"),
        (((0.66, 0.72), (0.60, 0.74)), "undecided"),
        (((0.40, 0.64), (0.50, 0.63)), "fail"),
        (((0.40, 0.64), (0.50, 0.70)), "undecided"),
        (((0.40, 0.64), (0.66, 0.70)), "undecided"),
        (((0.65, 0.70),), "pass"),  # at the bound
        (((0.40, 0.65),), "undecided"),
    ],
)
def test_both_estimands_decide(intervals, status):
    assert judge("mean_dice", "mean", 0.65, estimates(*intervals)).status == status


@pytest.mark.parametrize(("pair", "side"), [((0.8, 0.9), "above"), ((0.1, 0.2), "below")])
def test_below_ten_effective_rois_neither_pass_nor_fail(pair, side):
    verdict = judge("mean_dice", "mean", 0.65, estimates(pair, rois=9.9))
    assert verdict.status == "undecided"
    assert "effectively 9.9 ROIs" in verdict.reason
    assert side in verdict.reason
    decided = judge("mean_dice", "mean", 0.65, estimates(pair, rois=10.0))
    assert decided.status == {"above": "pass", "below": "fail"}[side]


def test_the_estimand_with_the_fewest_rois_counts():
    many, few = Estimate("per_roi", 0.8, (0.7, 0.9), 45), Estimate("pooled", 0.8, (0.7, 0.9), 4.2)
    assert judge("m", "m", 0.65, [many, few]).status == "undecided"


def test_what_the_points_alone_would_say_is_shown():
    both = judge("m", "m", 0.65, estimates((0.6, 0.8), (0.6, 0.9)))
    assert (both.status, both.by_point) == ("undecided", "pass")
    assert both.point == "0.700 e0, 0.750 e1"
    assert judge("m", "m", 0.65, estimates((0.2, 0.8), (0.2, 0.7))).by_point == "fail"
    assert judge("m", "m", 0.65, estimates((0.2, 0.8), (0.6, 0.9))).by_point == "undecided"


def test_undefined_is_not_measured():
    lost = Estimate("pooled", None, None, 0, "no ground truth of necrosis in the scored ROIs")
    verdict = judge("dice.necrosis", "x", 0.45, [Estimate("per_roi", 0.5, (0.4, 0.6), 45), lost])
    assert verdict.status == "not measured"
    assert verdict.reason == lost.reason
    assert judge("dice.x", "x", 0.45, []).status == "not measured"


def test_a_withheld_interval_is_undecided_with_its_reason():
    given = Estimate("per_roi", 0.9, (0.8, 0.95), 45)
    withheld = Estimate("pooled", 0.9, None, 2.5, "it rests on effectively 2.5 ROIs")
    verdict = judge("m", "m", 0.5, [given, withheld])
    assert verdict.status == "undecided"
    assert verdict.by_point == "pass"
    assert verdict.reason == "no interval for pooled: it rests on effectively 2.5 ROIs"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("stable", "pass"),
        ("collapsed", "fail"),
        ("diverged", "fail"),
        ("no learning", "fail"),
        ("no gain", "fail"),
        ("not applicable", "not applicable"),
        ("undefined", "not measured"),
    ],
)
def test_stability(status, verdict):
    found = judge_stability({"status": status, "reason": "why", "note": "overfitting"})
    assert found.status == verdict
    assert "why; overfitting" in found.reason


def test_an_unknown_stability_is_an_error():
    with pytest.raises(ValueError, match="wobbly"):
        judge_stability({"status": "wobbly", "reason": "r"})


def test_untrained_does_not_stop_a_check():
    assert unmet([judge_stability(None)]) == []


# -- over both tracks ------------------------------------------------------------------------


def verdict(status, metric="mean_dice"):
    return Verdict(metric, metric, status, Said(f"because {status}", "0.7", "pass"))


@pytest.mark.parametrize(
    ("semantic", "prompted", "both"),
    [
        ("pass", "pass", "pass"),
        ("pass", "fail", "fail"),
        ("pass", "undecided", "undecided"),
        ("undecided", "fail", "fail"),
        ("pass", "not measured", "not measured"),
        ("undecided", "not measured", "undecided"),
        ("not applicable", "pass", "pass"),
        ("not applicable", "fail", "fail"),
        ("not applicable", "not applicable", "not applicable"),
    ],
)
def test_over_tracks(semantic, prompted, both):
    for first, second in ((semantic, prompted), (prompted, semantic)):
        (found,) = over_tracks({"semantic": [verdict(first)], "prompted": [verdict(second)]})
        assert found.status == both
        assert f"because {both}" in found.reason


def test_over_tracks_names_the_track_that_decides():
    (found,) = over_tracks({"semantic": [verdict("pass")], "prompted": [verdict("fail")]})
    assert found.reason == "prompted: because fail"
    assert found.point == "semantic: 0.7; prompted: 0.7"


def test_a_semantic_backend_can_meet_every_criterion():
    """CLIP accuracy has no meaning in the semantic track: it must not stop ``--check``."""
    clip = not_applicable("clip_accuracy", "CLIP accuracy", "the semantic track names no regions")
    alone = over_tracks({"semantic": [verdict("pass"), clip]})
    assert [v.status for v in alone] == ["pass", "not applicable"]
    assert unmet(alone) == []
    asked = Verdict(clip.metric, clip.label, "undecided", Said("too few"))
    both = over_tracks({"semantic": [verdict("pass"), clip], "prompted": [asked]})
    assert [v.status for v in both] == ["pass", "undecided"]


def test_only_pass_and_not_applicable_meet_a_check():
    statuses = ["pass", "fail", "undecided", "not measured", "not applicable"]
    assert [v.status for v in unmet([verdict(s) for s in statuses])] == statuses[1:4]


@pytest.mark.parametrize(
    ("span", "rois", "status", "reason"),
    [
        ((0.1, 0.2), 45, "pass", "pooled [0.100, 0.200] below 0.3"),
        ((0.1, 0.3), 45, "pass", "pooled [0.100, 0.300] below 0.3"),
        ((0.4, 0.5), 45, "fail", "pooled [0.400, 0.500] above 0.3"),
        ((0.2, 0.5), 45, "undecided", "pooled [0.200, 0.500] against 0.3"),
        ((0.1, 0.2), 5, "undecided", "pooled [0.100, 0.200] below 0.3, but it rests on"),
        (None, 45, "undecided", "no interval for pooled"),
    ],
)
def test_what_is_better_lower_is_judged_the_other_way_round(span, rois, status, reason):
    point = 0.25 if span is None else sum(span) / 2
    verdict = judge(
        "missed", "missed <= 0.3", 0.3, [Estimate("pooled", point, span, rois)], at_most=True
    )
    assert verdict.status == status
    assert verdict.reason.startswith(reason)
    assert verdict.point == f"{point:.3f} pooled"
    assert verdict.by_point == ("pass" if point <= 0.3 else "fail")


# -- words ---------------------------------------------------------------------------------------


def test_words_are_made_once_when_they_are_asked_for():
    asked = []

    def said():
        asked.append(1)
        return Said("above", "0.700", "pass")

    verdict = Verdict("mean_dice", "mean_dice >= 0.65", "pass", said)
    assert (verdict.status, unmet([verdict]), asked) == ("pass", [], [])
    assert (verdict.reason, verdict.point, verdict.by_point) == ("above", "0.700", "pass")
    assert asked == [1]


def test_verdicts_are_equal_that_say_the_same():
    given = [judge("m", "m", 0.65, estimates(pair)) for pair in [(0.7, 0.8)] * 2 + [(0.7, 0.9)]]
    assert given[0] == given[1]
    assert hash(given[0]) == hash(given[1])
    assert given[0] != given[2]
    assert given[0] != "pass"
    assert given[0].plain() == {
        "metric": "m",
        "label": "m",
        "status": "pass",
        "reason": "e0 [0.700, 0.800] above 0.65",
        "point": "0.750 e0",
        "by_point": "pass",
    }
