"""What share of a training's compute is validation, with and without the recipes' limit?

    python benchmarks/validation_share.py [--suite NAME] [--roi HEIGHTxWIDTH] [--write]

Counts forward passes of every full recipe on the shape of BCSS: the split 'brief', with ROIs of one
size. The default size is that of 35 tiles of 1024 px, about what an ROI of BCSS takes. Nothing is
trained. Prints a Markdown table; ``--write`` puts it into METHODOLOGY.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchbcss import registry
from benchbcss.contract import Prompting
from benchbcss.errors import BenchError
from benchbcss.recipes import Recipe, Validating, resolve
from benchbcss.suites import Suite, load_suite
from benchbcss.tracks import get
from benchbcss.training.schedule import plan
from benchbcss.training.validation import Schedule, schedule

METHODOLOGY = Path(__file__).resolve().parent.parent / "METHODOLOGY.md"
MARKERS = ("<!-- validation: begin (generated) -->", "<!-- validation: end -->")
TRAINING, VALIDATION = 85, 21  # ROIs of the split 'brief'
HEAD = (
    *("recipe", "epochs", "passes of training", "of validation without a limit", "share"),
    *("of validation", "share", "what is validated"),
)


@dataclass(frozen=True)
class Line:
    """A recipe's passes, under its limit and under none."""

    recipe: str
    epochs: int
    training: int
    before: Schedule
    after: Schedule

    @property
    def changed(self) -> bool:
        now, once = self.after, self.before
        return (now.rois, now.every) != (once.rois, once.every)

    def cells(self) -> list[str]:
        """All but the recipe's name."""
        counts = [_passes(self.before, self.training), _passes(self.after, self.training)]
        shares = [f"{100 * made.share:.0f} %" for made in (self.before, self.after)]
        which = self.after.sentence() if self.changed else "the same"
        numbers = [f"{self.epochs}", f"{self.training}"]
        return [*numbers, counts[0], shares[0], counts[1], shares[1], which]


def _passes(made: Schedule, training: int) -> str:
    return f"{round(training * made.share / (1 - made.share))}"


def lines(suite: Suite, shape: tuple[int, int]) -> Iterator[Line]:
    """Of every backend that the harness's loop trains."""
    for name, entry in sorted(registry.load().backends.items()):
        recipe = resolve(entry.info.recipe, "full")
        if recipe.train is None or not entry.info.trains:
            continue
        try:
            track = get(entry.load().validation)
        except BenchError as error:
            print(f"{name} is left out: {error}")
            continue
        squash = recipe.view.size if recipe.view.protocol == "squash" else None
        headline = Prompting.parse(suite.prompting.headline)
        cost = track.passes(shape, squash, suite.tile, recipe.view.tta, headline)
        yield line(name, recipe, suite, cost)


def line(name: str, recipe: Recipe, suite: Suite, cost: int) -> Line:
    """``cost``: passes of one validation ROI."""
    train = recipe.train
    assert train is not None
    planned = plan(train, suite.budget, TRAINING)
    passes = {f"{number:02}": cost for number in range(VALIDATION)}
    free = train.model_copy(update={"validation": Validating(share=1)})
    before, after = (schedule(how, planned, passes, sorted(passes)) for how in (free, train))
    samples = planned.steps * planned.batch_size * planned.accumulate
    training = after.spent(samples, 0, 0)["training"]
    return Line(name, planned.epochs, training, before, after)


def table(suite: Suite, shape: tuple[int, int]) -> str:
    """In Markdown; recipes that do the same share a line."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for made in lines(suite, shape):
        alike.setdefault(tuple(made.cells()), []).append(f"`{made.recipe}`")
    rows = [list(HEAD), *([", ".join(names), *cells] for cells, names in alike.items())]
    text = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([text[0], "|---" * len(HEAD) + "|", *text[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="bcss5")
    parser.add_argument("--roi", default="4000x5300", help="height and width in px")
    parser.add_argument("--write", action="store_true", help="write what was counted")
    options = parser.parse_args()
    try:
        height, width = (int(side) for side in options.roi.split("x"))
    except ValueError:
        parser.error(f"--roi {options.roi} is not HEIGHTxWIDTH, such as 4000x5300.")
    try:
        suite, _ = load_suite(registry.load().suites.find(options.suite).load(), "full")
    except BenchError as error:
        parser.error(str(error))
    text = table(suite, (height, width))
    print(text)
    if options.write:
        before, rest = METHODOLOGY.read_text(encoding="utf-8").split(MARKERS[0])
        after = rest.split(MARKERS[1])[1]
        page = f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}"
        METHODOLOGY.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
