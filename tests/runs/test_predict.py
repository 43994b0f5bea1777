"""Prediction goes on ROI by ROI; what a backend says of single predictions goes with them."""

import shutil

import pytest
from benchbcss_floors.backends import Colour
from runs_support import finished_run, specs

from benchbcss.progress import SILENT
from benchbcss.results import store
from benchbcss.runs import executors, worker


class Killed(BaseException):
    pass


class Talking:
    """Makes the colour floor count what it predicts, and stops it before prediction ``stop``."""

    def __init__(self, monkeypatch):
        self.monkeypatch, self.predict = monkeypatch, Colour.predict_roi

    def __call__(self, stop=None):
        calls = []

        def predict(backend, model, image):
            if len(calls) == stop:
                raise Killed
            calls.append(1)
            remarks = backend.context.remarks
            remarks["calls"] = remarks.get("calls", 0) + 1
            remarks["brightness"] = float(image.mean())
            return self.predict(backend, model, image)

        def summary(backend, remarks):
            total = sum(remark["brightness"] for remark in remarks)
            return {"rois": [remark["calls"] for remark in remarks], "brightness": total}

        self.monkeypatch.setattr(Colour, "predict_roi", predict)
        self.monkeypatch.setattr(Colour, "summary", summary)
        return calls


@pytest.fixture
def talking(monkeypatch):
    return Talking(monkeypatch)


@pytest.fixture
def undisturbed(phantom, tmp_path, talking):
    talking()
    return finished_run(phantom, tmp_path / "undisturbed", "floor_colour")[2]


def notes(run_dir):
    return store.load(run_dir).notes


def test_remarks_are_summed_up_over_all_rois(undisturbed):
    found = notes(undisturbed)
    assert found["rois"] == [1, 1]
    assert found["brightness"] > 0


def test_an_interruption_loses_no_remark(phantom, tmp_path, talking, undisturbed):
    (spec,) = specs(phantom, tmp_path / "w", ["floor_colour"])
    settings = executors.Settings(tmp_path / "w", print)
    run_dir = executors.prepare(spec, settings)
    talking(stop=1)
    with pytest.raises(Killed):
        worker.execute(spec, run_dir, SILENT)
    calls = talking()
    worker.execute(spec, run_dir, SILENT)
    assert len(calls) == 1  # the other ROI alone
    assert notes(run_dir) == notes(undisturbed)


def test_a_prediction_that_is_made_again_counts_once(phantom, tmp_path, talking, undisturbed):
    before = notes(undisturbed)
    run_dir = shutil.copytree(undisturbed, tmp_path / "copy")
    min(run_dir.glob("predictions/**/*.png")).write_bytes(b"torn")
    (run_dir / "result.json").unlink()
    spec = store.load_spec(run_dir)
    calls = talking()
    worker.execute(spec, run_dir, SILENT)
    assert len(calls) == 1
    assert notes(run_dir) == before
