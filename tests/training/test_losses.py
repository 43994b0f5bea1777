import pytest
import torch
import torch.nn.functional as F

from benchbcss.errors import RecipeError
from benchbcss.training.losses import class_weights, cross_entropy, dense_loss, soft_dice


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 9, 7, generator=generator, requires_grad=True)
    target = torch.randint(0, 4, (2, 9, 7), generator=generator)
    target[:, :3] = 255
    return logits, target


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 4.0])])
def test_cross_entropy_equals_torchs(weights):
    logits, target = batch()
    expected = F.cross_entropy(logits, target, weight=weights, ignore_index=255)
    assert torch.allclose(cross_entropy(logits, target, weights), expected)


def test_neither_value_nor_gradient_sees_ignored_pixels():
    logits, target = batch()
    weights = torch.tensor([1.0, 2.0, 0.5, 4.0])

    def run(noise):
        moved = (logits.detach() + noise * (target == 255)[:, None]).requires_grad_()
        total = sum(dense_loss(moved, target, weights, {}).values())
        total.backward()
        return total.detach(), moved.grad

    first, second = run(0.0), run(37.0)
    assert torch.allclose(first[0], second[0])
    assert torch.allclose(first[1], second[1])
    assert (first[1][:, :, :3] == 0).all()


def test_perfect_and_opposite_predictions():
    target = torch.randint(0, 3, (1, 16, 16), generator=torch.Generator().manual_seed(0))
    sure = 50 * F.one_hot(target, 3).permute(0, 3, 1, 2).float()
    assert soft_dice(sure, target) < 1e-3
    assert soft_dice(-sure, target) > 0.5


def test_nothing_known_is_zero_with_zero_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4), 255)
    total = sum(dense_loss(logits, target, torch.ones(3), {}).values())
    total.backward()
    assert total == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize(("scheme", "ratio"), [("none", 1), ("inverse_sqrt", 10), ("inverse", 100)])
def test_rare_classes_weigh_more(scheme, ratio):
    weights = class_weights([100, 10_000, 0], scheme)
    assert weights[0] / weights[1] == pytest.approx(ratio, rel=1e-4)
    assert weights[2] == 1
    assert weights[:2].mean() == pytest.approx(1)


def test_effective_number_lies_between():
    rare, common = class_weights([100, 1_000_000], "effective", beta=0.9999)
    assert 1 < rare / common < 10_000
    assert class_weights([1, 100], "inverse", cap=5)[0] / class_weights([1, 100], "inverse", cap=5)[
        1
    ] == pytest.approx(5)


def test_unknown_schemes_and_empty_losses():
    with pytest.raises(RecipeError, match="no scheme 'inverted'"):
        class_weights([1, 2], "inverted")
    logits, target = batch()
    with pytest.raises(RecipeError, match="nothing to learn"):
        dense_loss(logits, target, None, {"cross_entropy": 0, "dice": 0})


@pytest.mark.parametrize("cap", [-1.0, 0.5])
def test_a_cap_that_no_weight_could_keep_is_refused(cap):
    with pytest.raises(RecipeError, match="loss.cap must be 0, for none, or 1 or more"):
        class_weights([1, 9], cap=cap)


@pytest.mark.parametrize("term", ["cross_entropy", "dice"])
def test_a_term_that_would_be_maximised_is_refused(term):
    logits, target = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(RecipeError, match=f"loss.{term}=-1 would teach"):
        dense_loss(logits, target, None, {term: -1.0})
