"""Criteria are judged when they are read, by the suite as it is then."""

import json
import os
from pathlib import Path

import pytest

from benchbcss.results import judge
from benchbcss.results.migrate import lift
from benchbcss.results.schema import Criterion, RunResult, Stability

FIXTURES = Path(__file__).parent / "fixtures"


def record(kind, rois=45.0, mean=(0.70, 0.80), **suite):
    """A stored record with the given interval of its mean, resting on so many ROIs."""
    content = lift(json.loads((FIXTURES / f"{kind}-schema3.json").read_text()))
    content["suite"] |= {"name": "nobody_has_it", "file": None, **suite}
    section = content["tracks"][kind]
    section["rois_with_class"] = {name: 45 for name in section["all_classes"]}
    for part in section["headline"].values():
        if part:
            part |= {"mean": sum(mean) / 2, "mean_interval": mean, "mean_effective_rois": rois}
            part["effective_rois"] = {name: rois for name in section["classes"]}
    return RunResult.model_validate(content)


def status(result, metric, **bound):
    suite = result.suite.model_copy(update={"criteria": [Criterion(metric=metric, **bound)]})
    (verdict,) = judge.verdicts(result.model_copy(update={"suite": suite}), *result.tracks)
    return verdict


@pytest.mark.parametrize(
    ("bound", "expected"), [(0.65, "pass"), (0.75, "undecided"), (0.85, "fail")]
)
def test_both_estimands_must_agree(bound, expected):
    assert status(record("semantic"), "mean_dice", at_least=bound).status == expected


@pytest.mark.parametrize("bound", [0.65, 0.85])
def test_below_ten_effective_rois_nothing_passes_or_fails(bound):
    verdict = status(record("semantic", rois=9.9), "mean_dice", at_least=bound)
    assert verdict.status == "undecided"
    assert "9.9 ROIs" in verdict.reason


def test_what_a_track_cannot_have_is_not_applicable():
    semantic, prompted = record("semantic"), record("prompted")
    assert status(semantic, "clip_accuracy", at_least=0.6).status == "not applicable"
    assert status(prompted, "clip_accuracy", at_least=0.6).status != "not applicable"
    assert status(prompted, "dice.other", at_least=0.6).status == "not applicable"
    assert status(semantic, "dice.other", at_least=0.6).status != "not applicable"


def test_a_class_without_ground_truth_is_not_measured():
    result = record("semantic")
    part = result.tracks["semantic"]
    lost = part.model_copy(update={"rois_with_class": {**part.rois_with_class, "necrosis": 0}})
    result = result.model_copy(update={"tracks": {"semantic": lost}})
    verdict = status(result, "mean_dice", at_least=0.5)
    assert (verdict.status, verdict.reason) == (
        "not measured",
        "no ground truth of necrosis in the scored ROIs",
    )


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ("dice.tumour", "there is no class 'tumour'; classes are tumor, stroma"),
        ("dicee.tumor", "there is no metric 'dicee'"),
        ("iou", "there is no metric 'iou' without a class"),
    ],
)
@pytest.mark.parametrize("kind", ["semantic", "prompted"])
def test_a_criterion_that_nothing_can_have_stops_a_check(kind, metric, why):
    """A suite is validated when it is run; its file may be misspelt since."""
    verdict = status(record(kind), metric, at_least=0.1)
    assert (verdict.status, verdict.reason[: len(why)]) == ("not measured", why)


@pytest.mark.parametrize("bounds", [{}, {"at_least": 0.1, "at_most": 0.9}])
def test_a_criterion_has_one_bound(bounds):
    verdict = status(record("semantic"), "mean_dice", **bounds)
    assert (verdict.status, "one bound" in verdict.reason) == ("not measured", True)


def test_a_bound_on_either_side_is_judged_as_it_is_written():
    result = record("semantic", mean=(0.70, 0.80))
    assert status(result, "mean_dice", at_most=0.3).status == "fail"
    assert status(result, "mean_dice", at_most=0.9).status == "pass"


