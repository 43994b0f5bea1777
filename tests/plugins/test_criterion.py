"""Mask2Former's set loss: the same bits as one look at a time, with two looks a step."""

from collections import Counter

import pytest
import torch
from waits_support import Waits

pytest.importorskip("benchbcss_mask2former")

from benchbcss_mask2former.criterion import SetLoss
from benchbcss_mask2former.points import known_pixels
from reference_set_loss import set_loss

SETTINGS = {
    "class_weight": 2.0,
    "mask_weight": 5.0,
    "dice_weight": 5.0,
    "no_object_weight": 0.1,
    "points": 300,
    "oversample": 3.0,
    "importance": 0.75,
}


def layers(count, images=3, queries=12):
    made = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        sizes = ((images, queries, 7), (images, queries, 16, 16))
        drawn = (torch.randn(size, generator=generator) for size in sizes)
        made.append(tuple(tensor.requires_grad_() for tensor in drawn))
    return made


def target(kind, images=3):
    generator = torch.Generator().manual_seed(1)
    made = torch.randint(0, 6, (images, 8, 8), generator=generator)
    made = made.repeat_interleave(8, 1).repeat_interleave(8, 2)
    made[0, :20] = 255
    if kind == "one unknown":
        made[1] = 255
    elif kind == "all unknown":
        made[:] = 255
    elif kind == "one class":
        made[2] = 3
    elif kind == "one pixel":
        made[1] = 255
        made[1, 40, 9] = 4
    return made


KINDS = ["mixed", "one unknown", "all unknown", "one class", "one pixel"]


@pytest.mark.parametrize("queries", [12, 4])  # 4: fewer than an image has classes
@pytest.mark.parametrize("kind", KINDS)
def test_terms_gradients_and_random_numbers_are_those_of_the_reference(kind, queries):
    wanted, made = target(kind), (layers(3, queries=queries), layers(3, queries=queries))
    torch.manual_seed(3)
    ours, after = SetLoss(6, **SETTINGS)(made[0], wanted), torch.rand(4)
    torch.manual_seed(3)
    theirs, expected = set_loss(made[1], wanted, SETTINGS, 6), torch.rand(4)
    assert torch.equal(after, expected)
    for name, term in theirs.items():
        assert torch.equal(ours[name], term), name
    sum(ours.values()).backward()
    sum(theirs.values()).backward()
    for mine, other in zip(made[0], made[1], strict=True):
        for one, reference in zip(mine, other, strict=True):
            assert torch.equal(one.grad, reference.grad)


@pytest.fixture
def fetched(monkeypatch):
    """How often a tensor's content was fetched to the host."""
    counts = Counter()

    def counting(name):
        real = getattr(torch.Tensor, name)

        def method(tensor, *args):
            counts[name] += 1
            return real(tensor, *args)

        monkeypatch.setattr(torch.Tensor, name, method)

    for name in ("cpu", "tolist"):
        counting(name)
    return counts


def looks(counts, work, *given):
    counts.clear()
    with Waits() as waits:
        work(*given)
    return len(waits.names) + counts.total()


@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("depth", [1, 5])
def test_the_device_is_waited_for_twice_whatever_the_layers_and_images(fetched, images, depth):
    wanted, made = target("mixed", images), layers(depth, images)
    assert looks(fetched, SetLoss(6, **SETTINGS), made, wanted) == 2
    before = looks(fetched, set_loss, made, wanted, SETTINGS, 6)
    assert before == 2 * images + depth * (images + 1)  # the counter sees what there was to mend


def test_known_pixels_are_those_of_nonzero():
    for kind in KINDS:
        for image in target(kind):
            expected = (image.flatten() != 255).nonzero()[:, 0]
            assert torch.equal(known_pixels(image, 255, len(expected)), expected)
