"""From what a user asked for to validated run specifications, before anything is started."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from benchbcss import registry
from benchbcss.data import dataset as data
from benchbcss.data.labels import LabelMap
from benchbcss.data.reader import choose as choose_reader
from benchbcss.data.splits import Split, is_table
from benchbcss.data.store import TileStore
from benchbcss.errors import (
    DataError,
    InputError,
    RecipeError,
    SuiteError,
    UnknownNameError,
    WeightsError,
)
from benchbcss.inference import clip_models, clip_prompts
from benchbcss.io import sha256
from benchbcss.progress import SILENT, Progress
from benchbcss.recipes import Augment, Recipe
from benchbcss.registered import Registered
from benchbcss.results import provenance, store
from benchbcss.results.spec import NAME, Parts, RunSpec
from benchbcss.runs.settings import by_backend
from benchbcss.suites import Clip, ClipSpec, Preset, Suite, find_suite, load_suite
from benchbcss.temporary import sweep
from benchbcss.weights import SUFFIXES, Random, Weights


@dataclass(frozen=True)
class Prepared:
    """A suite on its data, checked: every file decoded, every code known, nothing leaking."""

    suite: Suite
    preset: Preset
    folder: Path
    labels: LabelMap
    split: Split
    rois: dict[str, data.Roi]
    warnings: tuple[str, ...]


def choose_suite(
    name: str | None, folder: Path | None, preset: Preset | None
) -> tuple[Suite, Preset]:
    """The suite asked for; by default ``bcss5`` with data and ``phantom`` without."""
    if name is None:
        name = "phantom" if folder is None or is_phantom(folder) else "bcss5"
    known = {key: entry.load() for key, entry in registry.load().suites.items()}
    path = find_suite(name, known)
    suite, used = load_suite(path, preset)
    if path not in known.values():  # so that its criteria are found again when a board is read
        suite = suite.model_copy(update={"file": os.path.realpath(path)})
    return suite, used


def is_phantom(folder: Path) -> bool:
    return (folder / "phantom.json").is_file()


def prepare(
    suite: Suite,
    preset: Preset,
    *,
    folder: Path | None,
    split: str | None,
    workspace: Path,
    say: Callable[[str], None],
    progress: Progress = SILENT,
) -> Prepared:
    """Make or open the data, decode it all, resolve labels and split. Raises InputError.

    What commands that were killed left in the workspace is removed.
    """
    for place in (workspace, workspace / "store", *(workspace / "runs").glob("*/*")):
        sweep(place)
    remedy = ""
    if folder is None:
        if suite.phantom is None:
            raise DataError(
                f"The suite '{suite.name}' needs data: pass --data DIR (a folder with images/ and "
                f"masks/), or set BENCHBCSS_DATA."
            )
        folder = make_phantom(suite, workspace, progress)
        remedy = f" It belongs to the embedded phantom: delete {folder}, and it is drawn anew."
    if is_phantom(folder) != (suite.phantom is not None):
        wanted = (
            "is a phantom; use --suite phantom"
            if is_phantom(folder)
            else "is not a phantom; use another suite, such as bcss5"
        )
        raise SuiteError(f"{folder} {wanted}. Phantom and real results never mix.")
    store = TileStore(workspace / "store")
    try:
        source = data.Dataset(folder, store, suite.reading())
        labels = suite.labels(source.code_table())
        chosen = split or suite.split
        if split is None and is_table(chosen):
            chosen = str(folder / chosen)  # a suite names the CSV beside its own data
        parts = source.split(chosen)
        leakage = parts.leakage()
        if leakage.errors:
            raise DataError(" ".join(leakage.errors))
        names = (*parts.train, *parts.val, *parts.test)
        say(f"reading {len(names)} ROIs of {folder}")
        rois = source.rois(progress.counted(names, doing="reading"), labels)
    except DataError as error:
        raise DataError(f"{error}{remedy}") from error
    if copies := data.identical(rois, parts):
        raise DataError(" ".join(copies[:5]))
    for doubt in source.doubts(rois, suite.mpp, bcss_codes=suite.has_bcss_codes):
        say(f"warning: {doubt}")
    if lacking := data.check_scored((rois[name] for name in parts.test), labels):
        say(f"warning: no test ROI has {', '.join(lacking)}, so nothing can be measured of it")
    warnings = list(leakage.warnings)
    if source.colour_normalised:
        warnings.append("images are colour-normalised already; do not normalise them again")
    if not parts.val:
        warnings.append(
            "the split has no validation ROI: early stopping is off and the last "
            "checkpoint is scored"
        )
    if parts.unassigned:
        warnings.append(
            f"{len(parts.unassigned)} file(s) are in no part of the split and are "
            f"left out: {_few(parts.unassigned)}"
        )
    if parts.absent:
        warnings.append(
            f"{len(parts.absent)} file(s) of the split are not in the folder: {_few(parts.absent)}"
        )
    warnings += parts.hints
    return Prepared(suite, preset, folder, labels, parts, rois, tuple(warnings))


def make_phantom(suite: Suite, workspace: Path, progress: Progress = SILENT) -> Path:
    """The suite's phantom, generated once per workspace."""
    from filelock import FileLock

    from benchbcss.data.phantom import generate

    spec = suite.phantom
    assert spec is not None
    folder = workspace / "data" / spec.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        generate(folder, rois=spec.rois, size=spec.size, seed=spec.seed, progress=progress)
    return folder


