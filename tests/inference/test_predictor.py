import numpy as np
import pytest
import torch

from benchbcss.contract import SCOPES, Backend, Context, Prompting, Task
from benchbcss.errors import PluginError
from benchbcss.inference.predictor import Predictor
from benchbcss.inference.views import VIEWS, turn, turn_back, turn_point

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
    found = worker.prompted(image((64, 64)), target)["box-class"]
    assert worker.encoder_calls == 1
    assert (found[0] == (target == 0)).all()
    assert (found[1] == (target == 1)).all()


def test_views_are_turned_encoded_once_and_turned_back():
    """Four views of one ROI: the same boxes must come back at the same place."""
    target = np.full((64, 64), 255, np.uint8)
    target[:32], target[40:50, 8:24] = 0, 1
    worker = predictor(Pixels)
    every = [Prompting(s, c, t) for t in (False, True) for c in SCOPES for s in ("box", "box_neg")]
    found = worker.prompted(image((64, 64)), target, every)
    assert worker.encoder_calls == 4  # views, whatever the number of promptings
    assert list(found) == [each.key for each in every]
    for key, masks in found.items():
        assert (masks[0] == (target == 0)).all()
        if "components" in key:
            assert 1 not in masks  # 160 px: too small to be prompted by itself
        else:
            assert (masks[1] == (target == 1)).all()


def test_averaging_is_of_logits():
    class Corner(Pixels):
        """Sees only the left half, wherever that is in the view."""

        def predict_prompted(self, model, encoded, prompts):
            masks = torch.full((len(prompts), encoded, encoded), -1.0)
            masks[:, :, : encoded // 2] = 2.0
            return masks

    target = np.zeros((64, 64), np.uint8)
    found = predictor(Corner).prompted(image((64, 64)), target, [Prompting("box", "class", True)])
    votes = np.zeros((64, 64))
    left = np.zeros((64, 64))
    left[:, :32] = 1
    for turned in (left, left[:, ::-1], left, np.rot90(left, -1)):
        votes += np.where(turned > 0, 2.0, -1.0)
    mask = found["box-class-tta"][0]
    assert (mask == (votes > 0)).all()
    assert 0 < mask.mean() < 1


def test_components_of_a_class_are_united():
    target = np.full((64, 64), 255, np.uint8)
    target[4:24, 4:24], target[40:60, 30:60], target[30, 30] = 0, 0, 0
    found = predictor(Pixels).prompted(
        image((64, 64)), target, [Prompting("box", "components"), Prompting("box", "largest")]
    )
    big = np.zeros((64, 64), bool)
    big[40:60, 30:60] = True
    assert (found["box-largest"][0] == big).all()
    big[4:24, 4:24] = True
    assert (found["box-components"][0] == big).all()
    found = predictor(Pixels).prompted(
        image((64, 64)), target, [Prompting("box", "components")], only_largest=True
    )
    assert found["box-components"][0].sum() == 20 * 30


@pytest.mark.parametrize("view", VIEWS)
def test_points_turn_as_pixels_do(view):
    marked = torch.zeros(1, 8, 8)
    marked[0, 2, 5] = 1
    x, y = turn_point(5.5, 2.5, 8, view)
    assert turn(marked, view)[0, int(y), int(x)] == 1
    assert torch.equal(turn_back(turn(marked, view), view), marked)


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
    with pytest.raises(PluginError, match="encode raised NotImplementedError: .*not promptable"):
        predictor(Backend).prompted(image(), np.zeros((40, 70), np.uint8))


@pytest.mark.parametrize("squash", [None, 32])
def test_semantic_views_are_averaged(squash):
    """A model that is right in the left half only: four views mend what one cannot."""

    class Half(Backend):
        def predict(self, model, tensor):
            logits = torch.zeros(len(tensor), 3, *tensor.shape[-2:])
            logits[..., : tensor.shape[-1] // 2] = 4 * tensor[..., : tensor.shape[-1] // 2]
            logits[:, 2] += 0.1  # what it says where it knows nothing
            return logits

    roi = np.zeros((32, 32, 3), np.uint8)
    roi[..., 0] = 255
    worker = predictor(Half, squash=squash)
    assert (worker.semantic(roi)[:, 16:] == 2).all()
    worker.tta = True
    assert (worker.semantic(roi) == 0).all()
