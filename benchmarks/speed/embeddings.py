"""How much faster does a second head train on what a frozen encoder left? In one process:

    python benchmarks/speed/embeddings.py [--encoder vit_small_patch16_224] [--steps 40]

A first head is trained with kept embeddings on a cold cache, then a second head without kept ones
and with those of the first. The second head's two runs must end bitwise equal. Weights are random;
the time of an encoder does not depend on them. A step's milliseconds are the median of a training's
second half, of the processor, which other programs disturb less than the clock. The floor is what
is left of a step without samples and maps: head, loss and optimiser.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml
from benchbcss_hf.foundation import Foundation
from safetensors.torch import load_file

from benchbcss.inference.embeddings import LIMIT_VARIABLE
from benchbcss.progress import SILENT
from benchbcss.results import store
from benchbcss.runs import executors, planning, worker
from benchbcss.training import loop
from benchbcss.training.trainer import Trainer

SUITE = {
    "summary": "one tile per ROI",
    "label_map": "bcss5",
    "mpp": 0.3,
    "split": "splits.csv",
    "tracks": ["semantic"],
    "phantom": {"rois": 8, "size": 224, "seed": 3},
    "tile": {"size": 224, "overlap": 0},
}


class Clock:
    """Milliseconds of processor of every step since ``start``, and how many of them samples and
    maps took."""

    def __init__(self) -> None:
        self._given = 0.0
        self.start()
        real, batches, maps = loop._step, Trainer.batches, Foundation._one_by_one

        def step(*arguments: Any) -> None:
            self._given = 0.0
            begun = time.process_time()
            real(*arguments)
            self.steps.append((1e3 * (time.process_time() - begun), 1e3 * self._given))

        def timed_batches(*arguments: Any) -> Iterator[Any]:
            made = batches(*arguments)
            while (batch := self._timed(next, made, None)) is not None:
                yield batch

        def timed_maps(*arguments: Any) -> Any:
            return self._timed(maps, *arguments)

        loop._step = step
        Trainer.batches, Foundation._one_by_one = timed_batches, timed_maps  # type: ignore[method-assign]

    def _timed(self, work: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.process_time()
        made = work(*arguments)
        self._given += time.process_time() - begun
        return made

    def start(self) -> None:
        self.steps: list[tuple[float, float]] = []

    def tell(self, name: str) -> tuple[float, float]:
        """A step's time, and its floor."""
        late = self.steps[len(self.steps) // 2 :]
        whole, floor = median(t for t, _ in late), median(t - given for t, given in late)
        print(f"{name}: {whole:.1f} ms a step, of which {floor:.1f} are the floor", flush=True)
        return whole, floor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="vit_small_patch16_224")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--views", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clock = Clock()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        _run(root, asked, "fpn", limit="20")
        clock.start()
        cold = _run(root, asked, "linear", limit="0", name="uncached")
        uncached, _ = clock.tell("uncached")
        clock.start()
        warm = _run(root, asked, "linear", limit="20", name="cached")
        cached, floor = clock.tell("cached")
        print(f"ratio: {uncached / cached:.1f}; at the floor it were {uncached / floor:.1f}")
        print(f"bitwise equal: {_equal(cold, warm)}")
        print(f"warm: {store.load(warm).notes['embeddings']}")


def _run(root: Path, asked: argparse.Namespace, head: str, limit: str, name: str = "") -> Path:
    os.environ[LIMIT_VARIABLE] = limit
    path = root / "frozen.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "budget": {"steps": asked.steps}}))
    overrides = {
        "model.encoder": {"name": asked.encoder, "arguments": {"img_size": 224}, "weights": None},
        "model.adaptation.kind": "frozen",
        "model.head.kind": head,
        "train.views": asked.views,
        "train.batch_size": 4,
        "train.warmup_steps": 0,
        "train.validate_every": 1000,  # at the start and at the end
    }
    texts = tuple(
        f"{key}={yaml.safe_dump(value, default_flow_style=True).split(chr(10))[0]}"
        for key, value in overrides.items()
    )
    suite, preset = planning.choose_suite(str(path), None, "full")
    prepared = planning.prepare(
        suite, preset, folder=None, split=None, workspace=root, say=lambda text: None
    )
    chosen = planning.Asked(weights="none", overrides=texts, device="cpu", name=name)
    (spec,) = planning.specify(prepared, ["foundation"], chosen, root)
    run_dir = executors.prepare(spec, executors.Settings(root, lambda text: None))
    worker.execute(spec, run_dir, SILENT)
    return run_dir


def _equal(one: Path, other: Path) -> bool:
    a, b = (load_file(run / "checkpoints" / "final.safetensors") for run in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


if __name__ == "__main__":
    main()
