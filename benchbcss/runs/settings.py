"""Which ``--set`` is for which backend, and which of them would change nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from benchbcss.contract import BackendInfo
from benchbcss.errors import InputError, RecipeError, UnknownNameError
from benchbcss.overrides import Override, idle, misfit, nested, parse, single
from benchbcss.recipes import USED_WHEN, Recipe, load, merge, rising, validated
from benchbcss.suites import Suite
from benchbcss.tracks import shared

_BY_CLASS = ".CLASS"  # behind an open setting whose keys are the suite's classes
#: all that training settings can still change where nothing is trained
_USED_WITHOUT_TRAINING = ("train.precision", "train.tf32")


def by_backend(
    texts: Sequence[str],
    backends: Mapping[str, BackendInfo],
    suite: Suite,
    preset: str,
    *,
    evaluating: bool,
    classes: Collection[str] = (),
) -> dict[str, Recipe]:
    """The recipe of each backend with what is set for it; ``classes`` are those of the suite.

    Without a backend's name, a setting is for every model among ``backends``, not for floors, and
    is refused unless it has an effect in each of them. Raises RecipeError, and UnknownNameError
    for a backend that is not among them.
    """
    overrides = [parse(text) for text in texts]
    for override in overrides:
        if override.backend is not None and override.backend not in backends:
            raise UnknownNameError(
                "backend in this command", override.backend, backends, f"(--set {override.text!r})"
            )
    places: set[tuple[str | None, str]] = set()
    for override in (part for whole in overrides for part in single(whole)):
        place = override.backend, override.dotted
        if place in places:
            raise override.refused(f"{override.dotted} is set twice. Keep one.")
        places.add(place)
    common = [override for override in overrides if override.backend is None]
    if common and all(info.floor for info in backends.values()):
        raise common[0].refused(
            f"floors take no settings that are for models. To change one, name it: "
            f"--set {next(iter(backends))}:{common[0].text}"
        )
    recipes: dict[str, Recipe] = {}
    reasons: dict[str, dict[str, str]] = {}  # of a --set, by the backend that it does not fit
    for name, info in backends.items():
        specific = [o for o in overrides if o.backend == name]
        taken = [o.keys for o in specific]
        shared = [] if info.floor else [o for o in common if o.keys not in taken]
        recipes[name] = _resolved(
            info, preset, suite, [*shared, *specific], reasons, evaluating, classes
        )
    for override in overrides:
        if misfits := reasons.get(override.text):
            raise _refused(override, misfits, [n for n, i in backends.items() if not i.floor])
    return recipes


def _resolved(
    info: BackendInfo,
    preset: str,
    suite: Suite,
    overrides: Sequence[Override],
    reasons: dict[str, dict[str, str]],
    evaluating: bool,
    classes: Collection[str],
) -> Recipe:
    """The recipe with what fits of ``overrides``; why the rest does not goes to ``reasons``."""
    raw, path = load(info.recipe, preset)
    further = {
        name.removesuffix(_BY_CLASS): classes if name.endswith(_BY_CLASS) else None
        for name in info.open_settings
    }
    fitting = []
    for override in overrides:
        reason = misfit(override, raw, Recipe, further)
        if reason:
            reasons.setdefault(override.text, {})[info.name] = reason
        else:
            raw = merge(raw, nested(override))
            fitting.append(override)
    recipe = validated(raw, path, preset)
    for override in (part for whole in fitting for part in single(whole)):
        reason = idle(override, recipe, raw.get(USED_WHEN))
        reason = reason or _idle_here(override, recipe, info, suite, evaluating)
        if reason:
            reasons.setdefault(override.text, {})[info.name] = reason
    if not evaluating and info.trains and (reason := _untrainable(recipe)):
        raise RecipeError(reason)
    return recipe


def _untrainable(recipe: Recipe) -> str | None:
    """Why a training by the recipe would not be what its settings say."""
    train = recipe.train
    if train and train.budget == "recipe" and not (train.steps or train.epochs):
        return (
            f"train.budget=recipe: the recipe of {recipe.name} does not say how long it trains. "
            f"Add --set train.steps=N or --set train.epochs=N."
        )
    return rising(recipe)


def _idle_here(
    override: Override, recipe: Recipe, info: BackendInfo, suite: Suite, evaluating: bool
) -> str | None:
    dotted = override.dotted
    for_training = override.keys[0] in ("train", "loss") and dotted not in _USED_WITHOUT_TRAINING
    if evaluating and for_training:
        return "it has no effect, since evaluate trains nothing."
    whole = any(track.whole_roi for track in shared(info.tracks, suite.tracks))
    tiled = recipe.view.protocol == "suite" and not whole
    if dotted == "view.size" and tiled:
        return (
            f"it has no effect, since the suite says how {info.name} sees an ROI. To resize whole "
            f"ROIs, add --set view.protocol=squash"
        )
    squashed = recipe.view.protocol == "squash" or suite.protocol == "squash1024"
    if dotted == "train.rare_class_probability" and squashed:
        return f"it has no effect, since {info.name} sees whole ROIs here and trains on no tiles."
    return None


def _refused(override: Override, misfits: Mapping[str, str], models: Sequence[str]) -> InputError:
    fitting = [name for name in models if name not in misfits]
    reason = next(iter(misfits.values()))
    if override.backend is not None or not fitting:
        return override.refused(reason)
    names = ", ".join(misfits)
    example = f"--set {fitting[0]}:{override.text}"
    return override.refused(
        f"it does not fit {names} ({reason.rstrip('.')}), only {', '.join(fitting)}. "
        f"Name the backend that it is for: {example}"
    )
