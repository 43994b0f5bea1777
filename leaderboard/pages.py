"""Writes what people look at from the records in ``results/``: the README beside them with its
pictures, and the board and the report in the README of the repository.

All of it is what commands print or draw: ``benchbcss leaderboard``, ``report`` and ``runs show``.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import benchbcss as bb
from benchbcss.board.model import Row
from benchbcss.results import store

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
PAGE, PICTURES = HERE / "README.md", HERE / "pictures"
README, REPORT = ROOT / "README.md", ROOT / "docs" / "report.png"
SUITE = "phantom-small"
SEEDS = 3
SHOWN = 0  # the seed whose runs the boards show
WIDTH, HEIGHT = 1280, 1080  # of the window that pages are shown in
BOARD_WIDTH = 2040  # no column of five classes is cut
BLOCK = re.compile(r"(<!-- board: make picture -->\n```\n).*?(```\n)", re.S)

HEAD = """\
# The leaderboard of this project's own runs

**Phantom.** Every number on this page was measured on synthetic images. It shows what `benchbcss`
produces, and that its backends run; it says nothing about tissue, and nothing about which model is
better on BCSS. The suite is [{suite}]({suite}.yaml), with {train} training, {val} validation and
{test} test ROIs. The preset is `smoke`: small networks, most of them with random weights, and
{budget} steps of training unless a recipe brings its own schedule. Some rows are the same here and
are not at full size: this preset leaves out four of sam2_v3's five ideas itself, so that their
ablations change nothing, and `foundation_hoptimus0` and `_hoptimus1` are one architecture with
different weights.

Everything here is generated. `make leaderboard` runs what is missing (finished runs are not
repeated), keeps the records in [results](results) and writes this page; `make picture` writes it
from the records alone. The records are a workspace without weights and predictions, so commands
read them too:

```
benchbcss leaderboard --workspace leaderboard/results --seed 0 --details
benchbcss compare {pair} --workspace leaderboard/results
```
"""


def write(backends: Sequence[str]) -> None:
    """All pages and pictures. ``backends`` are those that should have rows."""
    PICTURES.mkdir(exist_ok=True)
    draw()
    PAGE.write_text(page(backends), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        sys.exit(f"{README} has no block for the board.")
    shown = board("semantic")
    README.write_text(BLOCK.sub(lambda m: m[1] + shown + m[2], text), encoding="utf-8")


def board(track: str | None = None) -> str:
    """What ``benchbcss leaderboard --seed 0`` prints at 80 columns."""
    command = ["leaderboard", "--workspace", _near(RESULTS), "--seed", str(SHOWN)]
    return _printed(*command, *(["--track", track] if track else []))


def page(backends: Sequence[str]) -> str:
    """The README of this folder."""
    everything = bb.leaderboard(workspace=RESULTS)
    first = everything.rows[0].result
    parts = [
        HEAD.format(
            suite=SUITE,
            train=first.split.train,
            val=first.split.val,
            test=first.split.test,
            budget=store.load_spec(everything.rows[0].run).suite.budget.steps,
            pair=" ".join(_models(everything.rows)[:2]),
        ),
        f"## The board\n\nSeed {SHOWN}, as the command prints it:\n\n```\n{board()}```\n",
        _seeds(everything.rows),
        _verdicts(),
        _missing(backends, everything),
        _pictures(best()),
        _provenance(everything.rows),
    ]
    return "\n".join(part for part in parts if part)


def _models(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.backend for row in rows if not row.floor))


def _seeds(rows: Sequence[Row]) -> str:
    """Mean and range over seeds, in the order of the means."""
    scores: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if (value := row.scores.headline.per_roi.mean) is not None:
            scores.setdefault((row.track, row.backend), []).append(value)
    ordered = sorted(scores.items(), key=lambda item: (item[0][0] != "semantic", -_mean(item[1])))
    lines = [
        f"| {track} | `{backend}` | {len(values)} | {_mean(values):.3f} | {_range(values)} |"
        for (track, backend), values in ordered
    ]
    about = "Mean per-class Dice over test ROIs; mean and range over seeds."
    head = ["| track | backend | seeds | mean | lowest to highest |", "|---|---|---|---|---|"]
    return "\n".join(["## Over seeds", "", about, "", *head, *lines, ""])


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}" if len(values) > 1 else "-"


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def _verdicts() -> str:
    """What the criteria say of the seed that the boards show."""
    frame = bb.leaderboard(seed=SHOWN, workspace=RESULTS)
    rows = [row for row in frame.rows if row.verdicts and not row.floor]
    labels = list(dict.fromkeys(v.label for row in rows for v in row.verdicts))
    lines = []
    for row in rows:
        given = {v.label: v.status for v in row.verdicts}
        cells = " | ".join(given.get(label, "") for label in labels)
        lines.append(f"| {row.track} | `{row.backend}` | {cells} |")
    head = ["| track | backend | " + " | ".join(labels) + " |", "|---" * (2 + len(labels)) + "|"]
    about = "The criteria of the suite; `--details` gives the reason of each verdict."
    return "\n".join(["## Verdicts", "", about, "", *head, *lines, ""])


def missing(backends: Sequence[str], everything: bb.Leaderboard) -> dict[str, list[int]]:
    """{backend: seeds} that have neither a result nor a failure."""
    there = {(row.backend, row.seed) for row in everything.rows}
    there |= {
        (Path(run.run).parent.name, store.load_spec(Path(run.run)).seed)
        for run in everything.failures
    }
    lost = {name: [seed for seed in range(SEEDS) if (name, seed) not in there] for name in backends}
    return {name: seeds for name, seeds in lost.items() if seeds}


def _missing(backends: Sequence[str], everything: bb.Leaderboard) -> str:
    lost = missing(backends, everything)
    parts = []
    if everything.failures:
        lines = [f"- `{run.backend}`: {run.line}" for run in everything.failures]
        parts += ["## Failed", "", *lines, ""]
    if lost:
        by_seeds: dict[tuple[int, ...], list[str]] = {}
        for name, seeds in lost.items():
            by_seeds.setdefault(tuple(seeds), []).append(f"`{name}`")
        lines = [
            f"- seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))} of {', '.join(names)}"
            for seeds, names in by_seeds.items()
        ]
        about = "There is no record yet of what follows; `make leaderboard` makes it."
        parts += ["## Not run yet", "", about, "", *lines, ""]
    return "\n".join(parts)


def best() -> Row:
    """The first row of the label maps."""
    rows = bb.leaderboard(seed=SHOWN, track="semantic", workspace=RESULTS).rows
    return next(row for row in rows if not row.floor)


def _pictures(row: Row) -> str:
    return f"""\
