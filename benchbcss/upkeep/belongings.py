"""What a run needs beside the program: pretrained weights, and data that are sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchbcss import registry
from benchbcss.errors import BenchError, explain
from benchbcss.runs.launch import OnData
from benchbcss.suites import Suite
from benchbcss.upkeep.doctor import Asked, Finding


def weights(asked: Asked) -> Iterator[Finding]:
    """Of each ready model those that ``--weights auto`` loads, of the suite CLIP's, and those that
    are given: in the hub's cache, or to be fetched."""
    from benchbcss.recipes import resolve
    from benchbcss.weights import Hub
    from benchbcss.weights.hub import reachable

    cache = _Cache()
    wanted: dict[Hub, list[str]] = {}
    for name, entry in sorted(registry.load().backends.items()):
        if entry.info.floor or entry.missing():
            continue
        try:
            recipe = resolve(entry.info.recipe, "full").model_dump(mode="json")
            source = entry.load().automatic_weights(recipe)
        except (Exception, SystemExit) as error:  # a stranger's code
            yield Finding(
                "weights", "problem", f"{name}: {explain(error, entry.package)}", entry.remedy()
            )
            continue
        if isinstance(source, Hub):
            wanted.setdefault(source, []).append(name)
    yield from _of_clip(asked.on, wanted)
    missing = {hub: names for hub, names in wanted.items() if cache.size(hub) is None}
    for hub in sorted(set(wanted) - set(missing), key=str):
        text = f"{hub.id} for {', '.join(wanted[hub])}: in the cache, {cache.size(hub) or 0:.1f} GB"
        yield Finding("weights", "ok", text)
    online = bool(missing) and reachable()
    for hub, names in sorted(missing.items(), key=str):
        text = f"{hub.id} for {', '.join(names)}: not in the cache ({cache.folder})"
        if online:
            yield Finding("weights", "ok", f"{text}; it will be fetched from the hub")
        else:
            option = "--clip-weights" if names[0].startswith("CLIP") else "--weights"
            which = f" --revision {hub.revision}" if hub.revision else ""
            remedy = (
                f"Where there is a network: hf download {hub.id}{which}; or pass {option} PATH. "
                f"--preset smoke does without."
            )
            yield Finding("weights", "note", f"{text}, and the hub cannot be reached", remedy)
    for text in asked.weights:
        yield _given(text, cache)


def data(on: OnData) -> Iterator[Finding]:
    """Whether every file is decoded and fits suite and split, as ``run`` asks before it starts."""
    if on.folder is None:
        text = "no data given: the synthetic phantom is used"
        yield Finding("data", "ok", text, "To check yours: benchbcss doctor --data DIR")
        return
    prepared = on.prepare(lambda text: None)
    parts = prepared.split
    for warning in prepared.warnings:
        yield Finding("data", "note", warning)
    text = (
        f"{on.folder}: {len(prepared.rois)} ROIs fit the suite '{prepared.suite.name}', split "
        f"'{parts.name}' ({len(parts.train)} train, {len(parts.val)} val, {len(parts.test)} test)"
    )
    yield Finding("data", "ok", f"{text}; {parts.leakage().claim}")


class _Cache:
    """What the hub's cache on this machine holds."""

    def __init__(self) -> None:
        from huggingface_hub import CacheNotFound, constants, scan_cache_dir

        self.folder = constants.HF_HUB_CACHE
        try:
            repositories = scan_cache_dir(self.folder).repos
        except CacheNotFound:
            repositories = frozenset()
        self._revisions = {repo.repo_id: repo.revisions for repo in repositories}

    def size(self, hub: Any) -> float | None:
        """GB of the weights of a repository, at the revision that is asked for: of others, nothing
        is loaded. None where there are none."""
        asked = hub.revision or "main"
        revisions = self._revisions.get(hub.id, ())
        sizes = [_weights_of(r) for r in revisions if asked in (r.commit_hash, *r.refs)]
        return sum(sizes) or None


def _weights_of(revision: Any) -> float:
    from benchbcss.weights import SUFFIXES

    files = revision.files
    return sum(f.size_on_disk for f in files if f.file_name.endswith(SUFFIXES)) / 1e9


def _of_clip(on: OnData, wanted: dict[Any, list[str]]) -> Iterator[Finding]:
    """CLIP, where the suite lets it name regions: its repository is added to ``wanted``."""
    from importlib.util import find_spec
    from pathlib import Path

    from benchbcss.runs import planning

    suite: Suite
    suite, _ = planning.choose_suite(on.suite, on.folder, on.preset)
    clip = suite.clip
    if Path(clip.weights).is_file():
        yield Finding("weights", "ok", f"{clip.weights} for CLIP ({clip.model}): a file")
    elif find_spec("open_clip") is None:
        text = f"CLIP ({clip.model}) cannot name regions: open_clip is not installed"
        yield Finding("weights", "note", text, "pip install 'benchbcss[clip]'")
    else:
        from benchbcss.inference.clip import hub_repository
        from benchbcss.weights import Hub, Weights

        repository = hub_repository(clip.model, clip.weights)
        hub = Weights.parse(repository) if repository else None
        if isinstance(hub, Hub):
            wanted.setdefault(hub, []).append(f"CLIP ({clip.model})")


def _given(text: str, cache: _Cache) -> Finding:
    """What ``--weights`` names: it exists, and its tensors can be read."""
    from benchbcss.weights import File, Folder, Hub, Weights
    from benchbcss.weights.reading import read
    from benchbcss.weights.wrappings import state_dicts

    try:
        parsed = Weights.parse(text)
        if isinstance(parsed, Hub):
            size = cache.size(parsed)
            where = "not in the cache" if size is None else f"in the cache, {size:.1f} GB"
            return Finding("weights", "note" if size is None else "ok", f"{parsed}: {where}")
        if not isinstance(parsed, File | Folder):
            return Finding("weights", "ok", f"{text}: no file is meant")
        sizes = [len(state) for _, state in state_dicts(read(parsed.verified()))]
    except BenchError as error:
        return Finding("weights", "problem", str(error))
    if not sizes:
        return Finding("weights", "problem", f"{text} holds no tensors", "Name a checkpoint.")
    return Finding("weights", "ok", f"{text}: {max(sizes)} tensors")
