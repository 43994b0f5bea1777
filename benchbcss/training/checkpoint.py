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
from benchbcss.io import move, parse_json, trusted, write_bytes


def path_of(run_dir: Path, name: str) -> Path:
    return run_dir / "checkpoints" / f"{name}.safetensors"


def save_checkpoint(
    run_dir: Path,
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: dict[str, Any],
    average: nn.Module | None = None,
) -> str:
    """Write ``checkpoints/NAME.safetensors``: model, optimiser moments, the running ``average`` of
    weights, and ``state`` as JSON; returns its SHA-256."""
    return write_checkpoint(run_dir, name, snapshot(model, optimizer, average), state)


def snapshot(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors, copied into the host's memory: training may go on."""
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    if optimizer is not None:
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    if average is not None:
        tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    # safetensors refuses shared memory (tied weights), so each tensor gets its own.
    return {key: _copied(value.detach()) for key, value in tensors.items()}


def write_checkpoint(
    run_dir: Path, name: str, tensors: dict[str, torch.Tensor], state: dict[str, Any]
) -> str:
    """Write a ``snapshot``, which is emptied, and ``state`` as ``checkpoints/NAME.safetensors``;
    returns the file's SHA-256."""
    path = path_of(run_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    blob = save(tensors, metadata={"state": json.dumps(state, allow_nan=False)})
    tensors.clear()  # the blob holds them again: two copies are enough
    return write_bytes(path, blob)


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """In the host's memory, contiguous, and once: what comes from a device is a copy already."""
    if tensor.device.type != "cpu":
        return tensor.cpu().contiguous()
    return tensor.clone(memory_format=torch.contiguous_format)


def move_checkpoint(run_dir: Path, name: str, target: str, digest: str) -> None:
    """Call the checkpoint ``name``, whose SHA-256 is ``digest``, ``target`` from now on."""
    move(path_of(run_dir, name), path_of(run_dir, target), digest)


def state_of(run_dir: Path, name: str) -> dict[str, Any] | None:
    """The ``state`` of a checkpoint that is as it was written; None for another or none."""
    path = path_of(run_dir, name)
    if not trusted(path):
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            state = parse_json(handle.metadata()["state"])
    except Exception:  # safetensors has errors of its own for torn files
        return None
    return state if isinstance(state, dict) else None


def load_checkpoint(
    run_dir: Path,
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    average: nn.Module | None = None,
) -> dict[str, Any] | None:
    """Load it into model, optimiser and average; returns ``state``, None where there is no file."""
    path = path_of(run_dir, name)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            state: dict[str, Any] = parse_json(handle.metadata()["state"])
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
        if average is not None:
            average.load_state_dict(
                {k[len("average.") :]: v for k, v in tensors.items() if k.startswith("average.")}
            )
    except Exception as error:
        raise RunError(
            f"The checkpoint {path} cannot be used ({error}). Run again with --fresh to train anew."
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
