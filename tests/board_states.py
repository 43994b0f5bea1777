"""Workspaces in every state that a board is looked at in, of stored records: nothing is trained."""

import json
import os
import random
import time

from board_support import fail, result, write

#: as torch words it
LONG = "RuntimeError: Error(s) in loading state_dict:\n" + "\n".join(
    f"\tMissing key encoder.layers.{i}.self_attention.in_proj_weight" for i in range(300)
)
MEMORY = "CUDA out of memory. Tried to allocate 3.25 GiB. GPU 0 has a total capacity of 79.10 GiB"
LONG_BACKEND = "a_backend_with_a_very_long_name_that_somebody_chose_for_his_network"
LONG_RUN = "the-run-with-the-longest-name-of-all-of-them"
MODELS = (
    *("unetpp", "transunet", "mask2former", "eomt", "segformer"),
    *("sam2_v3", "sam2_dense", "foundation", "hf_semantic", "sam2_lora"),
)


def scored(backend, mean, draw=0, rois=20, **over):
    """A record whose ROIs are known, so that ranks can be shared."""
    dice = random.Random(draw)
    values = [min(1.0, max(0.0, dice.gauss(mean, 0.1))) for _ in range(rois)]
    mean = sum(values) / rois
    content = result(backend, mean, metrics_version=3, rois=rois, **over)
    for track in content["tracks"].values():
        track["by_roi"] = {
            "roi": [f"r{i}" for i in range(rois)],
            "share": [1 / rois] * rois,
            "contribution": [value / rois for value in values],
            "influence": [(value - mean) / (rois - 1) for value in values],
        }
    return content


def floor(name, mean):
    return result(name, mean, floor=True, metrics_version=3, rois=20)


def worker(workspace, run, age, alive, **beat):
    """A run without a result whose last heartbeat is ``age`` seconds old."""
    folder = workspace / "runs" / "bcss5" / run
    folder.mkdir(parents=True)
    pid = os.getpid() if alive else 2**30
    count = {"stage": "training", "done": 120, "total": 300, "unit": "step", "left": 163.0}
    content = {"time": time.time() - age, "pid": pid, **count, "epoch": 3, "epochs": 10, **beat}
    (folder / "status.json").write_text(json.dumps(content))
    (folder / "log.txt").write_text("epoch 3: loss 1.2\n")


def empty(workspace):
    workspace.mkdir(exist_ok=True)


def one_failed(workspace):
    fail(workspace, "unetpp", LONG, run="seed0-0123456789ab", when=time.time() - 400)


def several_failed(workspace):
    names = ("sam2_v3_no_early_stopping", "foundation_hoptimus1", *MODELS[:5])
    for place, name in enumerate(names):
        reason = (MEMORY, LONG, "killed")[place % 3]
        run = f"seed{place % 3}-0123456789a{place}"
        fail(workspace, name, reason, run=run, when=time.time() - 400 * place)


def interrupted(workspace):
    worker(workspace, "unetpp/seed0-0123456789ab", 4000, alive=False)
    worker(workspace, f"sam2_v3_no_early_stopping/{LONG_RUN}-seed0-0123456789ab", 9e4, alive=False)


def running(workspace):
    worker(workspace, "unetpp/seed0-0123456789ab", 1, alive=True)
    beat = {"stage": "predicting", "track": "semantic", "unit": "ROI", "done": 3, "total": 45}
    worker(workspace, "transunet/seed0-0123456789ab", 1, alive=True, **beat)


def variants(workspace):
    for place, rate in enumerate((5e-4, 1e-4, 1e-3)):
        recipe = {"train": {"lr": rate, "batch_size": 8}}
        content = scored("unetpp", 0.5 + 0.1 * place, place, recipe=recipe)
        write(workspace, content, f"seed0-{place}23456789abc")
    recipe = {"train": {"lr": 1e-5, "batch_size": 8}}
    write(workspace, scored("unetpp", 0.3, 5, name="slow", recipe=recipe), "slow-seed0-923456789ab")


def ties(workspace):
    for place, name in enumerate(MODELS[:3]):
        write(workspace, scored(name, 0.6, place))
    write(workspace, scored("eomt", 0.3, 9))
    write(workspace, floor("floor_colour", 0.2))


def below_floor(workspace):
    write(workspace, scored("unetpp", 0.6))
    for place, name in enumerate(("eomt", "mask2former")):
        write(workspace, scored(name, 0.1, place + 3))
    write(workspace, floor("floor_colour", 0.3))


def only_floors(workspace):
    write(workspace, floor("floor_colour", 0.3))
    write(workspace, floor("floor_majority", 0.1))


def unranked(workspace):
    for place, name in enumerate(MODELS[:2]):
        content = scored(name, 0.6, place)
        content["label_map"]["not_ranked"] = "it is an audit of codes"
        write(workspace, content)


def old_metrics(workspace):
    for place, name in enumerate(MODELS[:3]):
        write(workspace, scored(name, 0.6, place))
    write(workspace, result("eomt", 0.7))


def damaged(workspace):
    for name in MODELS[:8]:
        content = result(name, 0.5)
        del content["tracks"]["semantic"]["headline"]
        write(workspace, content, "seed0-0123456789ab")


def eight(workspace):
    """And one of everything else."""
    for place, name in enumerate(MODELS[:8]):
        write(workspace, scored(name, 0.7 - 0.04 * place, place))
    for place, name in enumerate(("sam2_v2", "sam2_v1")):
        write(workspace, scored(name, 0.7 - 0.2 * place, place, track="prompted"), "seed0-p")
    write(workspace, floor("floor_colour", 0.3))
    fail(workspace, "hf_semantic", "no weights", run="seed0-aaaaaaaaaaaa", when=time.time() - 90)
    worker(workspace, "sam2_lora/seed0-0123456789ab", 1, alive=True)


def thirty(workspace):
    for seed in range(3):
        for place, name in enumerate(MODELS):
            content = scored(name, 0.7 - 0.03 * place, 3 * place + seed, seed=seed)
            write(workspace, content, f"seed{seed}-{place}")
    write(workspace, floor("floor_colour", 0.3))


def long_names(workspace):
    for seed in range(2):
        write(workspace, scored(LONG_BACKEND, 0.6, seed, seed=seed), f"seed{seed}-0123456789ab")
    write(workspace, scored("unetpp", 0.3, 7, name=LONG_RUN), f"{LONG_RUN}-seed0-0123456789ab")
    fail(workspace, LONG_BACKEND, MEMORY, run=f"{LONG_RUN}-seed0-0123456789ac", when=time.time())


STATES = (
    *(empty, one_failed, several_failed, interrupted, running, variants, ties, below_floor),
    *(only_floors, unranked, old_metrics, damaged, eight, thirty, long_names),
)
