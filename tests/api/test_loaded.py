"""A loaded run's tables follow from one another."""

import json
import shutil

import numpy as np
import pytest

import benchbcss as bb
from benchbcss.errors import DataError, InputError, UnknownNameError


@pytest.fixture(scope="module")
def run(filled):
    return bb.load_run("bad", workspace=filled / "w")


def test_which_run(filled, run):
    assert (run.backend, run.seed, run.suite, run.tracks) == ("bad", 0, "bcss5", ("semantic",))
    for way in (run.path, str(run.path), f"bad/{run.path.name}", run.path.name):
        assert bb.load_run(way, workspace=filled / "w") == run
    assert run.spec.backend == "bad"
    mean = run.track().headline.per_roi.mean
    assert f"semantic: mean Dice {mean:.3f} [" in repr(run)
    assert "tumor" in run._repr_html_()
    with pytest.raises(UnknownNameError, match="Did you mean 'bad'"):
        bb.load_run("bd", workspace=filled / "w")


def test_scores_of_rois_average_to_the_record(run):
    scores = run.scores()
    means = scores.groupby("class")["dice"].mean()
    recorded = run.track().headline.per_roi.dice
    for name in run.track().classes:
        assert means[name] == pytest.approx(recorded[name], abs=1e-12)
    assert set(scores["site"]) == {"A1", "A2"}
    rois = run.rois()
    assert len(rois) == run.track().rois == 12
    for worst in run.track().spread.worst:
        assert rois.loc[worst.roi, "mean_dice"] == pytest.approx(worst.mean_dice, abs=1e-12)
    assert rois["contribution"].sum() == pytest.approx(run.track().headline.per_roi.mean)
    assert rois["share"].sum() == pytest.approx(1)


def test_per_class(run):
    table = run.per_class()
    assert list(table.index) == run.track().all_classes
    assert list(table.index[table["in_mean"]]) == run.track().classes
    assert table.loc["tumor", "low"] < table.loc["tumor", "dice"] < table.loc["tumor", "high"]
    assert {"iou", "precision", "recall"} <= set(table)
    pooled = run.per_class(estimand="pooled")
    counts = run.confusion()
    hit, true, predicted = counts.loc["tumor", "tumor"], counts.loc["tumor"], counts["tumor"]
    assert pooled.loc["tumor", "dice"] == pytest.approx(2 * hit / (true.sum() + predicted.sum()))
    with pytest.raises(UnknownNameError, match="Did you mean 'pooled'"):
        run.per_class(estimand="poold")


def test_confusion(run):
    counts = run.confusion()
    recorded = run.track().confusion
    assert list(counts.index) == list(counts.columns) == recorded.names
    assert counts.to_numpy().tolist() == recorded.counts
    assert np.allclose(run.confusion("truth").to_numpy(), np.array(recorded.by_truth, float))
    by_prediction = np.array(recorded.by_prediction, float)
    assert np.allclose(run.confusion("prediction").to_numpy(), by_prediction)
    parts = sum(run.confusion(roi=roi) for roi in run.rois().index)
    assert parts.equals(counts)
    with pytest.raises(UnknownNameError, match="scored ROI"):
        run.confusion(roi="nowhere.png")
    with pytest.raises(InputError, match="normalise"):
        run.confusion("rows")


def test_objects(run):
    table, scores = run.objects(), run.object_scores()
    truth = table[table["side"] == "truth"]
    for name in run.track().classes:
        assert (truth["class"] == name).sum() == scores.loc[name, "truth"]
        assert truth[truth["class"] == name]["matched"].sum() == scores.loc[name, "matched"]
    assert (table["um2"] / table["pixels"]).round(6).nunique() == 1


def test_verdicts_are_the_boards(filled, run):
    row = next(row for row in bb.leaderboard(workspace=filled / "w").rows if row.name == "bad")
    assert list(run.verdicts()["status"]) == [verdict.status for verdict in row.verdicts]


def test_no_training_is_an_empty_history(run):
    assert run.history().empty
    assert run.history().index.name == "epoch"


def test_a_history_is_flat(filled, run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    lines = [
        {"epoch": 0, "loss": {"dice": 0.5}, "val_mean_dice": None},
        {"epoch": 1, "loss": {"dice": 0.25}, "val_mean_dice": 0.5, "val_dice": {"tumor": 0.75}},
    ]
    (tmp_path / "copy" / "epochs.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    history = bb.load_run(tmp_path / "copy").history()
    assert list(history["loss.dice"]) == [0.5, 0.25]
    assert history.loc[1, "val_dice.tumor"] == 0.75
    (tmp_path / "copy" / "epochs.jsonl").write_text('{"epoch": 0')
    with pytest.raises(DataError, match="cannot be read"):
        bb.load_run(tmp_path / "copy").history()


def test_a_prompted_run(filled):
    run = bb.load_run("floor_box_fill", workspace=filled / "w")
    assert run.tracks == ("prompted",)
    assert len(run.scores()) == 12 * len(run.track().all_classes)
    for ask in (run.confusion, run.objects, run.object_scores):
        with pytest.raises(InputError, match="predicted no label maps"):
            ask()
    with pytest.raises(UnknownNameError, match="no track of this run 'semantic'"):
        run.scores("semantic")


def test_damage_is_named(filled, run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    copy = bb.load_run(tmp_path / "copy")
    with open(tmp_path / "copy" / "objects.parquet", "ab") as handle:
        handle.write(b"x")
    with pytest.raises(DataError, match="objects.parquet is damaged"):
        copy.objects()
    (tmp_path / "copy" / "counts.parquet").unlink()
    with pytest.raises(DataError, match=r"counts.parquet .*benchbcss rescore"):
        copy.confusion()
