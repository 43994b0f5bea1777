"""``python -m benchmarks.memory [BACKEND...]``: how much memory each full recipe trains in.

One step of each is traced with tensors that have sizes and no content (PyTorch's FakeTensorMode):
nothing of full size is allocated, and every tensor that the forward and backward pass hold at a
time is counted. ``--write`` puts the table into docs/memory.md. What a network computes only from
what it sees (which classes a tile has, which query is matched with which) is assumed: every class
is there, every object is prompted by a box.

Counted with the kernels of the CPU, as no GPU was at hand. Not counted: CUDA's context (some 0.5
GB), what kernels need while they run, and what the allocator rounds up and cannot reuse.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily

from benchbcss import registry
from benchbcss.contract import Backend, Batch, Context, Task
from benchbcss.errors import RecipeError
from benchbcss.inference.precision import Precision
from benchbcss.recipes import Recipe, resolve
from benchbcss.suites import Budget
from benchbcss.training import losses
from benchbcss.training.recompute import recompute
from benchbcss.training.schedule import ever_trained, plan
from benchbcss.training.trainer import trainable_groups
from benchbcss.weights import Weights
from benchmarks.live_bytes import LiveBytes

ROIS = 85  # of BCSS that train
CARD = 24e9  # bytes of the card that every recipe should fit
CPU = torch.device("cpu")
PAGE = Path(__file__).parents[1] / "docs" / "memory.md"
RECORD = Path(__file__).with_suffix(".json")
_MARKS = ("<!-- table: python -m benchmarks.memory --write -->", "<!-- end of table -->")


def built(
    backend: str, preset: str = "full", overrides: Sequence[str] = (), tile: int = 1024
) -> tuple[Backend, nn.Module, Recipe]:
    """A backend, its network with random weights, and its recipe."""
    entry = registry.load().backend(backend)
    recipe = resolve(entry.info.recipe, preset, tuple(overrides))
    names = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
    context = Context(
        0, CPU, Weights.parse("none"), False, [9, 8, 3, 3, 1, 4], clip=mock.MagicMock()
    )
    made = entry.load()(
        Task(names, (0, 1, 2, 3, 4), 0.3, tile), recipe.model_dump(mode="json"), context
    )
    return made, made.build(), recipe


def stages(recipe: Recipe) -> list[dict[str, float]]:
    """The sets of frozen and learning groups that a recipe goes through."""
    assert recipe.train is not None
    return [stage.lr for stage in recipe.train.unfreeze] or [{}]


def measured(
    backend: str,
    *,
    preset: str = "full",
    overrides: Sequence[str] = (),
    tile: int = 1024,
    precisions: Sequence[str] = ("fp32", "bf16"),
) -> dict[str, Any]:
    """Bytes of one recipe: ``weights``, ``optimizer``, ``average``, and by precision, without and
    with gradient checkpointing, the ``peak`` of a step with all of these (see ``_step``)."""
    made, network, recipe = built(backend, preset, overrides, tile)
    train = recipe.train
    assert train is not None
    settings = plan(train, Budget(epochs=100), ROIS)
    groups = trainable_groups(made, network)
    learning = [p for name, ps in groups.items() if ever_trained(train, name, settings) for p in ps]
    state = _bytes(network.state_dict().values())
    sizes = {
        "weights": state,
        "optimizer": 2 * _bytes(learning),
        "average": state if train.ema else 0,
    }
    side = recipe.view.size if recipe.view.protocol == "squash" else tile
    shape = (settings.batch_size, side)

    def peaks() -> dict[str, int]:
        by_precision = {}
        for precision in precisions:
            steps = []
            for rates in stages(recipe):
                for name, parameters in groups.items():
                    for parameter in parameters:
                        parameter.requires_grad_(rates.get(name, 1.0) > 0)
                steps.append(_step(made, network, shape, precision))
            by_precision[precision] = sum(sizes.values()) + max(steps)
        return by_precision

    row = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "batch": settings.batch_size,
        "accumulate": train.accumulate,
        "side": side,
        **sizes,
        "plain": peaks(),
    }
    try:
        recompute(made.recomputable(network), learning)
    except RecipeError:
        return row  # its blocks do not learn
    return {**row, "checkpointed": peaks()}


def _step(made: Backend, network: nn.Module, shape: tuple[int, int], precision: str) -> int:
    """The most bytes that batch, activations and gradients take together in one micro-batch's
    passes."""
    count, side = shape
    network.train()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with ExitStack() as stack:
        stack.enter_context(_as_fakes(network, mode))
        stack.enter_context(mode)
        for assumption in _assumptions():
            stack.enter_context(assumption)
        live = stack.enter_context(_Traced([*network.parameters(), *network.buffers()]))
        image = torch.empty(count, 3, side, side)
        target = torch.empty(count, side, side, dtype=torch.int64)
        batch = Batch(image, target, ["roi"] * count, 0)
        with Precision.chosen(precision, CPU).autocast():  # type: ignore[arg-type]
            terms = made.loss(network, batch)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        total.backward()
        for parameter in network.parameters():
            parameter.grad = None
        return live.peak


class _Traced(LiveBytes):
    """Answers what the network asks of content that is not there: yes, and nowhere."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not args or not isinstance(args[0], FakeTensor):
            return super().__torch_dispatch__(func, types, args, kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            return args[0].dtype.is_floating_point or args[0].dtype is torch.bool or 1
        if func is torch.ops.aten.nonzero.default:
            return torch.empty(0, args[0].ndim, dtype=torch.int64)
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def _as_fakes(network: nn.Module, mode: FakeTensorMode) -> Iterator[None]:
    """Inside, parameters and buffers have sizes alone."""
    kept: list[tuple[dict[str, Any], str, Any]] = []
    for module in network.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is None:
                    continue
                kept.append((store, name, tensor))
                fake: Any = mode.from_tensor(tensor)
                store[name] = (
                    nn.Parameter(fake, tensor.requires_grad)
                    if isinstance(tensor, nn.Parameter)
                    else fake
                )
    try:
        yield
    finally:
        for store, name, tensor in kept:
            store[name] = tensor


def _assumptions() -> Iterator[Any]:
    """What a step looks up on the host, as it is at its largest."""
    yield mock.patch.object(losses, "class_weights", _with_content(losses.class_weights))
    try:
        from benchbcss_mask2former.criterion import SetLoss
    except ImportError:
        pass
    else:
        yield mock.patch.object(SetLoss, "_contents", _every_class)
        yield mock.patch.object(SetLoss, "_matched", _in_order)
    try:
        from benchbcss_sam2 import prompting
    except ImportError:
        return
    yield mock.patch.object(prompting, "draw_objects", _most_objects)
    boxes = prompting.boxes
    yield mock.patch.object(prompting, "draw_prompts", lambda masks, known, settings: boxes(masks))


def _with_content(work: Any) -> Any:
    """``work`` on numbers of the host, which have their content here too."""

    def done(*given: Any, **more: Any) -> Any:
        with unset_fake_temporarily():
            return work(*given, **more)

    return done


def _every_class(loss: Any, target: Tensor) -> tuple[list[Tensor], list[list[int]]]:
    pixels = torch.arange(target[0].numel())
    return [pixels for _ in target], [list(range(loss.num_classes)) for _ in target]


def _in_order(loss: Any, layers: Any, target: Tensor, drawn: Any, labels: Any) -> Any:
    for (class_logits, mask_logits), of_layer in zip(layers, drawn, strict=True):
        for i, places in enumerate(of_layer):
            with torch.no_grad():
                loss._cost(class_logits[i], mask_logits[i], target[i], places.matching, labels[i])
    places = torch.arange(loss.num_classes)
    return [[(places, places) for _ in target] for _ in layers]


def _most_objects(target: Tensor, classes: Sequence[int], limit: int) -> tuple[Tensor, Tensor]:
    count = min(limit, len(classes))
    images = torch.arange(len(target)).repeat_interleave(count)
    return images, torch.arange(count).repeat(len(target))


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def trained() -> list[str]:
    """Backends whose recipe the harness's loop trains."""
    backends = registry.load().backends
    return [
        name
        for name, entry in backends.items()
        if entry.info.trains and resolve(entry.info.recipe, "full").train is not None
    ]


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown of rows by recipe and settings that differ from it, separated by spaces; what does
    not fit ``CARD`` is in italics."""
    lines = [
        "| recipe | micro-batch | weights + optimiser | fp32 | bf16 | fp32, checkpointing | "
        "bf16, checkpointing |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for key, row in sorted(rows.items()):
        name, *changed = key.split()
        again = row.get("checkpointed", {})
        peaks = [*row["plain"].values(), *(again.get(precision) for precision in row["plain"])]
        sizes = [_gigabytes(row["weights"] + row["optimizer"] + row["average"])]
        cells = [*sizes, *map(_gigabytes, peaks)]
        recipe = " with ".join(f"`{part}`" for part in (name, " ".join(changed)) if part)
        lines.append(f"| {recipe} | {row['batch']} x {row['side']} px | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gigabytes(size: int | None) -> str:
    if size is None:
        return "-"
    text = f"{size / 1e9:.1f}"
    return f"*{text}*" if size > CARD else text


def write_page(rows: dict[str, dict[str, Any]]) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_MARKS[0])
    after = rest.partition(_MARKS[1])[2]
    text = f"{before}{_MARKS[0]}\n\n{table(rows)}\n\n{_MARKS[1]}{after}"
    PAGE.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backends", nargs="*", help="all that are trained, by default")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe")
    parser.add_argument("--write", action="store_true", help="into docs/memory.md as well")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.backends) - set(trained())):
        known = ", ".join(trained())
        parser.error(f"'{unknown[0]}' is no backend with a recipe that is trained here: {known}.")
    torch.set_num_threads(1)
    rows = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    for name in given.backends or trained():
        key = " ".join((name, *given.set))
        rows[key] = measured(name, overrides=given.set)
        print(table({key: rows[key]}).splitlines()[-1], flush=True)
        if given.write:
            text = json.dumps(dict(sorted(rows.items())), indent=1) + "\n"
            RECORD.write_text(text, encoding="utf-8")
    if given.write:
        write_page(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
