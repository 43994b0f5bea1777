"""Devices, memory, the disk under the workspace, and Slurm."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchbcss.cores import cores
from benchbcss.upkeep.doctor import Finding, nearest

#: bytes below which something is noted, or a problem. Our choice: two workers of the smoke preset
#: take about 2 GB each, a full run's checkpoints a few GB
MEMORY_NOTE, MEMORY_PROBLEM = 8e9, 2e9
DISK_NOTE, DISK_PROBLEM = 20e9, 1e9
#: seconds that Slurm may take to answer
PATIENCE = 10.0


def devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        text = f"torch cannot be imported: {type(error).__name__}: {error}"
        yield Finding("devices", "problem", text, "Reinstall torch (https://pytorch.org).")
        return
    allowed = cores()
    yield Finding(
        "devices", "ok", f"{allowed} CPU core{'s' * (allowed != 1)}, torch {torch.__version__}"
    )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            free, total = torch.cuda.mem_get_info(index)
            kind = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            text = (
                f"GPU {index}: {about.name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free, "
                f"compute {about.major}.{about.minor}, {kind}"
            )
            yield Finding("devices", "ok", text)
    elif shutil.which("nvidia-smi") and answer(["nvidia-smi", "-L"])[0]:
        text = f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it"
        remedy = "Install a build of torch for your driver (https://pytorch.org)."
        yield Finding("devices", "problem", text, remedy)
    else:
        text = "no GPU that PyTorch can use: --preset smoke takes minutes, full is out of reach"
        yield Finding("devices", "note", text)


def memory() -> Iterator[Finding]:
    total, free = _memory()
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are available"
    if free < MEMORY_PROBLEM:
        yield Finding("memory", "problem", text, "End other programs, or ask for more memory.")
    elif free < MEMORY_NOTE:
        yield Finding("memory", "note", text, "Keep --jobs at 1.")
    else:
        yield Finding("memory", "ok", text)


def workspace(folder: Path) -> Iterator[Finding]:
    """Whether one can write, rename and lock there, and how much room there is. Nothing is left."""
    from filelock import FileLock, Timeout

    place = nearest(folder)
    where = str(folder) if place == folder.absolute() else f"{folder} (to be made in {place})"
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as scratch:
            path = Path(scratch) / "file"
            with open(path, "wb") as handle:
                handle.write(bytes(4096))
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(path, path.with_name("renamed"))
            with FileLock(Path(scratch) / "lock"):
                try:
                    with FileLock(Path(scratch) / "lock", timeout=0):
                        locks = False
                except Timeout:
                    locks = True
    except OSError as error:
        text = f"{where} cannot be written: {error.strerror or error}"
        yield Finding("workspace", "problem", text, "Make it writable, or choose --workspace.")
        return
    if not locks:
        text = f"{where} lies on a file system without locks: two commands could spoil one run"
        yield Finding("workspace", "problem", text, "Choose a --workspace on a local disk.")
    free = shutil.disk_usage(place).free
    text = f"{where}: {free / 1e9:.1f} GB free"
    remedy = "See what may go with: benchbcss runs clean"
    if free < DISK_PROBLEM:
        yield Finding("workspace", "problem", text, remedy)
    elif free < DISK_NOTE:
        yield Finding("workspace", "note", text, remedy)
    else:
        yield Finding("workspace", "ok", text)


def answer(command: list[str]) -> tuple[bool, str]:
    """Whether a program ends well in time, and what it says."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"{command[0]} takes more than {PATIENCE:g} s"
    except OSError as error:
        return False, str(error)
    said = done.stdout.strip() if done.returncode == 0 else done.stderr.strip()
    return done.returncode == 0, said or f"{command[0]} ends with exit status {done.returncode}"


def _memory() -> tuple[float, float]:
    """Bytes in all and available, within what the container allows."""
    total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    free = total
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = float(line.split()[1]) * 1024
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        most, now = _lines(Path(limit)), _lines(Path(used))
        if most and now and most[0].isdecimal() and float(most[0]) < total:
            total = float(most[0])
            free = min(free, total - float(now[0]))
    return total, free


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
