"""How much faster does a second head train on what a frozen encoder left? In one process:

    python benchmarks/speed/embeddings.py [--encoder vit_small_patch8_224] [--steps 40] [--colour]

A first head is trained with kept embeddings on a cold cache, then a second head without kept ones
and with those of the first. The second head's two runs must end bitwise equal. Weights are random;
the time of an encoder does not depend on them. Seconds are of the training loop, validations
included: of the processor, which other programs do not disturb, and on the clock.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from benchbcss.inference.embeddings import LIMIT_VARIABLE
from benchbcss.progress import SILENT
from benchbcss.results import store
from benchbcss.runs import executors, planning, worker
from benchbcss.training import loop

SUITE = {
    "summary": "one tile per ROI",
    "label_map": "bcss5",
    "mpp": 0.3,
    "split": "splits.csv",
    "tracks": ["semantic"],
    "phantom": {"rois": 8, "size": 224, "seed": 3},
    "tile": {"size": 224, "overlap": 0},
}


_times: list[tuple[float, float]] = []  # of each training: seconds of processor, and elapsed
_train = loop.train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="vit_small_patch8_224")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--colour", action="store_true", help="stain and colour jitter as well")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    loop.train = _timed
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        _run(root, asked, "fpn", limit="20")
        cold = _run(root, asked, "linear", limit="0", name="uncached")
        warm = _run(root, asked, "linear", limit="20", name="cached")
        ratio, clock = (_times[1][k] / _times[2][k] for k in (0, 1))
        print(f"ratio: {ratio:.1f} of processor, {clock:.1f} on the clock")
        print(f"bitwise equal: {_equal(cold, warm)}")
        print(f"warm: {store.load(warm).notes['embeddings']}")


def _run(root: Path, asked: argparse.Namespace, head: str, limit: str, name: str = "") -> Path:
    os.environ[LIMIT_VARIABLE] = limit
    path = root / "frozen.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "budget": {"steps": asked.steps}}))
    augment: Any = {"flips": True, "rot90": True}
    if asked.colour:
        augment |= {"color_jitter": 0.2, "stain": {"alpha": 0.2, "beta": 0.1}}
    overrides = {
        "model.encoder": {"name": asked.encoder, "arguments": {"img_size": 224}, "weights": None},
        "model.adaptation.kind": "frozen",
        "model.head.kind": head,
        "train.views": asked.views,
        "train.batch_size": 4,
        "train.warmup_steps": 0,
        "train.validate_every": 1000,  # at the start and at the end
        "train.augment": augment,
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


def _timed(*given: Any, **more: Any) -> Any:
    """The training loop, timed."""
    begun = time.process_time(), time.perf_counter()
    history = _train(*given, **more)
    _times.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    print(
        "training {}: {:.2f} s of processor, {:.2f} s".format(len(_times), *_times[-1]), flush=True
    )
    return history


def _equal(one: Path, other: Path) -> bool:
    a, b = (load_file(run / "checkpoints" / "final.safetensors") for run in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


if __name__ == "__main__":
    main()
