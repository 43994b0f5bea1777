import numpy as np
import pytest
import torch

from benchbcss.contract import Backend, Context, Task
from benchbcss.errors import PluginError
from benchbcss.inference.predictor import Predictor

TASK = Task(("a", "b", "c"), (0, 1), 0.3, 32)


def predictor(cls, squash=None):
    backend = cls(TASK, {}, Context(0, torch.device("cpu"), "none", False, [1, 1, 1]))
    return Predictor(backend, torch.nn.Identity(), squash, 32, 8, 64, torch.device("cpu"))


class Pixels(Backend):
    """Predicts the brightest channel, and fills boxes; counts encoder calls itself too."""

    def encode(self, model, image):
        return image.shape[-1]

    def predict_prompted(self, model, encoded, prompts):
        masks = torch.full((len(prompts), encoded, encoded), -1.0)
        for mask, prompt in zip(masks, prompts, strict=True):
            x0, y0, x1, y1 = (round(edge) for edge in prompt.box)
            mask[y0:y1, x0:x1] = 1
        return masks


def image(shape=(40, 70)):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_native_view_at_the_rois_own_resolution():
    roi = image()
    assert (predictor(Pixels).semantic(roi) == roi.argmax(-1)).all()


def test_squashed_view_is_scored_at_the_rois_own_resolution():
    roi = np.zeros((64, 128, 3), np.uint8)
    roi[:, :64, 0] = 255
    roi[:, 64:, 1] = 255
    found = predictor(Pixels, squash=32).semantic(roi)
    assert found.shape == (64, 128)
    assert (found == roi.argmax(-1)).mean() > 0.98


def test_a_roi_is_encoded_once_for_all_prompts():
    target = np.full((64, 64), 255, np.uint8)
    target[:32], target[40:50, 8:24] = 0, 1
    worker = predictor(Pixels)
    found = worker.prompted(image((64, 64)), target)
    assert worker.encoder_calls == 1
    assert (found[0] == (target == 0)).all()
    assert (found[1] == (target == 1)).all()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.zeros((9, 9), np.uint8), "expected uint8"),
        (np.zeros((40, 70), np.int64), "int64"),
        (np.full((40, 70), 3, np.uint8), r"label 3; labels are 0\.\.2"),
    ],
)
def test_a_broken_whole_map_is_named(output, message):
    class Whole(Backend):
        def predict_roi(self, model, image):
            return output

    with pytest.raises(PluginError, match=message):
        predictor(Whole).semantic(image())


def test_broken_prompted_logits_are_named():
    class Wrong(Pixels):
        def predict_prompted(self, model, encoded, prompts):
            return torch.zeros(1, 64, 64)

    target = np.zeros((40, 70), np.uint8)
    target[0] = 1
    with pytest.raises(PluginError, match="for 2 prompts"):
        predictor(Wrong).prompted(image(), target)


def test_a_backend_without_prompts_says_so():
    with pytest.raises(NotImplementedError, match="not promptable"):
        predictor(Backend).prompted(image(), np.zeros((40, 70), np.uint8))
