"""How much does each departure from the brief's procedure change mean Dice?

    python benchmarks/brief_repro.py --data FOLDER [--sam2-size N] [--draws N]

``FOLDER`` has ``images`` and ``masks`` with BCSS codes. The suite ``brief-repro`` is applied as
shipped, then with one thing changed at a time, to three models that need no weights:

- ``oracle``: the class inside the box, blurred, with smooth noise that differs by view, and pushed
  down within about 10 px of negative points. How strongly a real model reacts to those is not
  known: its rows on negatives are an example.
- ``box``: the backend ``floor_box_fill``, which fills the box.
- ``sam2``: SAM2.1 tiny with random weights: the real code, and outlines that mean nothing.

Prints a Markdown table. Two CPU cores: about four minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from benchbcss import registry
from benchbcss.contract import (
    IGNORE,
    Backend,
    Context,
    Postprocess,
    Prompt,
    Prompting,
    Task,
    Views,
)
from benchbcss.data.labels import LabelMap, label_map
from benchbcss.inference import prompts
from benchbcss.inference.brief import BRIEF
from benchbcss.inference.clip import Source
from benchbcss.inference.postprocess import grid, postprocess
from benchbcss.inference.predictor import Predictor
from benchbcss.inference.views import VIEWS, enlarge, squash, squash_labels, turn
from benchbcss.recipes import resolve
from benchbcss.runs.planning import clip_spec
from benchbcss.scoring import metrics, prompted_counts
from benchbcss.suites import Clip, Suite, load_suite
from benchbcss.weights import Weights

BLUR, NOISE_SCALE, NOISE, PUSH_REACH, PUSH = 6.0, 16, 1.2, 10.0, 3.0  # px of 1024, and logits
TYPICAL = 4093  # px, median width of a BCSS ROI (PROTOCOL, section 1)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One ROI: RGB uint8 [H, W, 3] and raw codes uint8 [H, W]."""

    name: str
    image: np.ndarray
    codes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Way:
    """How to measure. ``ignore``: codes outside the region are ignored rather than 'other';
    ``square``: everything on 1024 x 1024, the scoring too; ``component``: score against what was
    prompted, not the whole class; ``draw`` of random negatives; ``contour``: the prompted part has
    the largest contour area rather than the most pixels; ``ties`` of a vote are foreground;
    ``each`` view's mask is post-processed before the vote."""

    labels: LabelMap
    prompting: Prompting
    postprocess: Postprocess
    views: Views
    ignore: bool = False
    square: bool = False
    component: bool = False
    contour: bool = False
    draw: int | None = None
    ties: bool = False
    each: bool = False


class OtherVote(Predictor):
    """A vote in which ties are foreground, or one over masks that are post-processed before."""

    ties = each = False

    def _masks(
        self,
        encoded: dict[str, Any],
        hints: list[Prompt],
        prompting: Prompting,
        shape: tuple[int, int],
        process: Postprocess,
    ) -> dict[int, np.ndarray]:
        votes: dict[int, Any] = {}
        size = grid(process, shape)
        for view in VIEWS:
            for label, logits in self._by_class(encoded, hints, (view,)).items():
                mask = (enlarge(logits[None], size)[0] > 0).numpy()
                if self.each:
                    mask = postprocess(mask, process, shape)
                votes[label] = votes.get(label, 0) + mask.astype(int)
        least = 2 if self.ties else 3
        masks = {label: count >= least for label, count in votes.items()}
        if self.each:
            return masks
        return {label: postprocess(mask, process, shape) for label, mask in masks.items()}


class Oracle(Backend):
    """Knows the target of the ROI at hand; see the module's docstring."""

    validation = "prompted"

    def see(self, target: np.ndarray, size: int, seed: int) -> None:
        """The next ``encode`` calls are of this ROI, one per view in their order."""
        self.target = torch.from_numpy(squash_labels(target, (size, size)))
        self.seed, self.view = seed, 0

    def encode(self, model: Any, image: torch.Tensor) -> Any:
        view, self.view = VIEWS[self.view], self.view + 1
        return turn(self.target, view).numpy(), self.seed, VIEWS.index(view)

    def predict_prompted(self, model: Any, encoded: Any, hints: Sequence[Prompt]) -> torch.Tensor:
        target, seed, view = encoded
        return torch.stack(
            [
                torch.from_numpy(_outline(target, hint, (seed, hint.class_index, view)))
                for hint in hints
            ]
        )


