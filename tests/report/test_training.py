"""Training curves: read from the log, or the record; start, best and collapse where they were."""

import json

import pytest
import report_support as support

from benchbcss.report import training
from benchbcss.report.training import Curve, curve_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    workspace = tmp_path_factory.mktemp("runs")
    return workspace, support.rows(workspace, data, one=0.2)["one"]


def row_of(runs):
    return support.table(runs[0]).rows[0]


FALL = [0.3, 0.6, 0.62, 0.1, 0.08, 0.6]
SUNK = [0.3, 0.9, *[0.5] * 12]


@pytest.mark.parametrize("log", [True, False])
def test_a_curve_has_start_best_and_floor(runs, log):
    (runs[1] / training.LOG).unlink(missing_ok=True)
    support.trained(runs[1], [0.2, 0.5, 0.4], start=0.12, floor=0.15, log=log)
    curve = curve_of(row_of(runs))
    assert isinstance(curve, Curve)
    assert list(curve.validation) == [(1, 0.2), (2, 0.5), (3, 0.4)]
    assert (curve.start, curve.best, curve.collapse) == (0.12, 2, None)
    assert curve.floor == (0.15, "the majority floor")
    assert bool(curve.loss) == bool(curve.tissue) == log


@pytest.mark.parametrize(("values", "epoch"), [(FALL, 4), (SUNK, 3)])
def test_a_collapse_is_marked_where_its_verdict_saw_it(runs, values, epoch):
    """The verdict is the judge's own: the words that the epoch is read from are not made up."""
    verdict = support.trained(runs[1], values)
    assert verdict.status == "collapsed"
    assert curve_of(row_of(runs)).collapse == epoch


def test_the_best_is_of_the_weights_that_were_scored(runs):
    """Under a monitor that misleads it is not where the mean was highest."""
    support.trained(runs[1], [0.2, 0.5, 0.4])
    path = runs[1] / "result.json"
    content = json.loads(path.read_text())
    content["training"]["best_step"] = 30
    path.write_text(json.dumps(content))
    assert curve_of(row_of(runs)).best == 3


def test_a_torn_log_is_read_up_to_the_tear(runs):
    support.trained(runs[1], [0.2, 0.5, 0.4])
    log = runs[1] / training.LOG
    log.write_text(log.read_text()[:-20])
    assert [epoch for epoch, _ in curve_of(row_of(runs)).validation] == [1, 2]
    log.write_text(log.read_text().replace("0.5", "NaN"))
    assert [epoch for epoch, _ in curve_of(row_of(runs)).validation] == [1]
    log.write_bytes(b"\xff\xfe")
    assert [epoch for epoch, _ in curve_of(row_of(runs)).validation] == [1, 2, 3]  # the record's


def test_why_there_is_no_curve(runs):
    (runs[1] / training.LOG).unlink(missing_ok=True)
    for fields, words in (
        ({"training": {"own_fit": True}}, "fits itself"),
        ({"training": {}, "evaluated": True}, "weights it was given"),
        ({"training": {}, "evaluated": False}, "was not trained by the harness's loop"),
        ({"training": {"trained": True}}, "no validation is recorded"),
    ):
        support.change(runs[1], stability=None, **fields)
        assert words in curve_of(row_of(runs))


def test_marks_are_drawn_and_told(runs):
    support.trained(runs[1], FALL)
    row = row_of(runs)
    shown = training.figure(row, curve_of(row))
    for word in ("start", "best", "collapse"):
        assert f">{word}<" in shown.svg
        assert word in shown.text


def test_a_curve_of_a_part_of_the_validation_set_says_so(runs):
    support.trained(runs[1], FALL)
    row = row_of(runs)
    assert "ROIs" not in training.figure(row, curve_of(row)).text
    content = json.loads((runs[1] / "result.json").read_text())["training"]
    used = {"rois": ["a", "b"], "of": 9, "every": 1, "share": 0.2, "share_planned": 0.2}
    used |= {"share_allowed": 0.25, "passes": {"training": 8, "validation": 2}}
    support.change(runs[1], training={**content, "best_mean_dice": 0.321, "validation": used})
    row = row_of(runs)
    words = training.figure(row, curve_of(row)).text
    assert "validations on 2 of 9 ROIs" in words
    assert "0.321 on all ROIs" in words
