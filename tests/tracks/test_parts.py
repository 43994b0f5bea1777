"""Scoring goes on ROI by ROI after an interruption, and ends with the same numbers."""

import shutil

import numpy as np
import pytest
from runs_support import finished_run

from benchbcss.data.dataset import Dataset
from benchbcss.data.store import TileStore
from benchbcss.io import write_bytes
from benchbcss.results import evaluate, store
from benchbcss.scoring import threads
from benchbcss.tracks import TRACKS, parts, pictures
from benchbcss.tracks.base import Facts


@pytest.fixture(scope="module", params=["floor_colour", "floor_box_fill"])
def done(request, phantom, tmp_path_factory):
    """A finished run of either track."""
    return finished_run(phantom, tmp_path_factory.mktemp("workspace"), request.param)


class Killed(BaseException):
    pass


@pytest.fixture
def scoring(done, tmp_path, monkeypatch):
    """Scores a copy of the run: ``scoring(stop)`` is killed after ``stop`` ROIs and returns how
    many were counted."""
    _, spec, original = done
    old = store.load(original)
    run_dir = tmp_path / "run"
    shutil.copytree(original, run_dir)
    for table in run_dir.glob("*.parquet"):
        table.unlink()
    data = Dataset(spec.data_root, TileStore(spec.store_root), spec.suite.reading(), spec.sites)
    labels = spec.suite.labels(data.code_table())
    rois = data.rois(spec.scored, labels)
    frame = evaluate.frame_of(spec, labels, rois, evaluate._promptings(old))
    (name,) = old.tracks
    track = TRACKS[name]
    measure = type(track).measure
    monkeypatch.setattr(threads, "cores", lambda: 1)  # one ROI after the other, so that "after" is

    def score(stop=None):
        counted = []

        def counting(self, frame, roi, run_dir):
            if len(counted) == stop:
                raise Killed
            counted.append(roi.name)
            return measure(self, frame, roi, run_dir)

        monkeypatch.setattr(type(track), "measure", counting)
        facts = {name: Facts(old.tracks[name].view, old.notes.get("clip") or {})}
        try:
            score.result = evaluate.evaluate(frame, [track], rois, run_dir, facts)
        except Killed:
            pass
        return counted

    score.run_dir, score.original, score.old, score.frame = run_dir, original, old, frame
    score.track = track
    return score


def tables(run_dir):
    return {path.name: path.read_bytes() for path in run_dir.glob("*.parquet")}


def test_what_was_counted_is_not_counted_again(scoring):
    rois = list(scoring.frame.rois)
    assert len(rois) > 1
    assert scoring(stop=1) == rois[:1]
    assert scoring() == rois[1:]
    assert scoring.result == scoring.old.tracks
    assert tables(scoring.run_dir) == tables(scoring.original)
    assert not (scoring.run_dir / parts.FOLDER).exists()


@pytest.mark.parametrize("pixels", [1, 1 << 26])
def test_rois_side_by_side_end_with_the_same_tables(scoring, monkeypatch, pixels):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    monkeypatch.setattr(evaluate, "_PIXELS", pixels)
    assert sorted(scoring()) == sorted(scoring.frame.rois)
    assert scoring.result == scoring.old.tracks
    assert tables(scoring.run_dir) == tables(scoring.original)


def test_a_run_that_is_scored_leaves_no_parts(scoring):
    scoring()
    assert not (scoring.run_dir / parts.FOLDER).exists()
    before = {path.relative_to(scoring.original) for path in scoring.original.rglob("*")}
    assert {path.relative_to(scoring.run_dir) for path in scoring.run_dir.rglob("*")} == before


DAMAGE = {
    "flipped": lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
    "flipped checksum": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("kind", [*DAMAGE, "of another ROI"])
def test_a_damaged_part_is_counted_again(scoring, kind):
    rois = list(scoring.frame.rois)
    scoring(stop=1)
    path, other = (parts.path_of(scoring.run_dir, scoring.track.name, roi) for roi in rois[:2])
    content = path.read_bytes()
    if kind == "of another ROI":
        other.write_bytes(content)
        path.unlink()
    else:
        path.write_bytes(DAMAGE[kind](content))
    assert scoring() == rois
    assert scoring.result == scoring.old.tracks


def test_another_prediction_is_counted_again(scoring):
    scoring(stop=1)
    roi = scoring.frame.rois[0]
    path = scoring.track.files(scoring.frame, roi, scoring.run_dir)[0]
    before = pictures.decode_mask(path)
    write_bytes(path, scoring.track.picture(np.zeros_like(before)))
    assert roi in scoring()
    assert scoring.result != scoring.old.tracks


def test_other_metrics_count_again(scoring, monkeypatch):
    scoring(stop=1)
    monkeypatch.setattr(parts, "METRICS_VERSION", parts.METRICS_VERSION + 1)
    assert scoring() == list(scoring.frame.rois)


def test_rescoring_counts_everything_again(scoring, monkeypatch):
    """It is what one does after mending the program."""
    shutil.copytree(scoring.original, scoring.run_dir, dirs_exist_ok=True)
    scoring(stop=1)
    monkeypatch.undo()
    counted, measure = [], type(scoring.track).measure

    def counting(self, frame, roi, run_dir):
        counted.append(roi.name)
        return measure(self, frame, roi, run_dir)

    monkeypatch.setattr(type(scoring.track), "measure", counting)
    evaluate.rescore(scoring.run_dir)
    assert sorted(counted) == sorted(scoring.frame.rois)
    assert not (scoring.run_dir / parts.FOLDER).exists()


def test_the_list_of_checksums_does_not_name_parts(scoring):
    scoring(stop=1)
    assert f"{parts.FOLDER}/" not in (scoring.run_dir / "files.sha256").read_text()
