"""``python -m benchmarks.step_options [BACKEND...]``: a training step's time with each setting for
speed over that without, on this machine. Smoke recipes, in turns; compiling is not timed."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from accelerate import Accelerator

from benchbcss.errors import BenchError
from benchbcss.suites import Budget
from benchbcss.training.loop import _step
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Sample, Trainer
from benchmarks.memory import built

OPTIONS = (
    "train.precision=bf16",
    "train.precision=fp16",
    "train.channels_last=true",
    "train.gradient_checkpointing=true",
    "train.tf32=true",
    "train.compile=true",
)


class Steps:
    """Training steps of one backend on one random batch."""

    def __init__(self, backend: str, option: str | None, side: int, folder: Path) -> None:
        overrides = (f"view.size={side}",) if backend.startswith("sam2_v") else ()
        made, network, recipe = built(
            backend, "smoke", (*overrides, *([option] if option else [])), side
        )
        assert recipe.train is not None
        train = recipe.train.model_copy(update={"unfreeze": ()})
        accelerator = Accelerator()
        network = network.to(accelerator.device)
        schedule = plan(train, Budget(steps=10**6), train.batch_size)
        self.trainer = Trainer(made, network, train, schedule, accelerator, folder, seed=0)
        generator = torch.Generator().manual_seed(0)
        image = torch.rand(train.batch_size, 3, side, side, generator=generator)
        target = torch.randint(0, 6, (train.batch_size, side, side), generator=generator)
        if train.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        device = accelerator.device
        self.sample: Sample = (image.to(device), target.to(device), ["a"] * train.batch_size)

    def __call__(self) -> float:
        begun = time.perf_counter()
        micro = self.trainer.plan.accumulate
        _step(self.trainer, iter([self.sample] * micro), self.trainer.set_rates())
        return time.perf_counter() - begun


def compared(backend: str, side: int, turns: int) -> None:
    """Prints a line for each option."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Steps(backend, None, side, Path(folder))
        plain()
        for option in OPTIONS:
            try:
                other = Steps(backend, option, side, Path(folder))
                other()
            except BenchError as error:
                print(f"{backend:14} {option:36} {error}", flush=True)
                continue
            pairs = [(other(), plain()) for _ in range(turns)]
            ratios = sorted(mine / base for mine, base in pairs)
            base = 1000 * median(seconds for _, seconds in pairs)
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            print(
                f"{backend:14} {option:36} {median(ratios):.2f} x ({spread}) of {base:.0f} ms",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backends", nargs="*", default=["unetpp", "mask2former"])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    for backend in given.backends:
        compared(backend, given.side, given.turns)


if __name__ == "__main__":
    main()
