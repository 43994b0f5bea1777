"""Runs every built-in backend on the small phantom, keeps the records, and writes the pages.

``python leaderboard/refresh.py`` (``make leaderboard``) does all three. It may be stopped at any
time: finished runs are not repeated, and what is missing is said on the page. ``--pages`` (``make
picture``) only writes the pages again, from the records that are here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pages
from pages import RESULTS, ROOT, SUITE

from benchbcss import registry
from benchbcss.results import store

WORKSPACE = Path("build") / "leaderboard"
SUITE_FILE = Path("leaderboard") / f"{SUITE}.yaml"
#: one of each family first, so that a refresh that is stopped early still shows all of them
FIRST = (
    *("floor_majority", "floor_colour", "floor_box_fill"),
    *("unetpp", "transunet", "mask2former", "sam2_v3", "segformer", "eomt", "foundation"),
    *("hf_semantic", "sam_zeroshot", "sam2_dense", "sam2_v2", "sam2_v1", "sam2_lora"),
)
#: what is kept of a run: its record and small tables, neither weights nor predictions
KEPT = ("result.json", "spec.json", "training.json", "epochs.jsonl", "failure.json", "*.parquet")


def backends() -> list[str]:
    """The built-in ones, in the order in which they are run."""
    builtin = [
        name
        for name, entry in registry.load().backends.items()
        if entry.source.distribution == "benchbcss"
    ]
    places = {name: place for place, name in enumerate(FIRST)}
    return sorted(builtin, key=lambda name: (places.get(name, len(places)), name))


def installed() -> list[str]:
    """Those of them that this machine has the packages for."""
    known = registry.load().backends
    return [name for name in backends() if not known[name].missing()]


def run(seeds: int, workspace: Path) -> None:
    """Seed by seed, so that every backend has a row before any has three."""
    for seed in range(seeds):
        command = [sys.executable, "-m", "benchbcss", "run", *installed(), "--seed", str(seed)]
        command += ["--suite", str(SUITE_FILE), "--preset", "smoke", "--workspace", str(workspace)]
        done = subprocess.run(command, cwd=ROOT)
        if done.returncode not in (0, 1):  # 1: a run failed, which its record says
            sys.exit(done.returncode)


def collect(workspace: Path) -> None:
    """Take over the records of ``workspace``: of each backend and seed the newest one, in place of
    what was kept of it before. What the workspace has no record of stays as it is."""
    for run_dir in _newest(workspace):
        backend, seed = run_dir.parent.name, store.load_spec(run_dir).seed
        for old in (RESULTS / "runs" / SUITE / backend).glob("*"):
            if store.load_spec(old).seed == seed:
                shutil.rmtree(old)
        kept = RESULTS / "runs" / SUITE / backend / run_dir.name
        kept.mkdir(parents=True)
        for pattern in KEPT:
            for path in run_dir.glob(pattern):
                _copy(path, kept / path.name, workspace)


def _newest(workspace: Path) -> Iterator[Path]:
    """Of each backend and seed, the last run that ended, with a result or without."""
    ended: dict[tuple[str, int], tuple[float, Path]] = {}
    for run_dir in (workspace / "runs" / SUITE).glob("*/[!.]*"):
        record = run_dir / "result.json"
        path = record if record.is_file() else run_dir / "failure.json"
        if path.is_file():
            key = run_dir.parent.name, store.load_spec(run_dir).seed
            ended[key] = max(ended.get(key, (0.0, run_dir)), (path.stat().st_mtime, run_dir))
    yield from (run_dir for _, run_dir in sorted(ended.values()))


def _copy(path: Path, target: Path, workspace: Path) -> None:
    """JSON is written on one line, with paths as they are from the root of this repository."""
    if path.suffix != ".json":
        shutil.copyfile(path, target)
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    if "suite" in content:
        content["suite"]["file"] = str(SUITE_FILE)
    text = json.dumps(content, ensure_ascii=False)
    text = text.replace(str(workspace.resolve()), str(WORKSPACE))
    target.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=pages.SEEDS, help="run seeds 0 to N-1")
    parser.add_argument("--workspace", type=Path, default=WORKSPACE, help="where runs are kept")
    parser.add_argument("--pages", action="store_true", help="run nothing")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    if not chosen.pages:
        try:
            run(chosen.seeds, chosen.workspace)
        finally:
            collect(chosen.workspace)
    pages.write(backends())


if __name__ == "__main__":
    main()
