"""Do the intervals reach nominal coverage? Measured by simulation.

    python benchmarks/interval_coverage.py [--seed N] [--simulations N] [--only TEXT] [--write]

For each shape in ``interval_coverage.yaml`` data sets are drawn, scored by the functions that score
real runs, and compared with the true value (the same distribution, two million ROIs). Prints
Markdown tables; ``--write`` puts them into METHODOLOGY.md. One core, a few minutes.

``--seed N`` draws other data sets than those of the tables (seed 0), on which thresholds were
chosen: the hold-out check. Prints the tables and, as ``--write`` puts it into METHODOLOGY.md, the
range of coverage.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.special import betaincinv, ndtr

from benchbcss.scoring import compare, institutes, intervals
from benchbcss.scoring.influence import (
    ESTIMANDS,
    Influence,
    mean_of_classes,
    of_counts,
    of_ratio,
    over_classes,
    over_seeds,
    parts_of,
)
from benchbcss.scoring.limits import LIMITS
from benchbcss.scoring.metrics import Triple

HERE = Path(__file__).resolve().parent
METHODOLOGY = HERE.parent / "METHODOLOGY.md"
MARKERS = ("<!-- interval coverage: begin (generated) -->", "<!-- interval coverage: end -->")
HELD_OUT = (
    "<!-- interval coverage, hold-out: begin (generated) -->",
    "<!-- interval coverage, hold-out: end -->",
)
SIMULATIONS = 4000
TRUTH_ROIS = 2_000_000
BATCH = 500  # simulations at a time
NOMINAL = (0.93, 0.97)
FEWEST = 400  # intervals; a coverage of 95 % then has a standard error of 1.1 points
AREAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # log area of a standard normal z
    "lognormal": lambda z: z,
    "uniform": lambda z: np.log(ndtr(z)),
    "pareto": lambda z: -np.log(ndtr(-z)),
}
Shape = dict[str, Any]
Row = list[str]


# -- data sets -----------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _quantiles(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    grid = np.linspace(-5, 5, 401)
    return grid, betaincinv(a, b, ndtr(grid))


def _mixed(rng: np.random.Generator, size: tuple[int, ...], correlation: float) -> np.ndarray:
    """Standard normal [sims, ROI, C], correlated between the classes of an ROI."""
    common = rng.standard_normal((*size[:2], 1))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal(size)


def draw(
    shape: Shape, rng: np.random.Generator, sims: int, shift: np.ndarray | float = 0.0
) -> list[Triple]:
    """Counts [sims, ROI, C] per seed or backend; ``shift`` [sims, ROI, 1] is added to recall."""
    size = (sims, shape["rois"], len(shape["presence"]))
    present = rng.random(size) < np.array(shape["presence"])
    z_area = rng.standard_normal(size)
    area = np.exp(10 + shape["sigma"] * AREAS[shape["areas"]](z_area))
    area[:, 0] *= shape.get("giant", 1)
    effect = shape["size_effect"]
    difficulty = _mixed(rng, size, shape.get("correlation", 0.0))
    z = np.sqrt(1 - effect**2) * difficulty + effect * z_area
    missed = rng.random(size) >= shape.get("found", 1.0)
    perfect = rng.random(size) < shape.get("perfect", 0.0)
    extra = rng.uniform(0, 0.5, size)
    ghost = ~present & (rng.random(size) < 0.3)  # painted where the class is not
    true = np.where(present, np.maximum(1, np.round(area)), 0)
    grid, quantiles = _quantiles(*shape["recall"])
    triples = []
    gains = shape.get("gain", [0.0] * size[2])
    runs = [(offset, 0.0) for offset in shape.get("seeds", [0.0])]
    if "noise" in shape:
        runs = [(0.0, np.array(gains)), (0.0, 0.0)]
    for offset, gain in runs:
        noise = shape.get("noise", 0.3 if "seeds" in shape else 0.0)
        own = (z + noise * rng.standard_normal(size)) / np.sqrt(1 + noise**2) if noise else z
        recall = np.clip(np.interp(own + offset, grid, quantiles) + gain + shift, 0, 1)
        recall = np.where(perfect, 1.0, np.where(missed, 0.0, recall))
        hit = np.round(true * recall)
        spare = np.where(ghost, 0.05 * area, np.where(perfect, 0.0, extra * true))
        triples.append(Triple(*(v.astype(np.int64) for v in (hit, true, hit + np.round(spare)))))
    return triples


def _batches(
    shape: Shape, count: int, salt: int, seed: int = 0
) -> list[tuple[np.random.Generator, int]]:
    """Generators, one per batch, that depend on the shape's name and ROIs and on ``seed``."""
    rois = shape.get("rois") or sum(shape["sizes"])
    key = zlib.crc32(f"{shape['name']} {rois}".encode())
    count *= shape.get("times", 1)
    sizes = [min(BATCH, count - begin) for begin in range(0, count, BATCH)]
    more = [seed] if seed else []
    return [(np.random.default_rng([salt, key, i, *more]), size) for i, size in enumerate(sizes)]


