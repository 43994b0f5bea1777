"""Low-rank adapters (LoRA, Hu et al. 2021; DoRA, Liu et al. 2024) by peft, for any network.

peft is imported when an adapter is made: it comes with the extras of the backends that use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from benchbcss.errors import RecipeError, WeightsError
from benchbcss.weights.wrappings import is_other_kind

_ADAPTED = "base_layer."  # where peft keeps the layer that it adapts
_OURS = "lora_"  # how the names of its own parameters begin


class Loaded(NamedTuple):
    """As torch's ``load_state_dict`` answers."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def is_adapter(name: str) -> bool:
    """Whether a parameter of that name is peft's own."""
    return any(word.startswith(_OURS) for word in name.split("."))


def plain_names(network: nn.Module) -> dict[str, str]:
    """{the name that a tensor would have without adapters: its name}, of all but adapters."""
    return {
        name.replace(_ADAPTED, ""): name for name in network.state_dict() if not is_adapter(name)
    }


def adapt(network: nn.Module, settings: dict[str, Any]) -> None:
    """Freeze ``network``, and put adapters beside the layers whose names end as
    ``settings['layers']`` say; ``rank``, ``alpha``, ``dropout`` and ``dora`` are peft's.

    Their product starts at 0, so nothing changes yet. Raises RecipeError for names that no layer
    has and for a rank below 1.
    """
    from peft import LoraConfig, inject_adapter_in_model

    network.requires_grad_(False)
    try:
        config = LoraConfig(
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            target_modules=list(settings["layers"]),
            use_dora=bool(settings["dora"]),
        )
        inject_adapter_in_model(config, network)
    except ValueError as error:
        raise RecipeError(f"the adapters do not fit the network: {error}") from error


def load_plain(
    network: nn.Module,
    state: dict[str, Tensor],
    given: str,
    *,
    needed: Callable[[str], bool] = lambda name: True,
    extra: Callable[[str], bool] = lambda name: False,
) -> Loaded:
    """Load tensors under the names of a network without adapters; adapters keep what they hold.

    What is absent is an error where ``needed`` says so of its plain name, and what is unknown is
    one unless ``extra`` says of it that it may be left out. Raises WeightsError, which begins with
    ``given``.
    """
    names = plain_names(network)
    placed = {names.get(name, name): tensor for name, tensor in state.items()}
    wanted = network.state_dict()
    problems = [
        f"{name} is {tuple(tensor.shape)} and not {tuple(wanted[name].shape)}"
        for name, tensor in placed.items()
        if name in wanted and wanted[name].shape != tensor.shape
    ]
    problems += [
        f"{name} is {tensor.dtype} and not of floating-point numbers"
        for name, tensor in placed.items()
        if name in wanted and is_other_kind(wanted[name], tensor)
    ]
    problems += [f"it lacks {p}" for p, name in names.items() if name not in placed and needed(p)]
    problems += [f"{name} is unknown" for name in placed if name not in wanted and not extra(name)]
    if problems:
        raise WeightsError(f"{given}: {problems[0]}, and so on ({len(problems)} such tensors).")
    known = {name: tensor for name, tensor in placed.items() if name in wanted}
    outcome = network.load_state_dict(known, strict=False)
    return Loaded(list(outcome.missing_keys), [])
