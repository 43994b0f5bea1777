"""What nnU-Net does in a process of its own: plan, preprocess, train.

``python -m benchbcss_nnunet.work FOLDER`` reads ``FOLDER/settings.json`` and leaves
``network.safetensors`` and ``trained.json`` there. nnU-Net finds its folders by the environment,
which ``process.environment`` makes for this process alone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

from benchbcss.io import read_json, write_bytes, write_json
from benchbcss_nnunet.export import DATASET

PLANNED, TRAINED, FAILURE = "planned.json", "trained.json", "failure.txt"
NETWORK = "network.safetensors"
FINAL, BEST, LATEST = (f"checkpoint_{name}.pth" for name in ("final", "best", "latest"))


def work(folder: Path, settings: dict[str, Any]) -> None:
    """Plan and train as far as it is not done, then write what was learnt as plain tensors."""
    if not (folder / PLANNED).is_file():
        write_json(folder / PLANNED, {"plans": _plan(folder, settings)}, listed=False)
    trainer = _trained(folder, settings, read_json(folder / PLANNED)["plans"])
    _keep(folder, trainer)


def _plan(folder: Path, settings: dict[str, Any]) -> str:
    """What nnUNetv2_plan_and_preprocess does; the name of the plans."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    workers = settings["processes"] or api.default_num_processes
    api.extract_fingerprints([1], num_processes=workers, show_progress_bar=False)
    plans: str = api.plan_experiments(
        [1], settings["planner"], gpu_memory_target_in_gb=settings["gpu_memory_gb"]
    )
    configuration = settings["configuration"]
    api.preprocess([1], plans, [configuration], [workers], show_progress_bar=False)
    shutil.copy(folder / "splits_final.json", folder / "preprocessed" / DATASET)
    return plans


def _trained(folder: Path, settings: dict[str, Any], plans_name: str) -> Any:
    """What ``nnUNetv2_train 1 2d 0 --c`` does, but for the validation at its end, which the
    benchmark does: its trainer once it is done."""
    import torch
    from nnunetv2.run.run_training import maybe_load_checkpoint

    from benchbcss_nnunet.trainer import trainer_of

    if settings["processes"] == 1:  # augmentation in this process; the planner wants one at least
        os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112 - as nnU-Net spells it
    for seed in (random.seed, _seed_numpy, torch.manual_seed):
        seed(settings["seed"])
    base = folder / "preprocessed" / DATASET
    plans: dict[str, Any] = read_json(base / f"{plans_name}.json")
    split = read_json(folder / "splits_final.json")[0]
    fold: int | str = 0 if split["val"] else "all"  # nnU-Net validates on something in any case
    device = torch.device(settings["device"])

    def made(goes_on: bool) -> Any:
        plans["continue_training"] = goes_on
        return trainer_of(settings)(
            plans=plans,
            configuration=settings["configuration"],
            fold=fold,
            dataset_json=read_json(base / "dataset.json"),
            device=device,
        )

    place = next(folder.glob(f"results/{DATASET}/*/fold_{fold}"), None)
    goes_on = place is not None and _whole(place)
    trainer = made(goes_on)
    maybe_load_checkpoint(trainer, goes_on, False)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    if not (Path(trainer.output_folder) / FINAL).is_file():
        trainer.run_training()
    return trainer


def _seed_numpy(seed: int) -> None:
    import numpy as np

    np.random.seed(seed % 2**32)  # noqa: NPY002 - nnU-Net draws from the global generator


def _whole(place: Path) -> bool:
    """Whether a checkpoint is left to go on from. nnU-Net writes them in place, so that a process
    that is killed leaves a torn one: it goes, and the next best is taken."""
    left = False
    for name in (FINAL, LATEST, BEST):
        path = place / name
        if path.is_file():
            try:
                with zipfile.ZipFile(path) as archive:
                    torn = archive.testzip() is not None
            except zipfile.BadZipFile:
                torn = True
            if torn:
                print(f"{path} is torn, and not gone on from", flush=True)
                path.unlink()
            left = left or not torn
    return left


def _keep(folder: Path, trainer: Any) -> None:
    """What was learnt, as tensors, and how that went."""
    import torch
    from safetensors.torch import save

    network = getattr(trainer.network, "_orig_mod", trainer.network)
    # the decoder holds the encoder, so that its tensors have two names: each gets a copy
    tensors = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    write_bytes(folder / NETWORK, save(tensors), listed=False)
    log = trainer.logger
    plans = dict(trainer.plans_manager.plans)
    plans.pop("continue_training", None)
    content = {
        "plans": plans,
        "dataset": trainer.dataset_json,
        "configuration": trainer.configuration_name,
        "mirror": list(trainer.inference_allowed_mirroring_axes or ()),
        "facts": {
            "epochs": trainer.current_epoch,
            "batch_size": int(trainer.configuration_manager.batch_size),
            "patch": [int(side) for side in trainer.configuration_manager.patch_size],
            "pseudo_dice": _last(log, "ema_fg_dice"),
            "train_loss": _last(log, "train_losses"),
        },
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }
    write_json(folder / TRAINED, _plain(content), listed=False)


def _last(log: Any, name: str) -> float | None:
    try:
        return round(float(log.get_value(name, step=-1)), 6)
    except (KeyError, IndexError, TypeError, AssertionError):
        return None


def _plain(value: Any) -> Any:
    """With numpy's numbers as Python's."""
    return json.loads(json.dumps(value, default=lambda item: item.tolist()))


def _end_with(parent: int) -> None:
    """Nothing goes on once the run's own process is gone: not this one, not nnU-Net's workers."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(folder: Path) -> int:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        work(folder, read_json(folder / "settings.json"))
    except Exception as error:
        traceback.print_exc()
        text = (str(error).strip().splitlines() or ["no message"])[0]
        write_bytes(folder / FAILURE, f"{type(error).__name__}: {text}".encode(), listed=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
