"""From integer counts to the parts of a record that both tracks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchbcss.results import schema
from benchbcss.scoring import metrics as m
from benchbcss.scoring.influence import mean_of_classes, of_counts, over_classes
from benchbcss.scoring.institutes import institute_intervals
from benchbcss.scoring.intervals import intervals
from benchbcss.tracks.base import Frame


def finite(value: Any) -> float | None:
    """A float for a record: rounded to 12 digits, None where it is undefined."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), 12)


def bounds(values: Sequence[float] | None) -> tuple[float, float] | None:
    return None if values is None else (round(float(values[0]), 12), round(float(values[1]), 12))


def by_class(names: Sequence[str], values: Iterable[Any]) -> dict[str, float | None]:
    return {name: finite(value) for name, value in zip(names, values, strict=True)}


def whole(values: np.ndarray) -> Any:
    """Nested lists of int."""
    return np.asarray(values).astype(np.int64).tolist()


def estimand(
    triple: m.Triple, classes: Sequence[str], mean: Sequence[int], name: str
) -> schema.Estimand:
    """One estimand's headline over the classes in the mean, with intervals or reasons for none;
    these for the other classes too, which a criterion may ask for."""
    estimates = intervals(triple, mean, name, classes)
    named = list(zip(classes, estimates.classes, strict=True))
    return schema.Estimand(
        mean=finite(estimates.mean.point),
        defined=estimates.defined,
        of=estimates.of,
        mean_interval=bounds(estimates.mean.bounds),
        mean_effective_rois=finite(estimates.mean.effective_rois),
        mean_reason=estimates.mean.reason,
        dice={classes[c]: finite(estimates.classes[c].point) for c in mean},
        intervals={label: bounds(part.bounds) for label, part in named},
        effective_rois={label: round(part.effective_rois, 12) for label, part in named},
        reasons={label: part.reason for label, part in named if part.reason},
    )


def common(
    frame: Frame,
    classes: Sequence[str],
    mean: Sequence[int],
    triple: m.Triple,
    estimands: Sequence[str],
) -> dict[str, Any]:
    """Fields of a ``TrackResult`` that follow from hit, true and predicted pixels alone."""
    headline: dict[str, schema.Estimand] = {}
    for name in estimands:
        wider = institute_intervals(triple, frame.sites, mean, name).mean
        update = {"mean_interval_institutes": bounds(wider.bounds)}
        headline[name] = estimand(triple, classes, mean, name).model_copy(
            update={**update, "institutes_reason": wider.reason}
        )
    present = (triple.true > 0).sum(0)
    return {
        "classes": [classes[c] for c in mean],
        "all_classes": list(classes),
        "rois": len(frame.rois),
        "headline": schema.Headline(**headline),
        "rois_with_class": {name: int(n) for name, n in zip(classes, present, strict=True)},
        "by_roi": _by_roi(frame, triple, mean),
        "conventions": _conventions(classes, mean, triple),
        "spread": _spread(frame, classes, mean, triple),
    }


def _by_roi(frame: Frame, triple: m.Triple, mean: Sequence[int]) -> schema.ByRoi:
    one = of_counts(triple, "per_roi")
    whole_mean = mean_of_classes(one, mean)
    added = one.residual + one.share * np.nan_to_num(one.point)
    contribution = over_classes(added, one.rois, mean)[:, 0]
    return schema.ByRoi(
        roi=list(frame.rois),
        contribution=[round(float(value), 12) for value in contribution],
        influence=[finite(value) for value in whole_mean.psi[:, 0]],
        share=[round(float(value), 12) for value in whole_mean.share[:, 0]],
    )


def _conventions(
    classes: Sequence[str], mean: Sequence[int], triple: m.Triple
) -> dict[str, schema.Convention]:
    return {
        name: schema.Convention(
            dice=None if part["dice"] is None else by_class(classes, part["dice"]),
            mean=finite(part["mean"]),
        )
        for name, part in m.convention_table(triple, mean).items()
    }


def _spread(
    frame: Frame, classes: Sequence[str], mean: Sequence[int], triple: m.Triple
) -> schema.Spread:
    table = m.spread(triple, mean, frame.rois, frame.sites)
    return schema.Spread(
        classes={
            name: _distribution(part) for name, part in zip(classes, table["classes"], strict=True)
        },
        roi_mean=_distribution(table["roi_mean"]),
        worst=[
            schema.RoiScore(roi=row["roi"], mean_dice=round(row["mean_dice"], 12))
            for row in table["worst"]
        ],
        institutes={
            site: schema.Site(rois=part["rois"], mean_dice=round(part["mean_dice"], 12))
            for site, part in table["institutes"].items()
        },
    )


def _distribution(part: dict[str, Any]) -> schema.Distribution:
    quartiles = part["quartiles"]
    return schema.Distribution(
        rois=part["rois"],
        mean=finite(part["mean"]),
        sd=finite(part["sd"]),
        quartiles=None if quartiles is None else tuple(finite(q) for q in quartiles),
    )


def mean_dice(score: m.Score, classes: Sequence[str], mean: Sequence[int]) -> schema.MeanDice:
    return schema.MeanDice(
        mean=finite(score.mean), dice={classes[c]: finite(score.dice[c]) for c in mean}
    )
