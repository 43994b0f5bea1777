"""Checkpoints: tensors in safetensors, the rest in its metadata; one file, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from benchbcss.errors import RunError
from benchbcss.io import write_bytes


def save_checkpoint(
    run_dir: Path,
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: dict[str, Any],
    average: nn.Module | None = None,
) -> None:
    """Write ``checkpoints/NAME.safetensors``: model, optimiser moments, the running ``average`` of
    weights, and ``state`` as JSON."""
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    if optimizer is not None:
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    if average is not None:
        tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    # safetensors refuses shared memory (tied weights), so each tensor gets its own.
    own = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    folder = run_dir / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    blob = save(own, metadata={"state": json.dumps(state, allow_nan=False)})
    write_bytes(folder / f"{name}.safetensors", blob)


def load_checkpoint(
    run_dir: Path,
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    average: nn.Module | None = None,
) -> dict[str, Any] | None:
    """Load it into model, optimiser and average; returns ``state``, None where there is no file."""
    path = run_dir / "checkpoints" / f"{name}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            state: dict[str, Any] = json.loads(handle.metadata()["state"])
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
        if average is not None:
            average.load_state_dict(
                {k[len("average.") :]: v for k, v in tensors.items() if k.startswith("average.")}
            )
    except Exception as error:
        raise RunError(
            f"The checkpoint {path} cannot be used ({error}). Delete it to train anew."
        ) from error
    if optimizer is not None:
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, field = key.split(".", 2)
                moments.setdefault(int(index), {})[field] = value
        packed = optimizer.state_dict()
        packed["state"] = moments
        optimizer.load_state_dict(packed)
    return state