def _outline(target: np.ndarray, hint: Prompt, seed: tuple[int, ...]) -> np.ndarray:
    """float32 [s, s]: logits for ``hint`` in ``target`` uint8 [s, s]."""
    size = len(target)
    unit = size / BRIEF.side
    assert hint.box is not None
    left, top, right, bottom = (round(edge) for edge in hint.box)
    inside = np.full(target.shape, -4.0, np.float32)
    window = slice(top, bottom), slice(left, right)
    inside[window] = np.where(target[window] == hint.class_index, 4.0, -4.0)
    logits = cv2.GaussianBlur(inside, (0, 0), BLUR * unit)
    coarse = np.random.default_rng(seed).standard_normal((BRIEF.side // NOISE_SCALE,) * 2)
    smooth = cv2.GaussianBlur(coarse.astype(np.float32), (0, 0), 1.0)
    logits += NOISE * cv2.resize(smooth / smooth.std(), target.shape, interpolation=cv2.INTER_CUBIC)
    rows, columns = np.ogrid[:size, :size]
    for (x, y), kind in zip(hint.points, hint.point_labels, strict=True):
        if kind == 0:
            far = ((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2) / (PUSH_REACH * unit) ** 2
            logits -= (PUSH * np.exp(-far / 2)).astype(np.float32)
    return logits


# -- measuring -------------------------------------------------------------------------------------


def samples(folder: Path) -> list[Sample]:
    """The ROIs of a folder with ``images`` and ``masks``."""
    return [
        Sample(
            path.stem,
            np.array(Image.open(folder / "images" / path.name).convert("RGB")),
            np.array(Image.open(path)),
        )
        for path in sorted((folder / "masks").glob("*.png"))
    ]


def predictor(name: str, labels: LabelMap, size: int) -> Predictor:
    """``oracle``, or a registered backend with random weights."""
    task = Task(labels.class_names, labels.mean_classes, 0.3, size)
    device = torch.device("cpu")
    pixels = [1] * len(labels.classes)
    clip = Source(clip_spec(Clip()), device)
    context = Context(0, device, Weights.parse("none"), False, pixels, clip=clip)
    torch.manual_seed(0)
    if name == "oracle":
        made: Backend = Oracle(task, {}, context)
        model: Any = torch.nn.Identity()
    else:
        registered = registry.load().backend(name)
        recipe = resolve(registered.info.recipe, "smoke", (f"view.size={size}",))
        made = registered.load()(task, recipe.model_dump(), context)
        model = made.build().eval()
    return Predictor(made, model, None, size, 0, size, device)


def _target(sample: Sample, way: Way) -> np.ndarray:
    target = way.labels.lookup[sample.codes].astype(np.uint8)
    if way.ignore:
        target[np.isin(sample.codes, label_map("bcss5").ignore)] = IGNORE
    return target


def _prompted(target: np.ndarray, way: Way) -> np.ndarray:
    """The target with, of each class, the part of the largest contour area alone."""
    kept = target.copy()
    for label in way.labels.mean_classes:
        mask = (target == label).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if not contours:
            continue
        x, y = max(contours, key=cv2.contourArea)[0, 0]
        _, parts = cv2.connectedComponents(mask, connectivity=8)
        kept[(mask > 0) & (parts != parts[y, x])] = IGNORE
    return kept


def _against_component(
    target: np.ndarray, found: dict[int, np.ndarray], labels: LabelMap
) -> np.ndarray:
    """int64 [class of the mean, 4]: each class's largest component against the rest."""
    other = next(i for i in range(len(labels.classes)) if i not in labels.mean_classes)
    rows = []
    for label in labels.mean_classes:
        kept = prompts.keep_largest(target == label)
        rows.append(
            prompted_counts(np.where(kept, label, other).astype(np.uint8), found, [label])[0]
        )
    return np.stack(rows)


def counts(rois: Sequence[Sample], worker: Predictor, way: Way) -> np.ndarray:
    """int64 [ROI, class of the mean, (TP FP FN TN)]."""
    rows = []
    worker.views = way.views
    if way.ties or way.each:
        fields = {f.name: getattr(worker, f.name) for f in dataclasses.fields(worker)}
        worker = OtherVote(**fields)
        worker.ties, worker.each = way.ties, way.each
    for number, sample in enumerate(rois):
        image, target = sample.image, _target(sample, way)
        if way.square:
            image = squash(image, BRIEF.side)
            target = squash_labels(target, (BRIEF.side, BRIEF.side))
        shown = _prompted(target, way) if way.contour else target
        if isinstance(worker.backend, Oracle):
            worker.backend.see(target, worker.prompt_size, number)
        name = sample.name if way.draw is None else f"{sample.name}|{way.draw}"
        found = worker.prompted(
            image,
            shown,
            [way.prompting],
            roi=name,
            process=way.postprocess,
        )[way.prompting.key]
        if way.component:
            rows.append(_against_component(target, found, way.labels))
        else:
            rows.append(prompted_counts(target, found, way.labels.mean_classes))
    return np.stack(rows)


def mean_dice(table: np.ndarray) -> float:
    """The suite's: over ROIs with the class, then over classes."""
    return float(metrics.per_roi_prompted(table).mean)


def mean_of_pairs(table: np.ndarray) -> float:
    """The authors': over all pairs of an ROI and a class present in it."""
    hit, false, missed = (table[..., k].astype(float) for k in range(3))
    present = hit + missed > 0
    return float((2 * hit[present] / (2 * hit + false + missed)[present]).mean())


@contextmanager
def distance(pixels: float) -> Iterator[None]:
    """Outer negatives at another distance from the box."""
    prompts.BRIEF = dataclasses.replace(BRIEF, outside=pixels)
    try:
        yield
    finally:
        prompts.BRIEF = BRIEF


def with_vessels() -> LabelMap:
    """``brief5`` with vessels read from their own code, 18, and code 5 in 'other'."""
    brief = label_map("brief5")
    swap = {5: 18, 18: 5}
    classes = tuple(
        (name, tuple(sorted(swap.get(code, code) for code in codes)))
        for name, codes in brief.classes
    )
    return dataclasses.replace(brief, classes=classes)


# -- the tables ------------------------------------------------------------------------------------

Variant = tuple[str, str, Callable[[Way], Way]]


def variants() -> list[Variant]:
    """(what is changed, 'one' or 'tta' view, how), from the suite as shipped."""

    def key(text: str) -> Callable[[Way], Way]:
        return lambda way: dataclasses.replace(
            way, prompting=dataclasses.replace(Prompting.parse(text), tta=way.prompting.tta)
        )

    def change(**values: Any) -> Callable[[Way], Way]:
        return lambda way: dataclasses.replace(way, **values)

    return [
        ("post-processing: none", "one", change(postprocess="none")),
        ("post-processing: largest component, unfilled", "one", change(postprocess="largest")),
        ("negatives 10 px outside the mask (`box_neg`)", "one", key("box_neg-largest")),
        ("no negatives (`box`)", "one", key("box-largest")),
        ("views: mean of logits", "tta", change(views="mean_logits")),
        ("views: a tie is foreground", "tta", change(ties=True)),
        ("views: post-processed before the vote", "tta", change(each=True)),
        ("prompt on the whole class", "one", key("box_neg_outer-class")),
        ("target: the prompted component alone", "one", change(component=True)),
        ("prompted part by contour area, not by pixels", "one", change(contour=True)),
        ("vessels from code 18, not 5", "one", change(labels=with_vessels())),
        ("codes 0, 7 and 15 ignored", "one", change(ignore=True)),
        ("prompts and scores on 1024 x 1024", "one", change(square=True)),
    ]


def measure(
    rois: Sequence[Sample], worker: Predictor, suite: Suite, draws: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Mean Dice as shipped (``one`` and ``tta`` views), then differences by what is changed; and
    ranges."""
    settings = suite.prompting
    first = Prompting.parse(settings.headline)
    base = Way(suite.labels(), first, settings.postprocess, settings.views)
    shipped = {
        "one": base,
        "tta": dataclasses.replace(base, prompting=dataclasses.replace(first, tta=True)),
    }
    tables = {views: counts(rois, worker, way) for views, way in shipped.items()}
    means = {views: mean_dice(table) for views, table in tables.items()}
    rows = {
        f"as shipped, {'four views' if v == 'tta' else 'one view'}": m for v, m in means.items()
    }
    for name, views, change in variants():
        rows[name] = mean_dice(counts(rois, worker, change(shipped[views]))) - means[views]
    with distance(BRIEF.outside * BRIEF.side / TYPICAL):
        rows["negatives 10 px of a typical ROI outside the box (2.5 px of 1024)"] = (
            mean_dice(counts(rois, worker, base)) - means["one"]
        )
    rows["mean over pairs of ROI and class"] = mean_of_pairs(tables["one"]) - means["one"]
    drawn = [
        mean_dice(counts(rois, worker, dataclasses.replace(base, draw=draw)))
        for draw in range(draws)
    ]
    ranges = {"other draws of the negatives": f"{min(drawn):.3f} to {max(drawn):.3f}"}
    return rows, ranges


def any_tissue(rois: Sequence[Sample], worker: Predictor, suite: Suite) -> tuple[float, float]:
    """Pooled any-tissue Dice: one prompt on all codes above 0, and the union of the classes'."""
    labels, prompting = suite.labels(), Prompting.parse(suite.prompting.headline)
    sums = np.zeros((2, 3), np.int64)
    for number, sample in enumerate(rois):
        target, tissue = labels.lookup[sample.codes].astype(np.uint8), sample.codes > 0
        if isinstance(worker.backend, Oracle):
            worker.backend.see(
                np.where(tissue, 0, IGNORE).astype(np.uint8), worker.prompt_size, number
            )
        _, one = worker.prompted_tissue(sample.image, target, tissue, prompting, roi=sample.name)
        if isinstance(worker.backend, Oracle):
            worker.backend.see(target, worker.prompt_size, number)
        masks = worker.prompted(sample.image, target, [prompting], roi=sample.name)[prompting.key]
        union = np.any([np.zeros_like(tissue), *masks.values()], axis=0)
        named = np.isin(target, labels.tissue_classes)
        for row, (found, true) in enumerate(((one, tissue), (union, named))):
            sums[row] += [np.count_nonzero(part) for part in (found & true, found, true)]
    one_prompt, per_class = 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2])
    return float(one_prompt), float(per_class)


def on_the_class(rois: Sequence[Sample], suite: Suite) -> tuple[int, int, int, int]:
    """Of the negatives of all ROIs and classes: how many lie on the class, how many there are; and
    of the pairs of ROI and class: in how many the contour of the largest area is not the component
    of the most pixels, how many there are."""
    labels, prompting = suite.labels(), Prompting.parse(suite.prompting.headline)
    way = Way(labels, prompting, "none", "vote")
    hit = points = other = pairs = 0
    for sample in rois:
        target = labels.lookup[sample.codes].astype(np.uint8)
        height, width = target.shape
        for hint in prompts.make_prompts(
            target, labels.mean_classes, BRIEF.side, prompting, sample.name
        ):
            for x, y in hint.points:
                row, column = int(y * height / BRIEF.side), int(x * width / BRIEF.side)
                hit += int(target[row, column] == hint.class_index)
                points += 1
        by_area = _prompted(target, way)
        for label in labels.mean_classes:
            if (target == label).any():
                same = prompts.keep_largest(target == label) == (by_area == label)
                other, pairs = other + int(not same.all()), pairs + 1
    return hit, points, other, pairs


def report(rois: Sequence[Sample], workers: dict[str, Predictor], suite: Suite, draws: int) -> str:
    """Both tables and the two counts in Markdown."""
    measured = {name: measure(rois, worker, suite, draws) for name, worker in workers.items()}
    names = list(measured)
    lines = [
        f"{len(rois)} ROIs. Mean Dice as shipped, then the difference that a change makes.",
        "",
        "| changed | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for row in measured[names[0]][0]:
        form = "{:.3f}" if row.startswith("as shipped") else "{:+.3f}"
        cells = [form.format(measured[name][0][row]) for name in names]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    for row in measured[names[0]][1]:
        cells = [measured[name][1][row] for name in names]
        lines.append(f"| {row} ({draws}) | " + " | ".join(cells) + " |")
    tissue = {name: any_tissue(rois, worker, suite) for name, worker in workers.items()}
    for index, row in enumerate(("any-tissue Dice, one prompt", "any-tissue Dice, per class")):
        cells = [f"{tissue[name][index]:.3f}" for name in names]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    hit, points, other, pairs = on_the_class(rois, suite)
    lines += [
        "",
        f"{hit} of {points} negatives lie on the class that is prompted.",
        f"In {other} of {pairs} pairs of ROI and class the contour of the largest area is not the "
        "component of the most pixels.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with images and masks")
    parser.add_argument("--size", type=int, default=512, help="square of oracle and box")
    parser.add_argument("--sam2-size", type=int, default=256, help="square of sam2; 0: without it")
    parser.add_argument("--draws", type=int, default=10, help="of the random negatives")
    options = parser.parse_args()
    suite, _ = load_suite(registry.load().suites["brief-repro"].load())
    labels = suite.labels()
    workers = {
        "oracle": predictor("oracle", labels, options.size),
        "box": predictor("floor_box_fill", labels, options.size),
    }
    if options.sam2_size:
        workers["sam2"] = predictor("sam_zeroshot", labels, options.sam2_size)
    rois = samples(options.data)
    if not rois:
        parser.error(f"there is no PNG in {options.data / 'masks'}")
    with torch.inference_mode():
        print(report(rois, workers, suite, options.draws))


if __name__ == "__main__":
    main()