## Pictures

The first screen of `benchbcss report`, in a browser:

![Five questions answered, then mean Dice with intervals](../docs/report.png)

The board as a page, `benchbcss leaderboard --output board.html`:

![The board: rank, model, mean Dice with interval, classes](pictures/board.png)

What `{row.backend}` confuses, `benchbcss runs show {row.run.name} --confusion confusion.svg`,
and how its training went, `--curves curves.svg`:

![Confusion matrix of {row.backend}](pictures/confusion.svg)

![Training curves of {row.backend}](pictures/curves.svg)
"""


def _provenance(rows: Sequence[Row]) -> str:
    runs = {row.run: row.result for row in rows}.values()
    seconds = sum(result.cost.total_seconds or 0.0 for result in runs)
    devices = sorted(
        f"{device} ({threads} thread{'s' * (threads != 1)})"
        for device, threads in {(r.cost.device, r.cost.threads) for r in runs if r.cost.device}
    )
    packages = sorted({f"torch {r.packages['torch']}" for r in runs if "torch" in r.packages})
    made = sorted(result.created[:10] for result in runs)
    dates = made[0] if made[0] == made[-1] else f"{made[0]} to {made[-1]}"
    return f"""\
## How it was made

{len(runs)} runs, {dates}, {seconds / 60:.0f} minutes in all, on {", ".join(devices)} with
{", ".join(packages)}; metrics version {max(result.metrics_version for result in runs)}.
"""


# -- pictures --------------------------------------------------------------------------------------


def draw() -> None:
    """The pictures of the pages. Those of a browser are left where chromium is not installed."""
    run = best().run.name
    place = ["--workspace", _near(RESULTS)]
    charts = [f"--{name}={_near(PICTURES / f'{name}.svg')}" for name in ("confusion", "curves")]
    _printed("runs", "show", run, *charts, *place)
    if shutil.which("chromium") is None:
        print("chromium is not installed: pictures of pages are left as they are", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder, "page.html")
        _printed("report", f"--output={html}", "--seed", str(SHOWN), *place)
        shoot(html, REPORT)
        options = ["--no-reported", "--track", "semantic", "--seed", str(SHOWN)]
        _printed("leaderboard", f"--output={html}", *options, *place)
        shoot(html, PICTURES / "board.png", BOARD_WIDTH)


def shoot(html: Path, target: Path, width: int = WIDTH) -> None:
    """The first screen of a page as a PNG with a palette."""
    from PIL import Image

    shot = html.with_suffix(".png")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--screenshot={shot}"]
    size = f"--window-size={width},{HEIGHT}"
    subprocess.run(
        ["chromium", *options, size, html.as_uri()], check=True, stderr=subprocess.DEVNULL
    )
    with Image.open(shot) as image:
        image.convert("RGB").quantize(128).save(target, optimize=True)


def _printed(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchbcss", *arguments]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    return done.stdout


def _near(path: Path) -> str:
    """From the root, where commands are run; anything else as it is."""
    return os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)
