"""How long results take to be computed again, from pictures and from count tables.

    python -m benchmarks.rescoring [--rois N] [--megapixels M] [--models K]

Writes a data folder of N test ROIs of M megapixels with regions like tissue's (one picture, moved
down further for each), whose colours are those of a prediction that is nearly right; lets K runs of
``floor_colour``, which answers by colour, predict them; then times ``benchbcss rescore`` and
``benchbcss rescore --tables`` for all of them, and checks that both leave the scores as they were.
The predictions are the floor's. Prints seconds, and seconds for each ROI and model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.speed.maps import pair

CODES = np.array([1, 2, 3, 4, 18, 10], np.uint8)  # of BCSS: five classes, and one of the rest
COLOURS = np.array(
    [
        [150, 60, 130],
        [230, 150, 190],
        [90, 50, 140],
        [200, 190, 200],
        [220, 60, 80],
        [250, 250, 250],
    ],
    np.uint8,
)
SUITE = """
name: rescoring
summary: large ROIs
label_map: bcss5
split: splits.csv
tile: {size: 1024, overlap: 0}
tracks: [semantic]
budget: {epochs: null, steps: 1}
default_preset: smoke
criteria:
  - {metric: mean_dice, at_least: 0.65}
"""


def write_data(folder: Path, rois: int, megapixels: float) -> Path:
    """Images, masks and split of ``rois`` test ROIs and two more; returns the suite's file."""
    target, prediction = pair(megapixels)
    pictures = {"images": COLOURS[prediction][..., ::-1], "masks": CODES[target]}
    for part in pictures:
        (folder / part).mkdir(parents=True)
    rows = ["filename,split"]
    for number in range(rois + 2):
        name = f"TCGA-A{number % 7}-R{number:03d}-DX1_xmin0_ymin0_MPP-0.2500.png"
        for part, picture in pictures.items():
            moved = np.roll(picture, number * len(target) // (rois + 2), axis=0)
            cv2.imwrite(str(folder / part / name), moved)
        rows.append(f"{name},{'train' if number == 0 else 'val' if number == 1 else 'test'}")
    (folder / "splits.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    suite = folder / "rescoring.yaml"
    suite.write_text(SUITE, encoding="utf-8")
    return suite


def scores(workspace: Path) -> list[Any]:
    """Tracks of every record, by the run's folder."""
    records = sorted((workspace / "runs").glob("*/*/*/result.json"))
    return [json.loads(record.read_text(encoding="utf-8"))["tracks"] for record in records]


def timed(workspace: Path, *arguments: str) -> float:
    """Seconds of one ``benchbcss`` command."""
    command = [sys.executable, "-m", "benchbcss", *arguments, "--workspace", str(workspace)]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"benchbcss {arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rois", type=int, default=45, help="of the test part")
    parser.add_argument("--megapixels", type=float, default=20.0, help="of each")
    parser.add_argument("--models", type=int, default=1, help="runs of each of these")
    asked = parser.parse_args()
    if min(asked.rois, asked.models) < 1 or asked.megapixels < 0.01:
        parser.error("--rois and --models are 1 or more, --megapixels 0.01 or more.")
    with tempfile.TemporaryDirectory(prefix="benchbcss-rescoring-") as place:
        workspace = Path(place) / "workspace"
        suite = write_data(Path(place) / "data", asked.rois, asked.megapixels)
        run = [
            "run",
            "floor_colour",
            "--no-floors",
            "--data",
            str(suite.parent),
            "--suite",
            str(suite),
        ]
        seconds = timed(workspace, *run, "--device", "cpu", "--seeds", str(asked.models))
        print(f"running {asked.models} x {asked.rois} ROIs: {seconds:.1f} s", flush=True)
        before = scores(workspace)
        assert len(before) == asked.models, f"{len(before)} records of {asked.models} runs"
        for words in (["rescore"], ["rescore", "--tables"]):
            seconds = timed(workspace, *words)
            assert scores(workspace) == before, f"{' '.join(words)} changed the scores"
            a_roi = seconds / asked.models / asked.rois
            print(f"{' '.join(words)}: {seconds:.1f} s, {a_roi:.3f} s a ROI and model", flush=True)


if __name__ == "__main__":
    main()
