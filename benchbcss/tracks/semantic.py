"""Image in, label map out: nothing derived from ground truth is within reach of ``predict``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss.contract import Prompting
from benchbcss.contract import Track as TrackName
from benchbcss.tracks.base import Column, Facts, Frame, Track, Validation, number

if TYPE_CHECKING:
    import numpy as np

    from benchbcss.data.dataset import Roi
    from benchbcss.data.labels import LabelMap
    from benchbcss.inference.predictor import Predictor
    from benchbcss.results.schema import TrackResult
    from benchbcss.scoring.components import Objects
    from benchbcss.scoring.metrics import Triple
    from benchbcss.suites import Tile


_SIDES = ("truth", "predicted")


@dataclass(frozen=True)
class SemanticCounts:
    """Integers that the semantic result follows from, ROIs in the frame's order.

    ``pairs`` int64 [ROI, K + 1, K]: pixels by true (last row: ignored) and predicted label;
    ``off_border`` int64 [ROI, K, K]: the same without the band around class borders; ``surface``
    int64 [ROI, C, 4] of the classes in the mean; ``objects``: truth's and prediction's components.
    Where a prediction gives any pixel no class, ``pairs`` and ``off_border`` have one more column.
    """

    pairs: np.ndarray
    off_border: np.ndarray
    surface: np.ndarray
    objects: list[tuple[Objects, Objects]]

    def triple(self) -> Triple:
        """Hit, true and predicted pixels of all K classes, ignored pixels left out."""
        from benchbcss.scoring.metrics import Triple

        return Triple.of_confusion(self.pairs[:, :-1])


class Semantic(Track[SemanticCounts]):
    name: TrackName = "semantic"
    estimands = ("per_roi", "pooled")
    caveat = (
        "tissue Dice is misleading: it scores any tissue against background; skill is what it adds "
        "over painting tissue everywhere; region acc. is the share of true regions mostly given "
        "their own label"
    )

    def predict(
        self, predictor: Predictor, roi: Roi, frame: Frame
    ) -> Iterator[tuple[str, np.ndarray]]:
        yield "", predictor.semantic(roi.image(), roi=roi.name)

    def answer(self, predictor: Predictor, image: np.ndarray, target: np.ndarray) -> np.ndarray:
        return predictor.semantic(image)

    def picture(self, array: np.ndarray) -> bytes:
        """With a palette, so that a viewer shows classes rather than black."""
        from benchbcss.tracks import pictures

        return pictures.label_map(array)

    def passes(
        self,
        shape: tuple[int, int],
        squash: int | None,
        tile: Tile,
        tta: bool,
        prompting: Prompting,
    ) -> int:
        from benchbcss.inference.tiling import starts
        from benchbcss.inference.views import VIEWS

        views = len(VIEWS) if tta else 1
        if squash:
            return views
        down, over = (len(starts(length, tile.size, tile.overlap)) for length in shape)
        return views * down * over

    def count(
        self, predictor: Predictor, roi: Roi, labels: LabelMap, prompting: Prompting
    ) -> dict[str, np.ndarray]:
        from benchbcss.scoring import pair_counts

        prediction = predictor.semantic(roi.image(), roi=roi.name)
        classes = len(labels.classes)
        return {"pairs": pair_counts(roi.target(labels), prediction, classes, predictor.abstains)}

    def validation(
        self, counts: Sequence[Mapping[str, np.ndarray]], labels: LabelMap
    ) -> Validation:
        import numpy as np

        from benchbcss.scoring import metrics

        pairs = np.stack([part["pairs"] for part in counts])
        named, total = list(labels.tissue_classes), pairs.sum(0)
        hit, true, predicted = (
            int(part.sum()) for part in (total[named][:, named], total[named], total[:, named])
        )
        return validation_of(
            metrics.per_roi(pairs[:, :-1], labels.mean_classes),
            labels.class_names,
            hit,
            true,
            predicted,
        )

    def floor(
        self, rois: Sequence[Roi], labels: LabelMap, class_pixels: Sequence[int]
    ) -> tuple[float | None, str]:
        """Painting the training majority everywhere."""
        import numpy as np

        from benchbcss.scoring import metrics

        counts = np.zeros((len(rois),) + 2 * (len(labels.classes),), np.int64)
        for index, roi in enumerate(rois):
            counts[index, :, int(np.argmax(class_pixels))] = roi.class_pixels(labels)
        score = metrics.per_roi(counts, labels.mean_classes)
        return _defined(score.mean), "the majority floor"

    # -- scoring -----------------------------------------------------------------------------------

    def files(self, frame: Frame, roi: str, run_dir: Path) -> list[Path]:
        return [self.folder(run_dir) / roi]

    def gather(self, frame: Frame, parts: Sequence[Mapping[str, np.ndarray]]) -> SemanticCounts:
        import numpy as np

        pairs, off_border, surface = (
            np.stack([part[name] for part in parts]) for name in ("pairs", "off_border", "surface")
        )
        if frame.abstaining and not pairs[..., -1].any():
            pairs, off_border = pairs[..., :-1], off_border[..., :-1]
        return SemanticCounts(pairs, off_border, surface, [_objects_of(part) for part in parts])

    def measure(self, frame: Frame, roi: Roi, run_dir: Path) -> dict[str, np.ndarray]:
        from benchbcss.errors import DataError
        from benchbcss.scoring import pair_counts
        from benchbcss.scoring.boundary import TOLERANCE_UM, surface_counts, without_border
        from benchbcss.scoring.components import match_objects
        from benchbcss.tracks import pictures

        labels, mpp, (path,) = frame.labels, frame.suite.mpp, self.files(frame, roi.name, run_dir)
        prediction = pictures.read(path, roi.shape)
        target, classes, mean = roi.target(labels), len(labels.classes), labels.mean_classes
        tolerance = TOLERANCE_UM / mpp
        inner = without_border(target, tolerance)
        try:
            pairs = pair_counts(target, prediction, classes, frame.abstaining)
            off_border = pair_counts(inner, prediction, classes, frame.abstaining)[:-1]
            surface = surface_counts(target, prediction, mean, tolerance)
            objects = match_objects(target, prediction, mean, mpp)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        columns = {
            f"{side}_{name}": values
            for side, part in zip(_SIDES, objects, strict=True)
            for name, values in vars(part).items()
        }
        return {"pairs": pairs, "off_border": off_border, "surface": surface, **columns}

    def write(self, counts: SemanticCounts, frame: Frame, run_dir: Path) -> None:
        from benchbcss.tracks import semantic_tables

        semantic_tables.write(counts, frame, run_dir)

    def read(self, frame: Frame, run_dir: Path) -> SemanticCounts:
        from benchbcss.tracks import semantic_tables

        return semantic_tables.read(frame, run_dir)

    def tables(
        self, counts: SemanticCounts, frame: Frame
    ) -> tuple[Sequence[str], dict[str, np.ndarray]]:
        from benchbcss.scoring.per_class import one_against_rest

        known = counts.pairs[:, :-1]
        return frame.labels.class_names, {self.name: known, "both": one_against_rest(known)}

    def triple(self, run_dir: Path, scores: TrackResult) -> tuple[tuple[str, ...], Triple]:
        from benchbcss.tracks import semantic_tables

        return semantic_tables.triple(run_dir, scores.classes)

    def result(
        self, counts: SemanticCounts, frame: Frame, run_dir: Path, facts: Facts
    ) -> TrackResult:
        from benchbcss.results import schema
        from benchbcss.scoring import metrics as m
        from benchbcss.tracks import estimates as e

        labels, mean = frame.labels, frame.labels.mean_classes
        names, known = labels.class_names, counts.pairs[:, :-1]
        triple = counts.triple()
        pooled = m.pooled_of(triple, mean).mean
        tissue = m.tissue_dice(counts.pairs, labels.tissue_classes, pooled)
        confusion = m.confusion_table(known, names)
        regions = m.region_accuracy(known, mean)
        return schema.TrackResult(
            **e.common(frame, names, mean, triple, self.estimands),
            view=facts.view,
            tissue=schema.Tissue(
                **{key: e.finite(tissue[key]) for key in ("dice", "painter", "skill")},
                warning=tissue["warning"],
            ),
            confusion=schema.Confusion(
                names=confusion["names"],
                counts=e.whole(confusion["counts"]),
                by_truth=[[e.finite(v) for v in row] for row in confusion["by_truth"]],
                by_prediction=[[e.finite(v) for v in row] for row in confusion["by_prediction"]],
                most_confused=confusion["most_confused"],
            ),
            region_accuracy=schema.RegionAccuracy(
                accuracy=e.finite(regions["accuracy"]), regions=regions["regions"]
            ),
            objects=self._objects(counts, frame),
            boundary=self._boundary(counts, frame),
            without_border=self._without_border(counts, frame),
        )

    def _objects(self, counts: SemanticCounts, frame: Frame) -> Any:
        from benchbcss.results import schema
        from benchbcss.scoring.components import summarise

        labels = frame.labels
        known = [int(part.sum()) for part in counts.pairs[:, :-1]]
        present = counts.pairs[:, :-1].sum(2) > 0
        return {
            name: schema.ObjectScores.model_validate(
                _rounded(
                    summarise(counts.objects, known, present[:, label], label, frame.suite.mpp)
                )
            )
            for name, label in zip(labels.mean, labels.mean_classes, strict=True)
        }

    def _boundary(self, counts: SemanticCounts, frame: Frame) -> Any:
        import numpy as np

        from benchbcss.results import schema
        from benchbcss.scoring import metrics as m
        from benchbcss.scoring.boundary import TOLERANCE_UM
        from benchbcss.tracks import estimates as e

        surface = counts.surface.sum(0)
        near = m.ratio(surface[:, 1] + surface[:, 3], surface[:, 0] + surface[:, 2])
        near = np.where(surface[:, 0] > 0, near, np.nan)  # absent from truth: undefined
        return schema.Boundary(
            tolerance_um=TOLERANCE_UM,
            surface_dice=e.by_class(frame.labels.mean, near),
            mean=e.finite(m.nanmean(near)),
            counts=dict(zip(frame.labels.mean, e.whole(surface), strict=True)),
        )

    def _without_border(self, counts: SemanticCounts, frame: Frame) -> Any:
        from benchbcss.results import schema
        from benchbcss.scoring import metrics as m
        from benchbcss.scoring.boundary import TOLERANCE_UM
        from benchbcss.tracks import estimates as e

        inner = m.Triple.of_confusion(counts.off_border)
        names, mean = frame.labels.class_names, frame.labels.mean_classes
        return schema.WithoutBorder(
            band_um=TOLERANCE_UM,
            per_roi=e.mean_dice(m.per_roi_of(inner, mean), names, mean),
            pooled=e.mean_dice(m.pooled_of(inner, mean), names, mean),
        )

    # -- on a board --------------------------------------------------------------------------------

    def columns(self, results: Sequence[TrackResult]) -> list[Column]:
        classes = results[0].classes if results else []
        return [
            Column("mean (pooled)", lambda r: mean_cell(r.headline.pooled)),
            *(class_column(name) for name in classes),
            Column("tissue Dice", _tissue_cell),
            Column("region acc.", _regions_cell),
        ]


def _objects_of(part: Mapping[str, np.ndarray]) -> tuple[Objects, Objects]:
    """Truth's and prediction's, from the arrays of one ROI."""
    from benchbcss.scoring.components import Objects

    names = [field.name for field in fields(Objects)]
    truth, predicted = (Objects(*(part[f"{side}_{name}"] for name in names)) for side in _SIDES)
    return truth, predicted


def mean_cell(part: Any) -> str:
    """A mean, and over how many classes where some have no ground truth."""
    if part is None:
        return "-"
    lost = f" ({part.defined} of {part.of})" if part.defined < part.of else ""
    return number(part.mean) + lost


def class_column(name: str) -> Column:
    return Column(name, lambda r: number(r.headline.per_roi.dice.get(name)))


def _tissue_cell(result: TrackResult) -> str:
    tissue = result.tissue
    if tissue is None:
        return "- (skill -)"
    return f"{number(tissue.dice)} (skill {number(tissue.skill, 2)})"


def _regions_cell(result: TrackResult) -> str:
    regions = result.region_accuracy
    return number(None if regions is None else regions.accuracy, 2)


def validation_of(
    score: Any, names: Sequence[str], hit: int, true: int, predicted: int
) -> Validation:
    dice = {name: _defined(value) for name, value in zip(names, score.dice, strict=True)}
    return Validation(_defined(score.mean), dice, 2 * hit / (true + predicted) if true else None)


def _defined(value: float) -> float | None:
    return float(value) if value == value else None  # NaN is not equal to itself


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return round(value, 12) if isinstance(value, float) else value
