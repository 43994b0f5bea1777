"""Which precision is chosen, and that the network runs in it wherever it runs."""

import numpy as np
import pytest
import torch

from benchbcss.contract import Backend, Task
from benchbcss.errors import InputError
from benchbcss.inference.precision import Precision, full
from benchbcss.inference.predictor import Predictor

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("device", [CPU, torch.device("mps")])
def test_without_a_gpu_it_is_what_was_asked_for(wanted, device):
    assert Precision.chosen(wanted, device).name == wanted
    assert Precision.chosen("auto", device).name == "fp32"


@pytest.fixture(params=[True, False])
def native(request, monkeypatch):
    """A GPU that computes in bf16, and one on which PyTorch emulates it. No GPU was at hand: the
    question is answered here as PyTorch documents its answers."""

    def supported(including_emulation=True):
        return including_emulation or request.param

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Tesla V100")
    return request.param


def test_a_gpu_runs_in_bf16_only_where_it_has_it(native):
    assert Precision.chosen("auto", GPU).name == ("bf16" if native else "fp16")
    assert Precision.chosen("fp16", GPU).name == "fp16"
    assert Precision.chosen("fp32", GPU).name == "fp32"


def test_a_bf16_that_would_be_emulated_is_refused_by_name(native):
    if native:
        assert Precision.chosen("bf16", GPU).name == "bf16"
        return
    with pytest.raises(InputError, match="Tesla V100 does not compute in bf16. Use .*fp16"):
        Precision.chosen("bf16", GPU)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_products_are_in_that_precision(name, dtype):
    left, right = torch.rand(2, 4, 4)
    with Precision.chosen(name, CPU).autocast():
        assert (left @ right).dtype == dtype
        with full(CPU):
            assert (left @ right).dtype == torch.float32


class Everywhere(Backend):
    """Notes the precision in which each of its methods is asked."""

    def __init__(self, whole):
        super().__init__(Task(("a", "b"), (0, 1), 0.3, 32), {}, None)
        self.whole, self.seen = whole, {}

    def note(self, method):
        kind = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
        self.seen[method] = kind

    def predict(self, model, image):
        self.note("predict")
        return image[:, :2]

    def predict_roi(self, model, image):
        self.note("predict_roi")
        return np.zeros(image.shape[:2], np.uint8) if self.whole else None

    def encode(self, model, image):
        self.note("encode")
        return image

    def predict_prompted(self, model, encoded, prompts):
        self.note("predict_prompted")
        return encoded[0, :1].expand(len(prompts), -1, -1)


@pytest.mark.parametrize("tta", [False, True])
def test_every_method_that_predicts_runs_in_the_runs_precision(tta):
    image = np.zeros((40, 40, 3), np.uint8)
    target = np.zeros((40, 40), np.uint8)
    seen = {}
    for whole in (True, False):
        made = Everywhere(whole)
        half = Precision.chosen("bf16", CPU).autocast
        predictor = Predictor(made, torch.nn.Identity(), None, 32, 8, 32, CPU, half, tta=tta)
        predictor.semantic(image)
        predictor.prompted(image, target)
        seen |= made.seen
    assert seen == dict.fromkeys(
        ("predict", "predict_roi", "encode", "predict_prompted"), torch.bfloat16
    )
