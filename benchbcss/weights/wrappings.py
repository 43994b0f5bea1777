"""How checkpoints pack a network's tensors, and which packing fits a network best.

A file's tensors may lie in nested dictionaries, under prefixes of wrapping modules, and be a
part's: of the network inside a wrapper, or of an encoder alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: modules that only hold another one, wherever they stand in a name
TRANSPARENT = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
#: first parts of names under which trainers and wrappers keep a network
WRAPPERS = (
    "model",
    "net",
    "network",
    "state_dict",
    "model_state_dict",
    "ema",
    "ema_model",
    "model_ema",
    "average",
)
_AVERAGES = ("ema", "average")
_DEEPEST = 4


@dataclass(frozen=True)
class Fit:
    """One reading of a file. ``tensors`` by the network's own names, where shapes agree;
    ``shapes`` are names whose shapes do not; ``unknown`` are the file's names that the network
    has not. ``part`` is the network's prefix that the file's names lack."""

    path: tuple[str, ...]
    prefix: str
    part: str
    tensors: dict[str, Tensor] = field(repr=False)
    shapes: dict[str, Tensor] = field(repr=False)
    unknown: dict[str, Tensor] = field(repr=False)
    held: dict[str, Tensor] = field(repr=False)  # everything under the prefix, without it

    @property
    def wrapping(self) -> str:
        """In words, such as ``state_dict, model., as net.``; empty for none."""
        words = [*self.path, *([self.prefix] if self.prefix else [])]
        return ", ".join([*words, *([f"as {self.part}"] if self.part else [])])

    @property
    def rank(self) -> tuple[int, int, int, int, int]:
        """Better fits are greater; of equals, weights go before their averages."""
        words = [*self.path, *self.prefix.split(".")]
        average = any(mark in word for word in words for mark in _AVERAGES)
        known = len(self.tensors) + len(self.shapes)
        plain = -len(self.path) - self.prefix.count(".")
        return len(self.tensors), known, -len(self.unknown), -average, plain


def state_dicts(content: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every dictionary with tensors in it, with the keys that lead there."""
    yield from _state_dicts(content, ())


def _state_dicts(
    content: Mapping[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    tensors = {}
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            tensors[key] = value
        elif isinstance(key, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            tensors[key] = torch.from_numpy(value)
    if tensors:
        yield path, tensors
    if len(path) < _DEEPEST:
        for key, value in content.items():
            if isinstance(key, str) and isinstance(value, Mapping):
                yield from _state_dicts(value, (*path, key))


def best(
    content: Mapping[Any, Any],
    network: Mapping[str, Tensor],
    parts: Sequence[str] = (),
    towers: Sequence[str] = (),
) -> Fit | None:
    """The reading of ``content`` that fits best; None where no name fits the ``network``.

    ``parts`` are prefixes of submodules whose tensors may come alone, such as ``net.encoder.``;
    ``towers`` are prefixes in the file, such as ``visual.trunk.``, beside which there is more.
    """
    network_names = {transparent(name): name for name in network}
    placed = {part: None for part in ("", *parts)}
    for part in list(placed):
        placed |= dict.fromkeys(_deeper(part, network_names))
    fits = []
    for path, state in state_dicts(content):
        plain = {transparent(name): (name, tensor) for name, tensor in state.items()}
        prefixes = dict.fromkeys(p for name in plain for p in _prefixes(name, towers))
        fits += [
            _fit(path, prefix, part, plain, network_names, network)
            for prefix in prefixes
            for part in placed
        ]
    chosen = max(fits, key=lambda fit: fit.rank, default=None)
    return chosen if chosen is not None and (chosen.tensors or chosen.shapes) else None


def is_other_kind(wanted: Tensor, tensor: Tensor) -> bool:
    """Whether ``wanted`` holds floating-point numbers and ``tensor`` integers, as quantised weights
    do, or complex ones: copying would take them for what they stand for."""
    return wanted.is_floating_point() and not tensor.is_floating_point()


def transparent(name: str) -> str:
    """``name`` without modules that only hold another."""
    return ".".join(word for word in name.split(".") if word not in TRANSPARENT)


def _prefixes(name: str, towers: Sequence[str] = ()) -> Iterator[str]:
    """'' and each run of wrappers at the beginning of a name, also with one of ``towers``."""
    words = name.split(".")
    for count in range(len(words)):
        prefix = "".join(f"{word}." for word in words[:count])
        yield prefix
        yield from (prefix + tower for tower in towers if name.startswith(prefix + tower))
        if words[count] not in WRAPPERS:
            return


def _deeper(part: str, network_names: Mapping[str, str]) -> set[str]:
    """Prefixes of the network's names that are ``part`` and wrappers inside it."""
    inside = (name[len(part) :] for name in network_names if name.startswith(part))
    return {part + prefix for name in inside for prefix in _prefixes(name)}


def _fit(
    path: tuple[str, ...],
    prefix: str,
    part: str,
    plain: Mapping[str, tuple[str, Tensor]],
    network_names: Mapping[str, str],
    network: Mapping[str, Tensor],
) -> Fit:
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, Tensor] = {}
    unknown: dict[str, Tensor] = {}
    held: dict[str, Tensor] = {}
    for name, (original, tensor) in plain.items():
        if not name.startswith(prefix):
            continue
        target = network_names.get(part + name[len(prefix) :])
        held[target[len(part) :] if target else name[len(prefix) :]] = tensor
        if target is None:
            unknown[original] = tensor
        elif network[target].shape == tensor.shape:
            tensors[target] = tensor
        else:
            shapes[target] = tensor
    return Fit(path, prefix, part, tensors, shapes, unknown, held)
