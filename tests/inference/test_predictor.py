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
        image((64, 64)), target, [Prompting("box", "components")], process="largest"
    )
    assert found["box-components"][0].sum() == 20 * 30


class Noisy(Pixels):
    """Logits that depend on prompt and view, so that views disagree everywhere."""

    def encode(self, model, image):
        return image

    def predict_prompted(self, model, encoded, prompts):
        size = encoded.shape[-1]
        masks = []
        for prompt in prompts:
            seed = int(1000 * float(encoded.sum()) + 7 * sum(prompt.box)) % 2**31
            masks.append(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))
        return torch.stack(masks)


def halves():
    """A target whose views differ: two parts of class 0, one of class 1."""
    target = np.full((64, 64), 255, np.uint8)
    target[4:30, 3:40], target[40:60, 30:60], target[35:60, 2:20] = 0, 0, 1
    return target


def naive_vote(target, prompting, size=64):
    """View by view and pixel by pixel, from the backend's own masks; prompts of a class united."""
    backend = predictor(Noisy).backend
    from benchbcss.inference.predictor import _turned
    from benchbcss.inference.prompts import make_prompts
    from benchbcss.inference.views import squash, to_float

    small = to_float(squash(image((64, 64)), size))[None]
    prompts = make_prompts(target, (0, 1), size, prompting, "roi")
    ballots = {label: [] for label in (0, 1)}
    for view in VIEWS:
        encoded = backend.encode(None, turn(small, view))
        for label in (0, 1):
            answer = np.zeros((size, size), bool)
            for prompt in prompts:
                if prompt.class_index == label:
                    hint = [_turned(prompt, size, view)]
                    logits = backend.predict_prompted(None, encoded, hint)[0]
                    answer |= (turn_back(logits, view) > 0).numpy()
            ballots[label].append(answer)
    masks = {}
    for label, answers in ballots.items():
        masks[label] = np.zeros((size, size), bool)
        for row in range(size):
            for column in range(size):
                yes = [bool(answer[row, column]) for answer in answers]
                masks[label][row, column] = yes.count(True) > yes.count(False)
    return masks


@pytest.mark.parametrize("scope", SCOPES)
def test_a_vote_equals_a_naive_loop(scope):
    prompting = Prompting("box", scope, tta=True)
    worker = predictor(Noisy)
    averaged = worker.prompted(image((64, 64)), halves(), [prompting], roi="roi")[prompting.key]
    worker.views = "vote"
    voted = worker.prompted(image((64, 64)), halves(), [prompting], roi="roi")[prompting.key]
    expected = naive_vote(halves(), prompting)
    for label, mask in voted.items():
        assert (mask == expected[label]).all()
        assert (mask != averaged[label]).any()


def test_a_tie_is_background_and_one_view_votes_alone():
    class Half(Pixels):
        """Strong in the upper half of two views, weak against it in the other two."""

        def encode(self, model, image):
            self.seen = getattr(self, "seen", 0) + 1
            return (image.shape[-1], self.seen)

        def predict_prompted(self, model, encoded, prompts):
            size, number = encoded
            yes = number in self.yes
            return torch.full((len(prompts), size, size), 5.0 if yes else -1.0)

    target = np.zeros((64, 64), np.uint8)
    for yes, average, vote in (((1, 2), True, False), ((1, 2, 3), True, True), ((1,), True, False)):
        for views, expected in (("mean_logits", average), ("vote", vote)):
            worker = predictor(Half)
            worker.backend.yes, worker.views = yes, views
            both = [Prompting("box", "class"), Prompting("box", "class", True)]
            found = worker.prompted(image((64, 64)), target, both)
            assert found["box-class-tta"][0].all() == found["box-class-tta"][0].any() == expected
            assert found["box-class"][0].all()  # the first view alone says yes


def test_without_averaged_views_a_vote_changes_nothing():
    worker, target = predictor(Noisy), halves()
    every = [Prompting("box", scope) for scope in SCOPES]
    first = worker.prompted(image((64, 64)), target, every, roi="roi")
    worker.views = "vote"
    second = worker.prompted(image((64, 64)), target, every, roi="roi")
    for key, masks in first.items():
        assert all((masks[label] == second[key][label]).all() for label in masks)