def test_a_metric_that_the_record_lacks_is_not_passed_over():
    """Records of older editions, and metrics that failed when the run was scored."""
    result = record("semantic")
    part = result.tracks["semantic"].model_copy(update={"metrics": {}})
    result = result.model_copy(update={"tracks": {"semantic": part}})
    assert status(result, "recall.tumor", at_least=0.1).status == "not measured"


def test_dice_of_a_class_outside_the_mean_is_judged():
    result = record("semantic")
    part = result.tracks["semantic"]
    points = {name: {"dice": {"other": 0.8}} for name in ("per_roi", "pooled")}
    part = part.model_copy(update={"per_class": points})

    def judged(part):
        changed = result.model_copy(update={"tracks": {"semantic": part}})
        return status(changed, "dice.other", at_least=0.5)

    verdict = judged(part)
    assert verdict.status == "undecided"
    assert "its record holds none" in verdict.reason
    update = {"intervals": {"other": (0.7, 0.9)}, "effective_rois": {"other": 20.0}}
    headline = {name: getattr(part.headline, name).model_copy(update=update) for name in points}
    part = part.model_copy(update={"headline": part.headline.model_copy(update=headline)})
    assert judged(part).status == "pass"


def test_a_stability_of_a_newer_edition_is_not_measured():
    stability = Stability(status="plateau", reason="r")
    result = record("semantic").model_copy(update={"stability": stability})
    verdict = status(result, "stability")
    assert (verdict.status, "'plateau' is not known" in verdict.reason) == ("not measured", True)


def test_a_suite_file_is_read_anew_and_its_last_word_counts(tmp_path):
    judge._current.cache_clear()
    path = tmp_path / "own.yaml"
    path.write_text("criteria: [{metric: mean_dice, at_least: 0.65}]\n")
    result = record("semantic", file=str(path))
    assert [v.status for v in judge.verdicts(result, "semantic")] == ["pass"]
    path.write_text("criteria: [{metric: mean_dice, at_least: 0.85}]\n")
    judge.look_again()  # as every board does
    assert [v.status for v in judge.verdicts(result, "semantic")] == ["fail"]


@pytest.mark.parametrize("content", [None, "not: [valid", "[]", "criteria: [{metrik: mean_dice}]"])
def test_a_suite_that_is_gone_or_broken_leaves_the_records_own_bounds(tmp_path, content):
    judge._current.cache_clear()
    path = tmp_path / "own.yaml"
    if content is not None:
        path.write_text(content)
    own = [{"metric": "mean_dice", "at_least": 0.65}]
    result = record("semantic", file=str(path), criteria=own)
    assert [v.label for v in judge.verdicts(result, "semantic")] == ["mean_dice >= 0.65"]
    said = judge.invalid_file(result.suite, result.preset)
    assert said == (None if content is None else str(path))


@pytest.mark.timeout(30)
def test_a_suite_file_that_is_a_pipe_is_not_waited_for(tmp_path):
    """A record of a stranger may name any path as its suite's."""
    os.mkfifo(tmp_path / "suite.yaml")
    own = [Criterion(metric="mean_dice", at_least=0.5)]
    result = record("semantic", file=str(tmp_path / "suite.yaml"), criteria=own)
    assert judge.criteria_of(result.suite, result.preset) == result.suite.criteria


def test_the_preset_of_the_run_decides_where_a_suite_has_presets(tmp_path):
    judge._current.cache_clear()
    path = tmp_path / "own.yaml"
    path.write_text(
        "criteria: [{metric: mean_dice, at_least: 0.85}]\n"
        "presets: {smoke: {criteria: [{metric: mean_dice, at_least: 0.1}]}}\n"
    )
    result = record("semantic", file=str(path))
    assert result.preset == "smoke"
    assert [v.label for v in judge.verdicts(result, "semantic")] == ["mean_dice >= 0.1"]