@dataclass(frozen=True)
class Asked:
    """What a user asked of the runs, beside backends and data. ``evaluate`` scores the weights as
    they are on that part of the split; ``name`` tells the runs apart on a leaderboard; ``workers``
    read training samples."""

    seeds: Sequence[int] = (0,)
    weights: str = "auto"
    overrides: tuple[str, ...] = ()
    device: str = "auto"
    evaluate: Literal["val", "test"] | None = None
    processes: int = 1
    name: str = ""
    workers: int | None = None


def specify(
    prepared: Prepared, backends: Sequence[str], asked: Asked, workspace: Path
) -> list[RunSpec]:
    """One specification per backend and seed. Raises InputError for anything misspelt."""
    plugins = registry.load()
    if asked.evaluate is not None and not getattr(prepared.split, asked.evaluate):
        raise DataError(
            f"The split '{prepared.split.name}' has no {asked.evaluate} ROI among those present."
        )
    if asked.name and not re.fullmatch(NAME, asked.name):
        raise InputError(
            f"'{asked.name}' cannot be a run's name: use letters, digits, dots, dashes and "
            f"underscores."
        )
    given = Weights.parse(asked.weights)
    shared_fields = common(prepared, asked, workspace)
    _something_to_learn(prepared, backends, asked.evaluate)
    for name in backends:
        plugins.backend(name).require()
    recipes = by_backend(
        asked.overrides,
        {name: plugins.backend(name).info for name in backends},
        prepared.suite,
        prepared.preset,
        evaluating=asked.evaluate is not None,
        classes=prepared.labels.class_names,
    )
    specs: list[RunSpec] = []
    for name in backends:
        registered = plugins.backend(name)
        recipe = _with_class_map(recipes[name], prepared.labels)
        _check(registered, recipe, prepared, asked)
        # Overrides, weights, processes and names are for the models asked about, not for the floors
        # beside them.
        floor = registered.info.floor
        first = RunSpec(
            **shared_fields,
            backend=name,
            plugin=registered.source.plugin,
            distribution=registered.source.distribution,
            distribution_version=registered.source.version,
            code_sha256=provenance.code_digest(registered.target),
            extensions=extensions(prepared, recipe),
            recipe=recipe,
            weights=Random() if floor else given,
            processes=1 if floor else asked.processes,
            name="" if floor else asked.name,
            abstains=registered.info.abstains,
        )
        runs = [first.model_copy(update={"seed": seed}) for seed in asked.seeds]
        _known_transforms(runs, workspace)
        specs += runs
    return specs


def common(prepared: Prepared, asked: Asked, workspace: Path) -> dict[str, Any]:
    """Fields of a specification that follow from suite and data, and not from the backend."""
    split = prepared.split
    return {
        "core_sha256": provenance.core_digest(),
        "suite": prepared.suite,
        "suite_fingerprint": prepared.suite.fingerprint(),
        "label_map_fingerprint": prepared.labels.fingerprint(),
        "split_name": split.name,
        "split_fingerprint": split.fingerprint(),
        "split": Parts(train=split.train, val=split.val, test=split.test),
        "sites": dict(split.sites),
        "sites_fingerprint": split.sites_fingerprint(asked.evaluate or "test"),
        "leakage": split.leakage().warnings,
        "data_fingerprint": data.fingerprint(prepared.rois.values()),
        "data_root": str(prepared.folder.resolve()),
        "data_is_phantom": is_phantom(prepared.folder),
        "store_root": str((workspace / "store").resolve()),
        "preset": prepared.preset,
        "clip": clip_spec(prepared.suite.clip),
        "evaluate": asked.evaluate,
        "device": asked.device,
        "workers": asked.workers,
    }


def _check(
    registered: Registered[Any, Any], recipe: Recipe, prepared: Prepared, asked: Asked
) -> None:
    """Refuse what cannot work: tracks, floors, trackers, shares of a batch. Raises InputError."""
    info, suite = registered.info, prepared.suite
    if not set(suite.tracks) & info.tracks:
        raise SuiteError(
            f"Backend '{info.name}' has the track(s) {', '.join(sorted(info.tracks))}, "
            f"the suite '{suite.name}' has {', '.join(suite.tracks)}."
        )
    if info.floor and asked.evaluate is not None:
        raise InputError(
            f"'{info.name}' is a floor: it has no weights to evaluate. Use: benchbcss run "
            f"{info.name}"
        )
    if recipe.tracker != "none":
        registry.load().trackers.find(recipe.tracker).require()
    rois = len(prepared.split.train)
    batch = min(recipe.train.batch_size, rois) if recipe.train else asked.processes
    if asked.evaluate is None and batch % asked.processes:
        fewer = ", of as many training ROIs as there are," * (batch == rois)
        raise RecipeError(
            f"--processes {asked.processes}: the batch of {batch}{fewer} of '{info.name}' cannot "
            f"be shared equally. Set train.batch_size to a multiple of {asked.processes}"
            + (f" up to {rois}." if rois >= asked.processes else ", with more training ROIs.")
        )


