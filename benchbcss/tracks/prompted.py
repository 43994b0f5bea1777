"""SAM-style: hints are made from ground truth, so this is an oracle for outlines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbcss.contract import ALL_STRATEGIES, BOX_CLASS, Prompting, Scope
from benchbcss.contract import Track as TrackName
from benchbcss.tracks.base import Column, Facts, Frame, Track, Validation, number
from benchbcss.tracks.semantic import class_column, validation_of

if TYPE_CHECKING:
    import numpy as np

    from benchbcss.contract import Backend
    from benchbcss.data.dataset import Roi
    from benchbcss.data.labels import LabelMap
    from benchbcss.inference.clip import Source
    from benchbcss.inference.predictor import Predictor
    from benchbcss.progress import Progress
    from benchbcss.results.schema import MeanDice, PromptingUsed, Regions, TrackResult
    from benchbcss.scoring.metrics import Triple
    from benchbcss.suites import Tile


@dataclass(frozen=True)
class PromptedCounts:
    """Integers that the prompted result follows from, ROIs in the frame's order, C classes of the
    mean. ``scores``: int64 [ROI, C, (TP FP FN TN)] of each prompting, zeros for a class that an ROI
    does not have; ``reached``: int64 [ROI, C], the pixels of the class that a scope points at."""

    scores: dict[Prompting, np.ndarray]
    reached: dict[Scope, np.ndarray]

    def triple(self) -> Triple:
        """Hit, true and predicted pixels under the headline prompting."""
        from benchbcss.scoring.metrics import Triple

        return Triple.of_prompted(next(iter(self.scores.values())))


class Prompted(Track[PromptedCounts]):
    name: TrackName = "prompted"
    estimands = ("per_roi",)
    required = ("encode", "predict_prompted")
    whole_roi = True
    labels_regions = True
    caveat = (
        "prompted: hints are made from ground truth, so this is an oracle; absent classes are not "
        "prompted, so false positives there cannot be seen"
    )

    def problem(
        self, backend: Backend, promptings: Sequence[Prompting], headline: str
    ) -> str | None:
        if headline not in [prompting.key for prompting in promptings]:
            return f"it cannot use the suite's headline prompting, {headline}"
        return super().problem(backend, promptings, headline)

    def predict(
        self, predictor: Predictor, roi: Roi, frame: Frame
    ) -> Iterator[tuple[str, np.ndarray]]:
        """One prompting's masks at a time: all of a large ROI's would take many gigabytes."""
        from benchbcss.tracks import pictures

        for key, masks in predictor.each_prompted(
            roi.image(),
            roi.target(frame.labels),
            frame.promptings,
            roi=roi.name,
            process=frame.suite.prompting.postprocess,
        ):
            yield key, pictures.pack(masks, roi.shape, len(frame.labels.classes))

    def answer(self, predictor: Predictor, image: np.ndarray, target: np.ndarray) -> np.ndarray:
        import numpy as np

        every = [BOX_CLASS, *(Prompting(strategy, "class") for strategy in ALL_STRATEGIES)]
        prompting = usable(predictor.backend, every)[0]
        masks = predictor.prompted(image, target, [prompting])[prompting.key]
        return np.stack([masks[label] for label in sorted(masks)])

    def name_regions(
        self,
        source: Source,
        frame: Frame,
        rois: Mapping[str, Roi],
        run_dir: Path,
        stage: Progress,
    ) -> dict[str, Any]:
        from benchbcss.tracks import regions

        folder = self.folder(run_dir, frame.suite.prompting.headline)
        return regions.name_regions(frame, rois, folder, run_dir, source, stage)

    def picture(self, array: np.ndarray) -> bytes:
        from benchbcss.tracks import pictures

        return pictures.masks(array)

    def passes(
        self,
        shape: tuple[int, int],
        squash: int | None,
        tile: Tile,
        tta: bool,
        prompting: Prompting,
    ) -> int:
        """The ROI is encoded once in each view."""
        from benchbcss.inference.views import VIEWS

        return len(VIEWS) if prompting.tta else 1

    def count(
        self, predictor: Predictor, roi: Roi, labels: LabelMap, prompting: Prompting
    ) -> dict[str, np.ndarray]:
        import numpy as np

        from benchbcss.scoring import prompted_counts

        image, target = roi.image(), roi.target(labels)
        if predictor.tissue_prompt == "one":
            true = roi.codes() > 0
            masks, union = predictor.prompted_tissue(image, target, true, prompting, roi=roi.name)
        else:
            masks = predictor.prompted(image, target, [prompting], roi=roi.name)[prompting.key]
            true = np.isin(target, labels.tissue_classes)
            union = np.zeros_like(true)
            for mask in masks.values():
                union |= mask
        tissue = [np.count_nonzero(part) for part in (true & union, true, union)]
        return {
            "classes": prompted_counts(target, masks, labels.mean_classes),
            "tissue": np.array(tissue, np.int64),
        }

    def validation(
        self, counts: Sequence[Mapping[str, np.ndarray]], labels: LabelMap
    ) -> Validation:
        import numpy as np

        from benchbcss.scoring import metrics

        tissue = np.stack([part["tissue"] for part in counts]).sum(0)
        hit, truth, predicted = (int(pixels) for pixels in tissue)
        score = metrics.per_roi_prompted(np.stack([part["classes"] for part in counts]))
        return validation_of(score, labels.mean, hit, truth, predicted)

    def floor(
        self, rois: Sequence[Roi], labels: LabelMap, class_pixels: Sequence[int]
    ) -> tuple[float | None, str]:
        """Answering every prompt with the whole ROI; a majority class has no meaning here."""
        import numpy as np

        from benchbcss.scoring import metrics

        mean = list(labels.mean_classes)
        counts = np.zeros((len(rois), len(mean), 4), np.int64)
        for index, roi in enumerate(rois):
            pixels = roi.class_pixels(labels)
            counts[index, :, 0] = pixels[mean]
            counts[index, :, 1] = np.where(pixels[mean] > 0, pixels.sum() - pixels[mean], 0)
        mean_dice = metrics.per_roi_prompted(counts).mean
        return mean_dice if mean_dice == mean_dice else None, "answering with the whole ROI"

    # -- scoring -----------------------------------------------------------------------------------

    def files(self, frame: Frame, roi: str, run_dir: Path) -> list[Path]:
        return [self.folder(run_dir, prompting.key) / roi for prompting in frame.promptings]

    def measure(self, frame: Frame, roi: Roi, run_dir: Path) -> dict[str, np.ndarray]:
        import numpy as np

        from benchbcss.inference.prompts import covered
        from benchbcss.scoring import prompted_counts
        from benchbcss.tracks import pictures

        labels, classes = frame.labels, frame.labels.mean_classes
        target, scopes = roi.target(labels), _scopes(frame)
        scores = np.zeros((len(frame.promptings), len(classes), 4), np.int64)
        reached = np.zeros((len(scopes), len(classes)), np.int64)
        for counts, path in zip(scores, self.files(frame, roi.name, run_dir), strict=True):
            packed = pictures.read(path, roi.shape, len(labels.classes))
            masks = pictures.unpacked(packed, classes, roi.shape[0])
            counts[:] = prompted_counts(target, masks, classes)
        for c, label in enumerate(classes):
            mask = target == label
            for pixels, scope in zip(reached, scopes, strict=True):
                pixels[c] = np.count_nonzero(mask) if scope == "class" else covered(mask, scope)
        return {"scores": scores, "reached": reached}

    def gather(self, frame: Frame, parts: Sequence[Mapping[str, np.ndarray]]) -> PromptedCounts:
        import numpy as np

        scores = np.stack([part["scores"] for part in parts], 1)
        reached = np.stack([part["reached"] for part in parts], 1)
        return PromptedCounts(
            dict(zip(frame.promptings, scores, strict=True)),
            dict(zip(_scopes(frame), reached, strict=True)),
        )

    def write(self, counts: PromptedCounts, frame: Frame, run_dir: Path) -> None:
        from benchbcss.tracks import prompted_tables

        prompted_tables.write(counts, frame, run_dir)

    def read(self, frame: Frame, run_dir: Path) -> PromptedCounts:
        from benchbcss.tracks import prompted_tables

        return prompted_tables.read(frame, run_dir)

    def tables(
        self, counts: PromptedCounts, frame: Frame
    ) -> tuple[Sequence[str], dict[str, np.ndarray]]:
        headline = next(iter(counts.scores.values()))
        return frame.labels.mean, {self.name: headline, "both": headline}

    def triple(self, run_dir: Path, scores: TrackResult) -> tuple[tuple[str, ...], Triple]:
        from benchbcss.tracks import prompted_tables

        key = scores.prompting.key if scores.prompting else ""
        return prompted_tables.triple(run_dir, scores.classes, key)

    def result(
        self, counts: PromptedCounts, frame: Frame, run_dir: Path, facts: Facts
    ) -> TrackResult:
        """The headline prompting in full, the others by their scores alone."""
        from benchbcss.results import schema
        from benchbcss.scoring import metrics as m
        from benchbcss.tracks import estimates as e
        from benchbcss.tracks import regions

        names, mean = frame.labels.mean, range(len(frame.labels.mean))
        ceilings = _ceilings(counts, frame)
        first, *others = counts.scores
        triple = counts.triple()
        rest = []
        for prompting in others:
            other_triple = m.Triple.of_prompted(counts.scores[prompting])
            part = e.estimand(other_triple, names, mean, "per_roi")
            rest.append(
                schema.OtherPrompting(
                    prompting=_used(prompting, frame),
                    headline=schema.Headline(per_roi=part),
                    ceiling=ceilings[prompting.scope],
                )
            )
        return schema.TrackResult(
            **e.common(frame, names, mean, triple, self.estimands),
            view=facts.view,
            prompting=_used(first, frame),
            ceiling=ceilings[first.scope],
            others=rest,
            regions=regions.score(run_dir, names, facts.clip),
        )

    # -- on a board --------------------------------------------------------------------------------

    def columns(self, results: Sequence[TrackResult]) -> list[Column]:
        classes = results[0].classes if results else []
        ceiling = Column("ceiling", lambda r: number(r.ceiling.mean if r.ceiling else None))
        return [
            *([ceiling] if any(result.ceiling for result in results) else []),
            *(class_column(name) for name in classes),
            Column("CLIP acc. (on truth)", lambda r: _named(r.regions)),
        ]


def usable(backend: Backend, promptings: Sequence[Prompting]) -> list[Prompting]:
    """Those whose strategy ``backend`` can use, in their order."""
    allowed = backend.strategies
    return [p for p in promptings if allowed is None or p.strategy in allowed]


def _scopes(frame: Frame) -> list[Scope]:
    """Those of the promptings, each once."""
    return list(dict.fromkeys(prompting.scope for prompting in frame.promptings))


def _ceilings(counts: PromptedCounts, frame: Frame) -> dict[Scope, MeanDice | None]:
    """What a perfect outline of the part pointed at would score against the whole class."""
    from benchbcss.scoring import metrics as m
    from benchbcss.tracks import estimates as e

    names, mean = frame.labels.mean, range(len(frame.labels.mean))
    true = counts.triple().true
    ceilings: dict[Scope, MeanDice | None] = {}
    for scope, hit in counts.reached.items():
        score = m.per_roi_of(m.Triple(hit, true, hit), mean)
        ceilings[scope] = None if scope == "class" else e.mean_dice(score, names, mean)
    return ceilings


def _used(prompting: Prompting, frame: Frame) -> PromptingUsed:
    from benchbcss.results.schema import PromptingUsed

    settings = frame.suite.prompting
    return PromptingUsed(
        key=prompting.key,
        version=settings.version,
        strategy=prompting.strategy,
        scope=prompting.scope,
        tta=prompting.tta,
        only_largest=settings.postprocess == "largest",
        postprocess=settings.postprocess,
        views=settings.views,
    )


def _named(regions: Regions | None) -> str:
    if regions is None or regions.predicted is None or regions.ground_truth is None:
        return "-"
    predicted, truth = regions.predicted.accuracy, regions.ground_truth.accuracy
    return f"{number(predicted, 2)} ({number(truth, 2)})"