def test_masks_are_closed_and_filled_on_the_briefs_square():
    """Two parts of a class, 16 px of 1024 apart: too far to be closed, so one is kept."""
    target = np.full((64, 64), 255, np.uint8)
    target[4:24, 4:24], target[4:24, 25:60] = 0, 0
    worker, prompting = predictor(Pixels), Prompting("box", "components")
    plain = worker.prompted(image((64, 64)), target, [prompting])[prompting.key][0]
    assert (plain == (target == 0)).all()
    kept = worker.prompted(image((64, 64)), target, [prompting], process="close_fill")
    assert (kept[prompting.key][0] == (plain & (np.arange(64) >= 25))).all()


def test_tissue_is_prompted_once_on_all_of_it():
    """The mask of one box around all codes above 0, beside the classes' own masks."""
    target = halves()
    tissue = np.zeros((64, 64), bool)
    tissue[2:62, 1:63] = True  # more than the classes of the mean
    tissue[10:20, 10:20] = False
    worker = predictor(Pixels)
    for strategy in ("box", "box_neg_outer"):
        prompting = Prompting(strategy, "largest")
        masks, found = worker.prompted_tissue(image((64, 64)), target, tissue, prompting, roi="a")
        box = np.zeros((64, 64), bool)
        box[2:62, 1:63] = True
        assert (found == box).all()
        plain = worker.prompted(image((64, 64)), target, [prompting], roi="a")[prompting.key]
        assert masks.keys() == plain.keys()
        assert all((masks[label] == plain[label]).all() for label in plain)
    before = worker.encoder_calls
    worker.prompted_tissue(image((64, 64)), target, tissue, Prompting("box", "class"))
    assert worker.encoder_calls == before + 1  # one encoding for both


def test_no_tissue_is_no_prompt():
    nothing = np.zeros((64, 64), bool)
    masks, found = predictor(Pixels).prompted_tissue(
        image((64, 64)), np.full((64, 64), 255, np.uint8), nothing, Prompting("box", "class")
    )
    assert masks == {}
    assert found.shape == (64, 64)
    assert not found.any()


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


@pytest.mark.parametrize("shape", [(300, 257), (64, 64), (401, 130)])
def test_squashing_row_by_row_is_squashing_at_once(shape):
    from torch.nn import functional as F

    from benchbcss.inference.views import squash, to_float

    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    at_once = F.interpolate(to_float(image)[None], (64, 64), mode="area")[0]
    wanted = at_once.mul(255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(squash(image, 64), wanted)


class Buffered(Pixels):
    """Returns views of one buffer, which its next answer overwrites."""

    def predict(self, model, tensor):
        if not hasattr(self, "buffer"):
            self.buffer = torch.empty_like(tensor)
        return self.buffer.copy_(tensor)

    def predict_roi(self, model, image):
        if not hasattr(self, "labels"):
            self.labels = np.zeros((200, 200), np.uint8)
        view = self.labels[: image.shape[0], : image.shape[1]]
        view[:] = image[..., 0] > image.mean()
        return view


class Tiled(Buffered):
    predict_roi = Backend.predict_roi


def test_an_answer_may_lie_in_a_buffer_that_is_used_again():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 70, 50, 3), dtype=np.uint8)
    made = predictor(Buffered)
    kept = made.semantic(first)
    expected = kept.copy()
    made.semantic(second)
    assert np.array_equal(kept, expected)

    class Fresh(Pixels):
        def predict(self, model, tensor):
            return tensor.clone()

    for squash in (None, 32):  # with views, answers are summed
        views = predictor(Tiled, squash), predictor(Fresh, squash)
        for one in views:
            one.tta = True
        assert np.array_equal(*(one.semantic(first) for one in views))


def test_whole_numbers_are_no_logits():
    class Whole(Pixels):
        def predict(self, model, tensor):
            return (tensor * 100).long()

        def predict_prompted(self, model, encoded, prompts):
            return torch.zeros(len(prompts), 8, 8, dtype=torch.int64)

    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(PluginError, match=r"predict returned torch\.int64, expected logits as"):
        predictor(Whole).semantic(image)
    target = np.zeros((40, 40), np.uint8)
    with pytest.raises(PluginError, match=r"predict_prompted returned torch\.int64, expected"):
        predictor(Whole).prompted(image, target)
