"""From what a user asked for to validated run specifications, before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from benchbcss import registry
from benchbcss.data import dataset as data
from benchbcss.data.labels import LabelMap
from benchbcss.data.splits import Split
from benchbcss.data.store import TileStore
from benchbcss.errors import (
    DataError,
    InputError,
    RecipeError,
    SuiteError,
    UnknownNameError,
    WeightsError,
)
from benchbcss.inference import clip_prompts
from benchbcss.io import sha256
from benchbcss.recipes import Augment, resolve
from benchbcss.results import provenance
from benchbcss.results.spec import Parts, RunSpec
from benchbcss.suites import Clip, ClipSpec, Preset, Suite, find_suite, load_suite
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
        suite = suite.model_copy(update={"file": str(path.resolve())})
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
) -> Prepared:
    """Make or open the data, decode it all, resolve labels and split. Raises InputError."""
    if folder is None:
        if suite.phantom is None:
            raise DataError(
                f"The suite '{suite.name}' needs data: pass --data DIR (a folder with images/ and "
                f"masks/), or set BENCHBCSS_DATA."
            )
        folder = make_phantom(suite, workspace)
    if is_phantom(folder) != (suite.phantom is not None):
        wanted = (
            "is a phantom; use --suite phantom"
            if is_phantom(folder)
            else "is not a phantom; use another suite, such as bcss5"
        )
        raise SuiteError(f"{folder} {wanted}. Phantom and real results never mix.")
    store = TileStore(workspace / "store")
    source = data.Dataset(folder, store, suite.reading())
    labels = suite.labels(source.code_table())
    chosen = split or suite.split
    if split is None and chosen.endswith(".csv"):
        chosen = str(folder / chosen)  # a suite names the CSV beside its own data
    parts = source.split(chosen)
    leakage = parts.leakage()
    if leakage.errors:
        raise DataError(" ".join(leakage.errors))
    names = (*parts.train, *parts.val, *parts.test)
    say(f"reading {len(names)} ROIs of {folder}")
    rois = source.rois(names, labels)
    if copies := data.identical(rois, parts):
        raise DataError(" ".join(copies[:5]))
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


def make_phantom(suite: Suite, workspace: Path) -> Path:
    """The suite's phantom, generated once per workspace."""
    from filelock import FileLock

    from benchbcss.data.phantom import generate

    spec = suite.phantom
    assert spec is not None
    folder = workspace / "data" / f"phantom-{spec.rois}x{spec.size}-seed{spec.seed}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        generate(folder, rois=spec.rois, size=spec.size, seed=spec.seed)
    return folder