def extensions(prepared: Prepared, recipe: Recipe) -> dict[str, str]:
    """The source of what other plugins add to a run: an edit there changes its numbers as well."""
    augment = recipe.train.augment if recipe.train else ()
    return provenance.extensions(
        {
            "readers": [choose_reader(prepared.folder, prepared.suite.reading())],
            "metrics": registry.load().metrics,
            "augmentations": () if isinstance(augment, Augment) else [t.name for t in augment],
            "labellers": [str(recipe.predict.get("labeller"))],
        }
    )


def _with_class_map(recipe: Recipe, labels: LabelMap) -> Recipe:
    """The recipe with the class map that it names read, so that the fingerprint holds what the map
    says. Raises DataError for one that cannot be read or names no class of the suite."""
    given = recipe.model.get("class_map")
    if not given:
        return recipe
    from benchbcss.data import class_maps

    if isinstance(given, str):
        made = class_maps.read(Path(given))
    else:
        made = class_maps.parsed(given, "model.class_map")
    class_maps.targets(made, labels.class_names)
    if made.colours:
        raise DataError(f"The class map {made.where} holds colours; a network has none.")
    return recipe.model_copy(update={"model": {**recipe.model, "class_map": made.plain()}})


def _known_transforms(specs: Sequence[RunSpec], workspace: Path) -> None:
    """Refuse here what would fail in the worker. Making transforms imports torch, so that it is
    left out where every run is finished."""
    train = specs[0].recipe.train
    if train is None or isinstance(train.augment, Augment):
        return
    if all(store.is_finished(spec.run_dir(workspace)) for spec in specs):
        return
    from benchbcss.training.augment import pipeline

    pipeline(train.augment)


def _something_to_learn(
    prepared: Prepared, backends: Sequence[str], evaluate: Literal["val", "test"] | None
) -> None:
    """Raises DataError where every pixel of the training ROIs is ignored."""
    plugins = registry.load()
    infos = [plugins.backend(name).info for name in backends]
    if evaluate is not None or not any(info.trains or info.floor for info in infos):
        return
    training = [prepared.rois[name] for name in prepared.split.train]
    if training and not any(roi.has_class(prepared.labels) for roi in training):
        raise DataError(
            f"Nothing can be learnt: every pixel of the {len(training)} training ROIs is ignored "
            f"by the label map '{prepared.labels.name}'. Look at the masks with: benchbcss data "
            f"stats {prepared.folder}"
        )


def clip_spec(clip: Clip) -> ClipSpec:
    """``clip`` with its prompt file read and its weights file hashed. Raises WeightsError."""
    name, prompts = clip_prompts.read(clip.prompts)
    model = clip_models.resolve(clip.model)
    _known_clip(model)
    path = Path(clip.weights)
    digest = sha256(path) if path.is_file() else None
    if digest is None and _looks_like_a_file(clip.weights):
        raise WeightsError(
            f"The CLIP weights file {clip.weights} does not exist. Pass a path, or an open_clip "
            f"tag such as openai."
        )
    return ClipSpec(
        model=model,
        weights=str(path.resolve()) if digest else clip.weights,
        weights_sha256=digest,
        prompts_name=name,
        prompts=prompts,
        margin=clip.margin,
        outside=clip.outside,
    )


def _known_clip(model: str) -> None:
    """Refuse a model that open_clip cannot build; its configurations are read, not imported."""
    if model.startswith(("hf-hub:", clip_models.TRANSFORMERS)):
        return
    if model.startswith("local-dir:") or model.endswith(".json"):
        path = Path(model.removeprefix("local-dir:"))
        if not path.exists():
            raise WeightsError(f"The CLIP model {path} does not exist.")
        return
    installed = find_spec("open_clip")
    if installed is None or installed.origin is None:
        return  # then CLIP is not measured, with that reason
    known = {file.stem for file in (Path(installed.origin).parent / "model_configs").glob("*.json")}
    if model not in known:
        hint = (
            "Or hf-hub:OWNER/NAME, local-dir:PATH, hf:OWNER/NAME (of transformers), or a "
            "configuration file (.json)."
        )
        raise UnknownNameError("open_clip model", model, {*known, *clip_models.known()}, hint)


def _looks_like_a_file(weights: str) -> bool:
    """Of a CLIP weights setting, where tags have neither a slash nor a file's ending."""
    return "/" in weights or Path(weights).suffix in SUFFIXES


def _few(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
