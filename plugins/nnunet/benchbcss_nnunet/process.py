"""Starts nnU-Net's process, waits for it, and says why it failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchbcss.errors import PluginError
from benchbcss.io import write_json
from benchbcss_nnunet.work import FAILURE


def environment(folder: Path, processes: int | None) -> dict[str, str]:
    """nnU-Net's folders, all in ``folder``, and its numbers of processes; the rest as it is."""
    made = dict(os.environ)
    # what torchrun or this harness say to the processes of one run is not meant for nnU-Net
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        made.pop(name, None)
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        made[f"nnUNet_{name}"] = str(folder / name)
    if processes is not None:
        made["nnUNet_def_n_proc"] = str(processes)
        made["nnUNet_n_proc_DA"] = str(processes)
    scratch = folder / "tmp"  # matplotlib's settings, and what compilers leave
    scratch.mkdir(exist_ok=True)
    made |= {"MPLCONFIGDIR": str(scratch), "TORCHINDUCTOR_CACHE_DIR": str(scratch)}
    made["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return made


def run(folder: Path, settings: dict[str, Any]) -> None:
    """Have nnU-Net plan and train in ``folder``, from where it was left. Its output goes where
    this process's does. Raises PluginError with nnU-Net's reason; ends it where this is ended."""
    write_json(folder / "settings.json", settings, listed=False)
    sys.stdout.flush()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "benchbcss_nnunet.work", str(folder)],
        stdin=subprocess.DEVNULL,
        env=environment(folder, settings["processes"]),
        start_new_session=True,  # a group of its own, so that its workers end with it
    )
    try:
        status = process.wait()
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    if status:
        failure = folder / FAILURE
        reason = f"it ended with status {status}"
        if failure.is_file():
            reason = failure.read_text("utf-8").rstrip(".")
        raise PluginError(
            f"nnU-Net stopped: {reason}. What it said is in the run's log.txt; the same command "
            f"goes on from its last checkpoint."
        )