def specify(
    prepared: Prepared,
    backends: Sequence[str],
    *,
    seeds: Sequence[int],
    weights: str,
    overrides: tuple[str, ...],
    device: str,
    workspace: Path,
    evaluate: Literal["val", "test"] | None = None,
    processes: int = 1,
) -> list[RunSpec]:
    """One specification per backend and seed. Raises InputError for anything misspelt.

    ``evaluate`` scores the weights as they are on that part of the split.
    """
    plugins = registry.load()
    given = Weights.parse(weights)
    clip = clip_spec(prepared.suite.clip)
    if evaluate is not None and not getattr(prepared.split, evaluate):
        raise DataError(
            f"The split '{prepared.split.name}' has no {evaluate} ROI among those present."
        )
    specs = []
    fingerprint = data.fingerprint(prepared.rois.values())
    for name in backends:
        registered = plugins.backend(name)
        registered.require()
        tracks = set(prepared.suite.tracks) & registered.info.tracks
        if not tracks:
            raise SuiteError(
                f"Backend '{name}' has the track(s) {', '.join(sorted(registered.info.tracks))}, "
                f"the suite '{prepared.suite.name}' has {', '.join(prepared.suite.tracks)}."
            )
        # Overrides, weights and processes are for the models asked about, not for the floors
        # beside them.
        floor = registered.info.floor
        if floor and evaluate is not None:
            raise InputError(
                f"'{name}' is a floor: it has no weights to evaluate. Use: benchbcss run {name}"
            )
        recipe = resolve(registered.info.recipe, prepared.preset, () if floor else overrides)
        if recipe.tracker != "none":
            plugins.trackers.find(recipe.tracker).require()
        if recipe.train and not isinstance(recipe.train.augment, Augment):
            from benchbcss.training.augment import pipeline

            pipeline(recipe.train.augment)  # refuses here what would fail in the worker
        batch = recipe.train.batch_size if recipe.train else processes
        if batch % processes:
            raise RecipeError(
                f"--processes {processes}: the batch of {batch} of '{name}' cannot be shared "
                f"equally. Set train.batch_size to a multiple of {processes}."
            )
        for seed in seeds:
            specs.append(
                RunSpec(
                    backend=name,
                    plugin=registered.source.plugin,
                    distribution=registered.source.distribution,
                    distribution_version=registered.source.version,
                    code_sha256=provenance.code_digest(registered.target),
                    core_sha256=provenance.core_digest(),
                    suite=prepared.suite,
                    suite_fingerprint=prepared.suite.fingerprint(),
                    label_map_fingerprint=prepared.labels.fingerprint(),
                    split_name=prepared.split.name,
                    split_fingerprint=prepared.split.fingerprint(),
                    split=Parts(
                        train=prepared.split.train, val=prepared.split.val, test=prepared.split.test
                    ),
                    sites=dict(prepared.split.sites),
                    leakage=prepared.split.leakage().warnings,
                    data_fingerprint=fingerprint,
                    data_root=str(prepared.folder.resolve()),
                    data_is_phantom=is_phantom(prepared.folder),
                    store_root=str((workspace / "store").resolve()),
                    preset=prepared.preset,
                    recipe=recipe,
                    weights=Random() if floor else given,
                    clip=clip,
                    evaluate=evaluate,
                    seed=seed,
                    processes=1 if floor else processes,
                    device=device,
                )
            )
    return specs


def clip_spec(clip: Clip) -> ClipSpec:
    """``clip`` with its prompt file read and its weights file hashed. Raises WeightsError."""
    name, prompts = clip_prompts.read(clip.prompts)
    _known_clip(clip.model)
    path = Path(clip.weights)
    digest = sha256(path) if path.is_file() else None
    if digest is None and _looks_like_a_file(clip.weights):
        raise WeightsError(
            f"The CLIP weights file {clip.weights} does not exist. Pass a path, or an open_clip "
            f"tag such as openai."
        )
    return ClipSpec(
        model=clip.model,
        weights=str(path.resolve()) if digest else clip.weights,
        weights_sha256=digest,
        prompts_name=name,
        prompts=prompts,
        margin=clip.margin,
        outside=clip.outside,
    )


def _known_clip(model: str) -> None:
    """Refuse a model that open_clip cannot build; its configurations are read, not imported."""
    if model.startswith("hf-hub:"):
        return
    if model.startswith("local-dir:") or model.endswith(".json"):
        path = Path(model.removeprefix("local-dir:"))
        if not path.exists():
            raise WeightsError(f"The CLIP model {path} does not exist.")
        return
    installed = find_spec("open_clip")
    if installed is None or installed.origin is None:
        return  # then CLIP is not measured, with that reason
    known = {each.stem for each in (Path(installed.origin).parent / "model_configs").glob("*.json")}
    if model not in known:
        hint = "Or hf-hub:OWNER/NAME, local-dir:PATH, or a configuration file (.json)."
        raise UnknownNameError("open_clip model", model, known, hint)


def _looks_like_a_file(weights: str) -> bool:
    """Of a CLIP weights setting, where tags have neither a slash nor a file's ending."""
    return "/" in weights or Path(weights).suffix in SUFFIXES


def _few(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