def truths(
    shape: Shape, drawn: Callable[[Shape, np.random.Generator, int], Sequence[Triple]]
) -> dict[str, np.ndarray]:
    """Per estimand, float64 [run, C] of the population."""
    rois = shape.get("rois") or sum(shape["sizes"])
    sums: dict[str, list[Any]] = {name: [0.0, 0.0] for name in ESTIMANDS}
    for rng, size in _batches(shape, TRUTH_ROIS // rois, salt=1):
        runs = drawn(shape, rng, size)
        for name in ESTIMANDS:
            parts = [parts_of(run, name) for run in runs]
            sums[name][0] += np.stack([top.sum((0, 1)) for top, _, _ in parts])
            sums[name][1] += np.stack([bottom.sum((0, 1)) for _, bottom, _ in parts])
    return {name: top / bottom for name, (top, bottom) in sums.items()}


# -- what is counted -----------------------------------------------------------------------------


class Tally:
    """Counts over simulations of one shape."""

    def __init__(self) -> None:
        self.given: list[np.ndarray] = []
        self.covered: list[np.ndarray] = []
        self.bare: list[np.ndarray] = []
        self.effective: list[np.ndarray] = []
        self.rejected: list[np.ndarray] = []

    def add(self, low: np.ndarray, high: np.ndarray, truth: float, effective: np.ndarray) -> None:
        self.given.append(np.isfinite(low))
        self.covered.append((low <= truth) & (truth <= high))
        self.effective.append(effective)

    def cells(self) -> Row:
        given, covered = np.concatenate(self.given), np.concatenate(self.covered)
        share = float(covered[given].mean()) if given.any() else float("nan")
        enough = given.sum() >= min(FEWEST, len(given) / 4)
        outside = enough and not NOMINAL[0] <= share <= NOMINAL[1]
        return [
            f"{np.median(np.concatenate(self.effective)):.1f}",
            f"{100 * given.mean():.1f}",
            (f"**{100 * share:.1f}**" if outside else f"{100 * share:.1f}") if enough else "-",
        ]

    def without_rules(self) -> str:
        bare = np.concatenate(self.bare)
        known = bare >= 0
        return f"{100 * bare[known].mean():.1f}" if known.any() else "-"

    def rejections(self) -> str:
        rejected = np.concatenate(self.rejected)
        return f"{100 * np.nanmean(rejected):.1f}" if np.isfinite(rejected).any() else "-"


def _bare(influence: Influence, truth: float) -> np.ndarray:
    """1 or 0 where the construction without the added rules covers the truth, -1 where none is."""
    point, effective = influence.point[..., 0], influence.effective_rois[..., 0]
    variance = influence.variance[..., 0]
    known = np.isfinite(variance) & (effective >= 2) & (influence.rois[..., 0] > 1)
    low, high = intervals.logit_t(point, np.sqrt(np.where(known, variance, 0)), effective - 1)
    reach = LIMITS.rule_of_three / np.maximum(effective, 1)
    low = np.where(point == 0, 0, np.where(point == 1, 1 - reach, low))
    high = np.where(point == 1, 1, np.where(point == 0, reach, high))
    return np.where(known, (low <= truth) & (truth <= high), -1)


def interval_rows(shape: Shape, simulations: int, seed: int = 0) -> list[Row]:
    """Coverage of a class, or of the mean over classes where the shape has several."""
    true = truths(shape, draw)
    tallies = {name: Tally() for name in ESTIMANDS}
    classes = range(len(shape["presence"]))
    for rng, size in _batches(shape, simulations, salt=2, seed=seed):
        runs = draw(shape, rng, size)
        for name, tally in tallies.items():
            influence = over_seeds([of_counts(run, name) for run in runs])
            off_edge, fewest = None, {}
            whole = np.ones(size, bool)
            if len(classes) == 1 and name == "pooled":
                off_edge = intervals.off_the_edge(runs)
            elif len(classes) > 1:
                whole = (influence.rois > 0).all(-1)  # another mean where a class is missing
                influence = mean_of_classes(influence, classes)
                fewest = intervals.fewest_of_a_mean(name)
            bounds = intervals.bounds_of(influence, off_edge, **fewest)
            truth = float(true[name].mean())
            low, high = bounds.low[whole, 0], bounds.high[whole, 0]
            tally.add(low, high, truth, influence.effective_rois[whole, 0])
            tally.bare.append(_bare(influence, truth)[whole])
    return [
        [shape["name"], str(shape["rois"]), name, *tally.cells(), tally.without_rules()]
        for name, tally in tallies.items()
    ]


def accuracy_rows(shape: Shape, simulations: int, seed: int = 0) -> list[Row]:
    """Coverage of region accuracy."""

    def regions(rng: np.random.Generator, sims: int) -> tuple[np.ndarray, np.ndarray]:
        size = (sims, shape["rois"], len(shape["presence"]))
        present = rng.random(size) < np.array(shape["presence"])
        right = present & (_mixed(rng, size, shape["correlation"]) < shape["base"])
        return right.sum(2), present.sum(2)

    truth, tally = float(ndtr(shape["base"])), Tally()
    for rng, size in _batches(shape, simulations, salt=2, seed=seed):
        right, total = regions(rng, size)
        influence = of_ratio(right[..., None], total[..., None])
        fewest = LIMITS.fewest_effective_rois_of_an_accuracy
        bounds = intervals.bounds_of(influence, fewest=fewest)
        effective = influence.effective_rois[:, 0]
        tally.add(bounds.low[:, 0], bounds.high[:, 0], truth, effective)
        tally.bare.append(_bare(influence, truth))
    cells = [*tally.cells(), tally.without_rules()]
    return [[shape["name"], str(shape["rois"]), "accuracy", *cells]]


def institute_rows(shape: Shape, simulations: int, seed: int = 0) -> list[Row]:
    """Coverage when institutes are what varies."""
    sizes = shape["sizes"]
    groups = np.repeat(np.eye(len(sizes), dtype=bool), sizes, axis=1)
    shape = {**shape, "rois": sum(sizes)}

    def shifted(shape: Shape, rng: np.random.Generator, sims: int) -> list[Triple]:
        shift = shape["sd"] * rng.standard_normal((sims, len(sizes))) @ groups
        return draw(shape, rng, sims, shift[..., None])

    true = truths(shape, shifted)
    classes = range(len(shape["presence"]))
    tallies = {name: Tally() for name in ESTIMANDS}
    for rng, size in _batches(shape, simulations, salt=2, seed=seed):
        (run,) = shifted(shape, rng, size)
        for name, tally in tallies.items():
            rois = (run.true > 0).sum(-2)
            whole = (rois > 0).all(-1)  # another mean where a class is missing
            scores = institutes.left_out(run, groups, name).mean(rois, classes)
            bounds = institutes.institute_bounds(scores)
            low, high = bounds.low[whole, 0], bounds.high[whole, 0]
            tally.add(low, high, float(true[name].mean()), scores.effective[whole, 0])
    return [[shape["name"], str(sum(sizes)), name, *t.cells()] for name, t in tallies.items()]


def compare_rows(shape: Shape, simulations: int, seed: int = 0) -> list[Row]:
    """Coverage of a difference, and how often it is called one."""
    true = truths(shape, draw)
    tallies = {name: Tally() for name in ESTIMANDS}
    classes = range(len(shape["presence"]))
    for rng, size in _batches(shape, simulations, salt=2, seed=seed):
        runs = draw(shape, rng, size)
        for name, tally in tallies.items():
            by_class = [of_counts(run, name) for run in runs]
            whole = (by_class[0].rois > 0).all(-1)
            a, b = (mean_of_classes(one, classes) for one in by_class)
            low, high, p, code = (v[:, 0] for v in compare.t_differences(a, b))
            parts, weights = (
                over_classes(values, by_class[0].rois, classes)
                for values in compare.contributions(*by_class)
            )
            if shape["rois"] <= LIMITS.exact_up_to_rois:
                by_roi = (np.moveaxis(v[..., 0], 0, 1) for v in (parts, weights))
                low, high, p = compare.sign_flips(*by_roi)
                code = np.where(code <= 2, code, 0)
            given = (code == 0) & np.isfinite(low)
            low, high = np.where(given, low, np.nan), np.where(given, high, np.nan)
            truth = float((true[name][0] - true[name][1]).mean())
            tally.add(low[whole], high[whole], truth, 1 / (weights[whole, :, 0] ** 2).sum(1))
            tally.rejected.append(np.where(code == 0, p < compare.ALPHA, np.nan)[whole])
    return [
        [shape["name"], str(shape["rois"]), name, *tally.cells(), tally.rejections()]
        for name, tally in tallies.items()
    ]


# -- tables --------------------------------------------------------------------------------------

TABLES: dict[str, tuple[str, Callable[[Shape, int, int], list[Row]], list[str]]] = {
    "intervals": ("Intervals", interval_rows, ["without rules, %"]),
    "accuracy": ("Region accuracy", accuracy_rows, ["without rules, %"]),
    "institutes": ("Intervals over institutes", institute_rows, []),
    "compare": ("Differences of two backends", compare_rows, ["called different, %"]),
}
COLUMNS = ["shape", "ROIs", "estimand", "effective", "given, %", "coverage, %"]


def shapes(section: str) -> list[Shape]:
    """The shapes of a section of the YAML file, with the defaults filled in."""
    content = yaml.safe_load((HERE / "interval_coverage.yaml").read_text(encoding="utf-8"))
    return [{**content["defaults"], **shape} for shape in content[section]]


def measure(section: str, shape: Shape, simulations: int = SIMULATIONS, seed: int = 0) -> list[Row]:
    """The rows of one shape: cells as they stand in the table."""
    return TABLES[section][1](shape, simulations, seed)


def all_rows(simulations: int, only: str = "", seed: int = 0) -> dict[str, list[Row]]:
    """The rows of each section, of shapes whose name holds ``only``; sections without any are
    left out."""
    rows = {
        section: [
            row
            for shape in shapes(section)
            if only in shape["name"]
            for row in measure(section, shape, simulations, seed)
        ]
        for section in TABLES
    }
    return {section: some for section, some in rows.items() if some}


def tables(rows: dict[str, list[Row]], simulations: int, seed: int = 0) -> str:
    """All tables in Markdown."""
    seeded = "its name" if seed == 0 else f"its name and {seed}"
    lines = [
        f"{simulations} simulations of each shape, more where intervals are rarely given, seeded "
        f"by {seeded}. No coverage is shown of fewer than {FEWEST} intervals.",
        "",
    ]
    for section, some in rows.items():
        title, _, more = TABLES[section]
        lines += [f"**{title}**", "", "| " + " | ".join([*COLUMNS, *more]) + " |"]
        lines.append("|---" * (len(COLUMNS) + len(more)) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in some]
        lines.append("")
    return "\n".join(lines)


def range_of(rows: dict[str, list[Row]], simulations: int, seed: int) -> str:
    """One sentence: the range of coverage per section, and what lies outside 93 to 97 %."""
    parts, outside, total = [], 0, 0
    for section, some in rows.items():
        cells = [row[5] for row in some if row[5] != "-"]
        if not cells:
            continue
        values = [float(cell.strip("*")) for cell in cells]
        outside += sum(cell.startswith("**") for cell in cells)
        total += len(cells)
        title = TABLES[section][0]
        parts.append(f"{title[0].lower()}{title[1:]} {min(values):.1f} to {max(values):.1f} %")
    return (
        f"On fresh data sets (`--seed {seed}`, {simulations} of each shape) coverage is: "
        f"{'; '.join(parts)}. {outside} of {total} rows lie outside 93 to 97 %."
    )


def _replace(markers: tuple[str, str], text: str) -> None:
    """Put ``text`` between the markers in METHODOLOGY.md."""
    before, rest = METHODOLOGY.read_text(encoding="utf-8").split(markers[0])
    after = rest.split(markers[1])[1]
    METHODOLOGY.write_text(f"{before}{markers[0]}\n{text}\n{markers[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--seed", type=int, default=0, help="0: the tables; others: hold-out")
    parser.add_argument("--only", default="", help="shapes whose name holds this text")
    parser.add_argument("--write", action="store_true", help="write what was measured")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs all shapes: leave out --only")
    if options.seed < 0:
        parser.error("--seed must be 0 or more")
    rows = all_rows(options.simulations, options.only, options.seed)
    text = tables(rows, options.simulations, options.seed)
    line = range_of(rows, options.simulations, options.seed)
    print(text)
    print(line)
    if options.write:
        _replace(*((HELD_OUT, line) if options.seed else (MARKERS, text)))


if __name__ == "__main__":
    main()
