"""Loads what ``--weights`` names into a network, and measures what came of it.

A backend calls ``load_into`` (or, where a library loads by itself, ``report``) in ``build``. The
core then calls ``settle``: it counts what was loaded, and refuses to score what was not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchbcss.contract import Context
from benchbcss.errors import WeightsError
from benchbcss.weights.hub import COMMIT, commit_of, fetch
from benchbcss.weights.provenance import NAMED, Provenance
from benchbcss.weights.reading import read
from benchbcss.weights.value import Auto, File, Folder, Hub, Random, short
from benchbcss.weights.wrappings import Fit, best, is_other_kind, state_dicts

Loader = Callable[[dict[str, Tensor]], Any]
_PRETRAINED = "pretrained: "  # how a source begins that is a repository of the hub
_COUNTER = "num_batches_tracked"  # BatchNorm's; old files lack it, and it changes no prediction


def _model_safetensors(repository: str) -> str:
    return "model.safetensors"


@dataclass(frozen=True)
class Layout:
    """What a backend knows of weights for its network.

    ``what`` names the network in messages. ``pretrained`` is where 'auto' leads, and
    ``unpretrained`` what the record says where there is none; ``filename`` gives a repository's
    file, or the names that it may have. ``parts`` maps prefixes of submodules that may come alone
    to a function that loads their state dict (None: by name). ``ignored`` are beginnings of names
    in files that the network has no use for; ``towers`` are prefixes under which a file keeps all
    of a part beside networks that are not asked for.
    """

    what: str = "this network"
    pretrained: Hub | None = None
    unpretrained: str = "random"
    filename: Callable[[str], str | Sequence[str]] = _model_safetensors
    parts: Mapping[str, Loader | None] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    towers: tuple[str, ...] = ()


def load_into(model: nn.Module, context: Context, layout: Layout | None = None) -> Provenance:
    """Load ``context.weights`` into ``model``; sets and returns ``context.provenance``.

    A random start leaves the network as it is. Weights of a part are accepted; ``settle`` says
    whether that will do. Raises WeightsError for what is missing, unreadable or of another network.
    """
    layout = layout or Layout()
    path, source = located(context, layout)
    if path is None:
        return report(model, context, source, ())
    content = read(path)
    network = model.state_dict()
    fit = best(content, network, tuple(layout.parts), layout.towers)
    given = f"The weights {short(path)} are not of {layout.what}"
    if fit is None:
        raise WeightsError(f"{given}: {_nothing_fits(content, network)}")
    loader = layout.parts.get(fit.part)
    unknown = [name for name in fit.unknown if not _begins(name, layout.ignored, fit.prefix)]
    if loader is None:
        if fit.shapes or unknown:
            raise WeightsError(f"{given}: {_differences(fit, unknown, network)}.")
        if whole := [name for name, t in fit.tensors.items() if is_other_kind(network[name], t)]:
            raise WeightsError(
                f"{given}: {len(whole)} tensor(s) hold no floating-point numbers, such as "
                f"{short(whole[0], 80)} ({fit.tensors[whole[0]].dtype}). Quantised weights must be "
                f"scaled back first."
            )
        model.load_state_dict(fit.tensors, strict=False)
        names = set(fit.tensors)
    else:
        try:
            outcome = loader(dict(fit.held))
        except (RuntimeError, TypeError, KeyError) as error:
            reason = _differences(fit, unknown, network) or short(error)
            raise WeightsError(f"{given}: {reason}.") from error
        lacking = {fit.part + name for name in getattr(outcome, "missing_keys", ())}
        names = {name for name in network if name.startswith(fit.part)} - lacking
    revision = commit_of(path) if source.startswith(_PRETRAINED) else ""
    return report(model, context, source, names, wrapping=fit.wrapping, revision=revision)


def located(context: Context, layout: Layout) -> tuple[Path | None, str]:
    """Where the weights lie here, fetched if need be, and what the record calls them; None for a
    random start. Raises WeightsError."""
    weights = context.weights
    if isinstance(weights, File | Folder):
        return weights.verified(), f"file: {weights.sha256[:16]}"
    if isinstance(weights, Random):
        return None, "random"
    automatic = isinstance(weights, Auto)
    source = layout.pretrained if automatic else weights
    if not isinstance(source, Hub):
        return None, layout.unpretrained
    try:
        path = fetch(source.id, layout.filename(source.id), source.revision)
    except WeightsError:
        if context.strict_weights or not automatic:
            raise
        return None, f"random (pretrained weights {source.id} were not available)"
    return path, f"{_PRETRAINED}{source.id if automatic else source}"


def report(
    model: nn.Module,
    context: Context,
    source: str,
    names: Iterable[str] | None = None,
    *,
    wrapping: str = "",
    revision: str = "",
) -> Provenance:
    """Say that the tensors ``names`` of ``model`` (all of them by default) came from ``source``.

    For backends whose library loads by itself; their values must not change any more until
    ``build`` returns. ``revision`` is the hub's commit; a network that
    ``weights.pretrained`` has loaded knows it. Sets and returns ``context.provenance``.
    """
    tensors = _tensors(model)
    chosen = tensors if names is None else {n: tensors[n] for n in names if n in tensors}
    if source.startswith(_PRETRAINED) and not revision:
        known = (getattr(module, COMMIT, "") for module in model.modules())
        revision = next(filter(None, known), "")
    made = Provenance(source=source, wrapping=wrapping, revision=revision)
    made._evidence = [
        (tensor, _digest(tensor) if context.evaluating else None) for tensor in chosen.values()
    ]
    context.provenance = made
    return made


def settle(
    model: nn.Module,
    context: Context,
    backend: str,
    *,
    made_here: Sequence[str] = (),
    trains: bool = True,
) -> Provenance:
    """Measure what of the built ``model`` came from the weights; the core calls it after ``build``.

    Every parameter counts, and every buffer that is checkpointed but those below ``made_here``,
    which a recipe sets or a probe is fitted into. A network that is scored without being trained
    here must come from its weights entirely, whoever loaded them and however they were packed; of
    one that is trained from weights, something must, and of its blocks not some alone; and what
    came must be finite: else WeightsError.
    """
    needed = _needed(model, made_here)
    started, weights = context.provenance, context.weights
    came = _reported(needed, started)
    if isinstance(weights, File | Folder) and (
        started is None or (context.evaluating and len(came) < len(needed))
    ):
        came |= _by_content({n: t for n, t in needed.items() if n not in came}, weights)
    parameters = dict(model.named_parameters())
    learnt = bool(came & set(parameters))
    made = Provenance(source=_unreported(context, learnt)) if started is None else started
    absent = [name for name in needed if name not in came]
    made = made.model_copy(
        update={
            "tensors": len(came),
            "of_tensors": len(needed),
            "parameters": sum(p.numel() for name, p in parameters.items() if name in came),
            "of_parameters": sum(p.numel() for p in parameters.values()),
            "missing": tuple(short(name, 80) for name in absent[:NAMED]) if came else (),
            "missing_count": len(absent) if came else 0,
        }
    )
    made._evidence = []
    context.provenance = made
    explicit = not isinstance(weights, Random | Auto)
    if isinstance(weights, Random):
        return made
    broken = [n for n, p in parameters.items() if n in came and not bool(p.isfinite().all())]
    if broken:
        raise WeightsError(
            f"The weights {short(weights if explicit else made.source)} hold values that are not "
            f"finite, in {len(broken)} tensor(s), such as {short(broken[0], 80)}: their training "
            f"diverged, or half precision overflowed."
        )
    if not (context.evaluating or (explicit and not trains)):
        claimed = explicit or made.source.startswith(_PRETRAINED)
        if started is not None and claimed and parameters and not learnt and not made.random:
            raise WeightsError(_nothing_came(backend, made, weights if explicit else made.source))
        if started is not None and (some := _some_blocks(model, needed, came)):
            named = short(weights if explicit else made.source)
            raise WeightsError(f"The weights {named} are of another size than '{backend}': {some}.")
        return made
    if started is None and not isinstance(weights, File | Folder):
        raise WeightsError(
            f"'{backend}' does not say which weights it loaded, so they cannot be evaluated. Its "
            f"build() must load with benchbcss.weights.loading.load_into, or call report() there."
        )
    if made.random:
        raise WeightsError(
            f"There are no weights to evaluate: '{backend}' starts from {made.source}. "
            f"Pass --weights PATH to weights that it loads."
        )
    if absent:
        lacking = any(name in parameters for name in absent)
        raise WeightsError(_refusal(backend, context, made, absent, lacking))
    return made


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name, as the objects that the modules hold."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _needed(model: nn.Module, made_here: Sequence[str]) -> dict[str, Tensor]:
    stored = model.state_dict()
    buffers = {
        name: tensor
        for name, tensor in model.named_buffers()
        if name in stored
        and not name.endswith(_COUNTER)
        and not any(name == prefix or name.startswith(f"{prefix}.") for prefix in made_here)
    }
    return {**dict(model.named_parameters()), **buffers}


def _reported(needed: Mapping[str, Tensor], started: Provenance | None) -> set[str]:
    """Names whose tensor was loaded through here, and is still what was loaded."""
    if started is None:
        return set()
    digests = {id(tensor): digest for tensor, digest in started._evidence}
    values = {digest for digest in digests.values() if digest is not None}

    def is_loaded(tensor: Tensor) -> bool:
        if id(tensor) not in digests:  # wrapped, moved or made again: known by its values
            return bool(values) and _digest(tensor) in values
        digest = digests[id(tensor)]
        return digest is None or _digest(tensor) == digest

    return {name for name, tensor in needed.items() if is_loaded(tensor)}


def _by_content(needed: Mapping[str, Tensor], weights: File | Folder) -> set[str]:
    """Names whose values are in the file, for backends that load without a report."""
    held = [
        tensor for _, state in state_dicts(read(weights.verified())) for tensor in state.values()
    ]
    values = {
        dtype: {_digest(tensor.to(dtype)) for tensor in held}
        for dtype in {tensor.dtype for tensor in needed.values()}
    }
    return {name for name, tensor in needed.items() if _digest(tensor) in values[tensor.dtype]}


def _digest(tensor: Tensor) -> str:
    """Of shape, type and values."""
    plain = tensor.detach().cpu().contiguous()
    total = hashlib.sha256(f"{tuple(plain.shape)} {plain.dtype}".encode())
    total.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _unreported(context: Context, loaded: bool) -> str:
    """What is known of the start of a backend that reports nothing."""
    weights = context.weights
    if isinstance(weights, File | Folder):
        return f"file: {weights.sha256[:16]}" if loaded else "random values: it loads no weights"
    return "random" if isinstance(weights, Random) else "not reported by the backend"


def _refusal(
    backend: str, context: Context, made: Provenance, absent: list[str], lacking: bool
) -> str:
    """Why these weights are not scored."""
    names = ", ".join(short(name, 80) for name in absent[:3])
    hint = (
        "Pass the weights of the whole network, or train from these: benchbcss run."
        if lacking
        else "If these are not learnt, the backend names them in `made_here`."
    )
    return (
        f"{backend} cannot be evaluated with the weights {short(context.weights)}: of its "
        f"{made.of_tensors} tensors, {len(absent)} did not come from there "
        f"({made.share:.1%} of the parameters did), such as {names}. {hint}"
    )


def _some_blocks(model: nn.Module, needed: Collection[str], came: set[str]) -> str:
    """Which list of like blocks has come in part, some of its blocks whole and others not at all,
    as from a variant of another depth; empty where there is none."""
    for name, blocks in model.named_modules():
        if not isinstance(blocks, nn.ModuleList) or len({type(block) for block in blocks}) != 1:
            continue
        held = [
            [tensor in came for tensor in needed if tensor.startswith(f"{name}.{index}.")]
            for index in range(len(blocks))
        ]
        whole = sum(all(flags) for flags in held if flags)
        absent = [index for index, flags in enumerate(held) if flags and not any(flags)]
        if whole and absent:
            return (
                f"of the {len(blocks)} blocks of {short(name, 80)}, {len(absent)} did not come "
                f"from there, such as number {absent[0]}; choose the variant that they are of"
            )
    return ""


def _nothing_came(backend: str, made: Provenance, weights: object) -> str:
    """Why training from these weights would be training from random ones."""
    return (
        f"Nothing of the weights {short(weights)} is in '{backend}': none of its {made.of_tensors} "
        f"tensors came from there. Pass weights whose names are this network's, or start from "
        f"random ones with --weights none."
    )


def _begins(name: str, beginnings: Sequence[str], prefix: str) -> bool:
    plain = name.removeprefix("module.").removeprefix(prefix)
    return plain.startswith(tuple(beginnings)) if beginnings else False


def _differences(fit: Fit, unknown: Sequence[str], network: Mapping[str, Tensor]) -> str:
    """How a file differs from the network, in words; empty where only tensors are missing."""
    words = []
    if fit.shapes:
        name, tensor = next(iter(fit.shapes.items()))
        words.append(
            f"{len(fit.shapes)} tensor(s) of another shape, such as {short(name, 80)} "
            f"{tuple(tensor.shape)} instead of {tuple(network[name].shape)}"
        )
    if unknown:
        words.append(f"{len(unknown)} unknown, such as {short(unknown[0], 80)}")
    return "; ".join(words)


def _nothing_fits(content: Mapping[Any, Any], network: Mapping[str, Tensor]) -> str:
    """Names of a file beside the network's."""
    largest = max((state for _, state in state_dicts(content)), key=len, default={})
    if not largest:
        return "it holds no state dict, which maps names to tensors."
    ours = short(next(iter(network), "nothing"), 80)
    return (
        f"none of its {len(largest)} tensors has a known name. Its names are like "
        f"{short(next(iter(largest)), 80)}, the network's like {ours}: rename them, or remove a "
        f"prefix."
    )
