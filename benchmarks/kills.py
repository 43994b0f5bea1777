"""Does a benchmark that is killed again and again end as if nothing had happened?

    python benchmarks/kills.py [--kills N] [--every SECONDS]... [--backends NAME,...] [--seed N]
                               [--executor local|slurm]

Runs a dense model, one of the SAM family and a floor on a small phantom, once undisturbed. Then,
N times for each ``--every`` (seconds between checkpoints), the same command with the run of a
random backend still to be done: all processes are killed (SIGKILL) at a random moment of a random
stage of that run, and the command is given once more. Kills before the first run start from an
empty workspace. Whatever is left in the end must be what the undisturbed command left: records,
predictions, tables, weights, logs with each epoch once, and no other file. Prints a line for each
kill, and ends with exit status 1 where anything differs.

With ``--executor slurm`` the runs are jobs of Slurm, and ``kills_slurm.py`` says what befalls them.

Without weights and on CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITE = """
summary: small enough to be killed often
phantom: {rois: 12, size: 160, seed: 0}
label_map: bcss5
split: splits.csv
protocol: native
tile: {size: 64, overlap: 16}
budget: {epochs: null, steps: 12}
prompting: {strategies: [box, points5], scopes: [class], tta: [false], headline: box-class}
default_preset: smoke
criteria:
  - {metric: mean_dice, at_least: 0.65}
"""
BACKENDS = ("unetpp", "sam2_v3", "floor_colour")
SETTINGS = {
    "unetpp": (
        *("model.encoder=tu-test_efficientnet", "model.decoder_channels=[16, 12, 8, 8, 8]"),
        "train.validate_every=2",
    ),
    "sam2_v3": (
        *("model.variant=t", "view.size=64", "predict.points_per_side=4"),
        *("train.steps=6", "train.validate_every=1"),
    ),
}
#: read by every interpreter that has its folder on its path: workers save so often
INTERVAL = """
import sys
if "benchbcss.runs.worker" in sys.orig_argv:
    from benchbcss.training.trainer import Trainer
    Trainer.checkpoint_every = {seconds}
"""
#: what depends on the clock, wherever it stands in a record
VOLATILE = {"created", "cost", "seconds", "loop_seconds", "train_images_per_second"}
VOLATILE |= {"peak_host_bytes", "peak_gpu_bytes"}
#: checkpoints that are there or not, depending on when the one before was written
PASSING = ("previous", "best-")
#: known by their presence only
UNREAD = ("log.txt", "status.json", "submitted.json")
LONGEST = 900.0  # seconds that one command may take

Place = tuple[str, str]  # backend, stage
START: Place = ("no run", "planning")  # before any worker


@dataclass(frozen=True)
class Bench:
    """One command, given in ``folder``; ``every``: seconds between checkpoints."""

    folder: Path
    backends: tuple[str, ...]
    every: float

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def runs(self, backend: str) -> Path:
        return self.workspace / "runs" / "kills" / backend

    @property
    def suite(self) -> Path:
        return self.folder / "kills.yaml"

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "benchbcss", "run", *self.backends, "--no-floors"]
        command += ["--suite", str(self.suite), "--workspace", str(self.workspace)]
        command += ["--weights", "none", "--device", "cpu"]
        for backend in self.backends:
            for setting in SETTINGS.get(backend, ()):
                command += ["--set", f"{backend}:{setting}"]
        return command

    def start(self) -> subprocess.Popen[bytes]:
        site = self.folder / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(INTERVAL.format(seconds=self.every))
        self.suite.write_text(SUITE)
        paths = [str(site), os.environ.get("PYTHONPATH", "")]
        with open(self.folder / "output.txt", "ab") as output:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )

    def finish(self) -> None:
        """Run the command to its end. Raises RuntimeError where it fails."""
        with self.start() as process:
            if process.wait(LONGEST):
                raise RuntimeError((self.folder / "output.txt").read_text()[-2000:])


def stages(bench: Bench) -> dict[Place, float]:
    """Run the command undisturbed; returns how many seconds each stage of each worker took."""
    seen: dict[Place, float] = {}
    with bench.start() as process:
        begun = time.monotonic()
        while process.poll() is None:
            place = _place(bench) or START
            now = time.monotonic()
            seen[place] = seen.get(place, 0.0) + now - begun
            begun = now
            time.sleep(0.005)
        if process.returncode:
            raise RuntimeError((bench.folder / "output.txt").read_text()[-2000:])
    return seen


def _place(bench: Bench) -> Place | None:
    """Where the worker is that was heard of last."""
    newest: tuple[float, Place] | None = None
    for path in bench.workspace.glob("runs/*/*/*/status.json"):
        try:
            status = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if newest is None or status["time"] > newest[0]:
            newest = status["time"], (path.parent.parent.name, status["stage"])
    return newest and newest[1]


def stage_of(run_dir: Path) -> str | None:
    """Where its worker is, or was when it was heard of last."""
    try:
        return str(json.loads((run_dir / "status.json").read_bytes())["stage"])
    except (OSError, ValueError, KeyError):
        return None


def kill_at(bench: Bench, place: Place, delay: float) -> bool:
    """Start the command, and kill all of its processes ``delay`` seconds after ``place`` is
    reached. Returns whether it was still running."""
    with bench.start() as process:
        deadline = time.monotonic() + LONGEST
        while process.poll() is None and place not in (START, _place(bench)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{place} was not reached")
            time.sleep(0.005)
        time.sleep(delay)
        alive = process.poll() is None
        kill_tree(process.pid)
    return alive


def kill_tree(pid: int) -> None:
    """Workers have sessions of their own, so a process group would not hold them."""
    try:
        os.kill(pid, signal.SIGSTOP)  # it starts no other while its children are listed
    except ProcessLookupError:
        return
    victims = [pid, *_below(pid)]
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _below(pid: int) -> list[int]:
    """All descendants of a process."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listing.splitlines())}
    found = [pid]
    for parent in found:
        found += [child for child in parents if parents[child] == parent and child not in found]
    return found[1:]


