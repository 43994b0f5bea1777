"""Commands against a Python that does nothing and one that imports click: start-up, boards of many
runs, and what a run costs beside its steps."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed.timing import OURS, Case

COMMANDS = (["--help"], ["backends"], ["suites"], ["leaderboard"], ["status"])
PASS = "python -c pass"
FIRST = "its first look"
RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"

#: so small that a step of training is nothing beside what surrounds it
TINY = """\
summary: tiny
label_map: bcss5
split: splits.csv
mpp: 0.3
phantom: {rois: 6, size: 64, seed: 0}
tile: {size: 64, overlap: 16}
tracks: [semantic]
"""


def _run(*arguments: str, codes: tuple[int, ...] = (0, 2)) -> str:
    outcome = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert outcome.returncode in codes, f"{arguments}: {outcome.stderr}"
    return outcome.stdout


def _benchbcss(*arguments: str) -> str:
    return _run("-m", "benchbcss", *arguments)


def case(command: list[str]) -> Case:
    def check(answers: Mapping[str, Any]) -> None:
        if command == ["--help"]:
            assert "leaderboard" in answers[OURS]

    return Case(
        f"benchbcss {' '.join(command)}",
        {
            OURS: lambda: _benchbcss(*command),
            PASS: lambda: _run("-c", "pass"),
            "python -c 'import click'": lambda: _run("-c", "import click"),
        },
        check,
    )


def fill(workspace: Path, runs: int) -> None:
    """Copies of this project's own records, as runs of other seeds."""
    kept = [
        (path, json.loads(path.read_bytes())) for path in RESULTS.glob("runs/*/*/*/result.json")
    ]
    for number in range(runs):
        source, record = kept[number % len(kept)]
        seed = number // len(kept)
        name = f"seed{seed}-{hashlib.sha256(f'{source} {seed}'.encode()).hexdigest()[:12]}"
        folder = workspace / source.parent.parent.relative_to(RESULTS) / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({**record, "seed": seed, "run": name}))
    time.sleep(2.1)  # a record that was just written is not remembered


def board(workspace: Path, runs: int) -> Case:
    """The peers: the same board with nothing remembered of its records, as at the first look, and
    their JSON parsed with nothing done with it."""
    fill(workspace, runs)
    parse = (
        "import glob, json, gc; gc.disable()\n"
        f"for p in glob.glob({str(workspace / 'runs/*/*/*/result.json')!r}): json.load(open(p))"
    )

    def first_look() -> str:
        (workspace / ".board.memo").unlink(missing_ok=True)
        return _benchbcss("leaderboard", "--workspace", str(workspace))

    def ours() -> str:
        return _benchbcss("leaderboard", "--workspace", str(workspace))

    def check(answers: Mapping[str, Any]) -> None:
        assert len(answers[OURS].splitlines()) > runs / 2  # a track may lack what it needs
        assert answers[OURS] == answers[FIRST]

    return Case(
        f"a board of {runs} runs",
        {
            OURS: ours,
            FIRST: first_look,
            "their JSON parsed": lambda: _run("-c", parse),
            PASS: lambda: _run("-c", "pass"),
        },
        check,
    )


TORCH = "import torch"
#: what any training of this model waits for; torch imports its compiler for an optimiser
BARE = (
    "import torch, segmentation_models_pytorch\n"
    "torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1)"
)


def overhead(folder: Path, backend: str, *options: str, peers: Mapping[str, str]) -> Case:
    """Data drawn and decoded, training, prediction, scores and record: the first run in a
    workspace. ``peers``: what Python runs of each."""
    suite = folder / "tiny.yaml"
    suite.write_text(TINY, encoding="utf-8")
    numbers = itertools.count()

    def run() -> str:
        workspace = str(folder / f"{backend}{next(numbers)}")
        place = ["--suite", str(suite), "--preset", "smoke", "--workspace", workspace]
        return _benchbcss("run", backend, "--no-floors", *place, *options)

    def check(answers: Mapping[str, Any]) -> None:
        assert backend in answers[OURS]

    codes = {f"python -c '{TORCH}'": TORCH, **peers}
    return Case(
        f"a run of {backend}, six ROIs of 64 px",
        {OURS: run, **{name: partial(_run, "-c", code) for name, code in codes.items()}},
        check,
    )


def overheads(folder: Path) -> Iterator[Case]:
    """What this program takes by itself, where nothing is trained and no model's library imported;
    and one step of a network, beside what its libraries and an optimiser take."""
    yield overhead(folder, "floor_majority", peers={})
    step = ["--set", "train.steps=1", "--set", "train.budget=recipe"]
    yield overhead(folder, "unetpp", *step, peers={"its libraries and an optimiser": BARE})


def boards(*runs: int) -> Iterator[Case]:
    for number in runs:
        with tempfile.TemporaryDirectory() as folder:
            yield board(Path(folder), number)


def cases() -> Iterator[Case]:
    for command in COMMANDS:
        yield case(command)
    yield from boards(0, 100, 1000, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        yield from overheads(Path(folder))
