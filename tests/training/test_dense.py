import torch
from torch import nn

from benchbcss.contract import IGNORE, Batch, Context, Task
from benchbcss.training.dense import DenseBackend
from benchbcss.training.losses import balanced_loss
from benchbcss.weights import Random

TASK = Task(("a", "b", "c"), (0, 1), mpp=0.3, tile=8)
LOSS = {"cross_entropy": 0.5, "dice": 2.0, "class_weights": "inverse"}


class Dense(DenseBackend):
    def build(self):
        return nn.Conv2d(3, self.task.num_classes, 1)


def backend():
    context = Context(0, "cpu", Random(), False, class_pixels=[90, 9, 1])
    return Dense(TASK, {"loss": LOSS}, context)


def batch():
    torch.manual_seed(0)
    target = torch.randint(3, (2, 8, 8))
    target[:, :4] = IGNORE
    return Batch(torch.rand(2, 3, 8, 8), target, ["x", "y"], 0)


def test_the_loss_is_the_recipes_balanced_by_the_training_pixels():
    made, given = backend(), batch()
    model = made.build()
    terms = made.loss(model, given)
    assert set(terms) == {"cross_entropy", "dice"}
    expected = balanced_loss(model(given.image), given.target, [90, 9, 1], LOSS)
    assert all(torch.equal(terms[name], expected[name]) for name in expected)
    unbalanced = balanced_loss(model(given.image), given.target, [1, 1, 1], LOSS)
    assert not torch.equal(terms["cross_entropy"], unbalanced["cross_entropy"])


def test_images_under_ignored_pixels_do_not_contribute_to_the_loss():
    made, given = backend(), batch()
    model = made.build()
    before = sum(made.loss(model, given).values())
    given.image[:, :, :4] = torch.rand(2, 3, 4, 8)
    assert torch.equal(sum(made.loss(model, given).values()), before)


def test_logits_are_float32_whatever_the_network_computes_in():
    made = backend()
    model = made.build().to(torch.bfloat16)
    logits = made.predict(model, torch.rand(1, 3, 5, 7, dtype=torch.bfloat16))
    assert logits.dtype == torch.float32
    assert logits.shape == (1, 3, 5, 7)
