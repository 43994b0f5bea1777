"""Settings that make steps faster and change no more than the last digits: the layout of memory,
TF32, ``torch.compile``, a fused optimiser. benchmarks/step_options.py measures them."""

from __future__ import annotations

import torch
from torch import nn

from benchbcss import garbage
from benchbcss.errors import RecipeError
from benchbcss.recipes import Train


def prepare(settings: Train | None, device: torch.device) -> None:
    """Before anything runs on ``device``: TF32 as ``settings`` say, in training and prediction.

    Raises RecipeError for what cannot be done here, or would change nothing.
    """
    if settings is None:
        return
    if settings.tf32:
        if device.type != "cuda":
            raise RecipeError(
                "train.tf32 has no effect here: TF32 is a format of NVIDIA GPUs. Leave it out, or "
                "run on a GPU."
            )
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    if settings.compile and device.type == "cpu" and not _has_compiler():
        raise RecipeError(
            "train.compile needs a C++ compiler on the CPU, and there is none here. Install g++ "
            "(or name one in CXX), or leave train.compile out."
        )


def lay_out(settings: Train, model: nn.Module) -> None:
    """The network's weights as ``train.channels_last`` says. Raises RecipeError where no weight is
    of a convolution: nothing would change."""
    if not settings.channels_last:
        return
    if not any(parameter.ndim == 4 for parameter in model.parameters()):
        raise RecipeError(
            "train.channels_last has no effect: the network has no weights of convolutions. Leave "
            "it out."
        )
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def optimizer(
    groups: dict[str, list[nn.Parameter]], settings: Train, device: torch.device
) -> torch.optim.AdamW:
    """AdamW; fused on a GPU, where that is one kernel for all parameters. Elsewhere it is not, and
    results stay those of earlier editions to the last digit."""
    with garbage.put_off():  # torch imports its compiler for the first one
        return torch.optim.AdamW(
            [{"params": params, "name": name} for name, params in groups.items()],
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            fused=True if device.type == "cuda" else None,
        )


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(get_cpp_compiler())
    except InvalidCxxCompiler:
        return False
