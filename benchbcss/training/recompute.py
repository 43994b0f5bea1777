"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): a block keeps its input alone, and
is computed again in the backward pass. Less memory, about a third more time, the same gradients.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from benchbcss.errors import RecipeError

#: bytes of a GPU on which some full recipes do not fit without it (docs/memory.md)
SMALL = 48e9
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def apply(
    setting: bool | Literal["auto"],
    blocks: Sequence[nn.Module],
    learning: Collection[nn.Parameter],
    device: torch.device,
) -> None:
    """``recompute`` as a recipe's ``train.gradient_checkpointing`` says; ``auto`` does so where the
    GPU is small and blocks learn. Raises RecipeError where it is asked for in vain."""
    if setting == "auto":
        setting = _is_small(device) and _learns(blocks, learning)
    if setting:
        recompute(blocks, learning)


def recompute(blocks: Sequence[nn.Module], learning: Collection[nn.Parameter]) -> None:
    """Have each block computed again in the backward pass of training; nothing else is changed, and
    prediction not at all. A network that is copied must be copied before.

    Raises RecipeError where no block has a parameter among ``learning``: nothing would be saved.
    """
    if not _learns(blocks, learning):
        raise RecipeError(
            "train.gradient_checkpointing has no effect: the network has no blocks that learn and "
            "that can be computed again (Backend.recomputable). Leave it out."
        )
    for block in blocks:
        _wrap(block)


def innermost(network: nn.Module, kinds: type | tuple[type, ...]) -> list[nn.Module]:
    """The modules of ``network`` of those ``kinds`` that hold no other such module."""
    chosen = [module for module in network.modules() if isinstance(module, kinds)]
    return [
        module
        for module in chosen
        if not any(isinstance(inner, kinds) for inner in module.modules() if inner is not module)
    ]


def _is_small(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    return bool(torch.cuda.get_device_properties(device).total_memory < SMALL)


def _learns(blocks: Sequence[nn.Module], learning: Collection[nn.Parameter]) -> bool:
    ids = {id(parameter) for parameter in learning}
    return any(id(parameter) in ids for block in blocks for parameter in block.parameters())


def _wrap(block: nn.Module) -> None:
    forward = block.forward

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _statistics_kept(block)

    def forward_that_is_repeated(*args: Any, **kwargs: Any) -> Any:
        if not (block.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    block.forward = forward_that_is_repeated  # type: ignore[method-assign]


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Inside, running statistics are updated in copies: the first pass has updated them already."""
    with ExitStack() as stack:
        for module in _normalising(block):
            kept = {name: module._buffers[name] for name in _STATISTICS}
            copies = {name: b if b is None else b.clone() for name, b in kept.items()}
            stack.callback(module._buffers.update, kept)
            module._buffers.update(copies)
        yield


def _normalising(block: nn.Module) -> Iterable[_NormBase]:
    return (module for module in block.modules() if isinstance(module, _NormBase))