# -- what is left ----------------------------------------------------------------------------------


def left(workspace: Path) -> dict[str, Any]:
    """Everything below ``workspace`` by its path: a digest, or plain data without what depends on
    the clock. Locks and logs of workers are known by their presence only. Remembered hashes are
    left out: they are named after times of change."""
    return {
        _name(path.relative_to(workspace)): _content(path)
        for path in sorted(workspace.rglob("*"))
        if path.is_file() and not path.stem.startswith(PASSING) and not _is_memo(path)
    }


def _name(path: Path) -> str:
    """Slurm's files are named for jobs, of which there may be any number."""
    name = path.as_posix()
    return re.sub(r"[0-9a-f]{32}|\d+", "N", name) if path.parts[0] == "slurm" else name


def _is_memo(path: Path) -> bool:
    in_store = path.suffix == ".sha256" and path.parent.name == "store"
    return in_store or path.suffix == ".memo"


def _content(path: Path) -> Any:
    if path.suffix == ".lock" or path.name in UNREAD or path.parent.name == "slurm":
        return "there"
    if path.name == "files.sha256":
        return sorted({line.split("  ")[1] for line in _listed(path)})
    if path.parent.name == "store":  # descriptions hold the times of their arrays
        return _digest(path.read_bytes()) if path.suffix == ".npy" else "there"
    if path.suffix == ".jsonl":
        return [_steady(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".json":
        return _steady(json.loads(path.read_text()))
    if path.stem == "last":  # its history has times
        return _tensors(path)
    return _digest(path.read_bytes())


def _listed(path: Path) -> Iterator[str]:
    lines = path.read_text().splitlines()
    return (line for line in lines if not any(f"/{name}" in line for name in PASSING))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tensors(path: Path) -> dict[str, str]:
    from safetensors.numpy import load_file

    return {name: _digest(tensor.tobytes()) for name, tensor in sorted(load_file(path).items())}


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(part) for key, part in value.items() if key not in VOLATILE}
    return [_steady(part) for part in value] if isinstance(value, list) else value


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One phrase for each file that is missing, extra or another."""
    phrases = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    phrases += [f"{name} is left over" for name in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    return phrases + [
        f"{name} is another{_where(wanted[name], found[name])}"
        for name in both
        if wanted[name] != found[name]
    ]


def _where(wanted: Any, found: Any) -> str:
    """The first place within plain data that differs."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys()):
            if wanted.get(key) != found.get(key):
                return f".{key}{_where(wanted.get(key), found.get(key))}"
    return f": {str(found)[:80]} instead of {str(wanted)[:80]}"


def damaged(workspace: Path) -> list[str]:
    """What each run's own list of checksums says."""
    from benchbcss.results import store

    folders = sorted(path.parent for path in workspace.glob("runs/*/*/*/result.json"))
    return [f"{folder}: {phrase}" for folder in folders for phrase in store.damage(folder)]


# -- the command -----------------------------------------------------------------------------------


def kills(
    folder: Path, backends: Sequence[str], every: Sequence[float], number: int, seed: int
) -> int:
    """Carry it out below ``folder``, telling each kill; returns how many ended otherwise."""
    rng = random.Random(seed)
    benches = [Bench(folder, tuple(backends), seconds) for seconds in every]
    begun = time.monotonic()
    seen = stages(benches[0])
    wanted = left(benches[0].workspace)
    print(f"undisturbed: {time.monotonic() - begun:.0f} s, {len(wanted)} files", flush=True)
    wrong = 0
    for bench in benches:
        for turn in range(1, number + 1):
            place = rng.choice(sorted(seen))
            undone = bench.workspace if place == START else bench.runs(place[0])
            shutil.rmtree(undone)
            delay = rng.uniform(0, seen[place])
            alive = kill_at(bench, place, delay)
            bench.finish()
            found = differences(wanted, left(bench.workspace)) + damaged(bench.workspace)
            wrong += bool(found)
            when = f"{place[0]}, {delay:.2f} s into '{place[1]}'" if alive else "after its end"
            told = "; ".join(found[:5]) or "as undisturbed"
            print(f"{turn} of {number}, every {bench.every:g} s: killed {when}: {told}", flush=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="with each --every")
    parser.add_argument("--every", type=float, action="append", help="default: 0 and 20")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", choices=["local", "slurm"], default="local")
    options = parser.parse_args()
    carry_out = kills
    if options.executor == "slurm":
        from kills_slurm import run as carry_out
    with tempfile.TemporaryDirectory(prefix="benchbcss-kills-") as folder:
        wrong = carry_out(
            Path(folder),
            options.backends.split(","),
            options.every or [0.0, 20.0],
            options.kills,
            options.seed,
        )
    print(f"{wrong} ended otherwise" if wrong else "every one ended as undisturbed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
