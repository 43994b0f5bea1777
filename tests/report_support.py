"""Workspaces for the report: label maps spoilt more and more are scored as the rows of models, and
their records say what trained models' would."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from benchbcss.board import model
from benchbcss.data.phantom import generate
from benchbcss.report import page
from benchbcss.runs import external, planning
from benchbcss.training.stability import Course, Floor, judge

#: of codes in the phantom's masks -> labels of bcss5; others are 'other', 0 where ignored
_LABELS = {1: 0, 2: 1, 3: 2, 4: 3, 18: 4}


def data_of(folder, rois, size=96):
    """``rois`` test ROIs and three others, turned and mirrored from six of the phantom."""
    generate(folder / "few", rois=6, size=size, seed=5)
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    few = sorted((folder / "few" / "masks").iterdir())
    lines = ["filename,split"]
    for index in range(rois + 3):
        source = few[index % len(few)]
        site = "AB"[index % 2]
        name = f"TCGA-{site}{index % 5}-P{index:03d}-DX1_xmin1_ymin1_MPP-0.2500.png"
        for kind in ("images", "masks"):
            array = np.asarray(Image.open(folder / "few" / kind / source.name))
            turned = np.rot90(array, index // len(few))
            turned = turned if (index // len(few)) % 8 < 4 else turned[:, ::-1]
            Image.fromarray(np.ascontiguousarray(turned)).save(folder / "data" / kind / name)
        lines.append(
            f"{name},{'test' if index < rois else ['train', 'train', 'val'][index - rois]}"
        )
    (folder / "data" / "splits.csv").write_text("\n".join(lines) + "\n")
    return folder / "data"


def prepared(data, workspace):
    suite, preset = planning.choose_suite("phantom", data, "smoke")
    suite = suite.model_copy(update={"phantom": None})
    return planning.prepare(
        suite,
        preset,
        folder=data,
        split=str(data / "splits.csv"),
        workspace=workspace,
        say=lambda text: None,
    )


def rows(workspace, data, **spoilt):
    """Score a row for each ``name=share``: truth in which that share of blocks has any class. The
    run folders by name."""
    ready = prepared(data, workspace)
    folders = {}
    for seed, (name, share) in enumerate(spoilt.items()):
        rng = np.random.default_rng(seed)
        maps = workspace / "maps" / name
        maps.mkdir(parents=True)
        for roi in ready.split.test:
            codes = np.asarray(Image.open(data / "masks" / roi))
            labels = np.full(codes.shape, 5, np.uint8)
            for code, label in _LABELS.items():
                labels[codes == code] = label
            blocks = tuple(-(-side // 12) for side in labels.shape)
            wrong = rng.random(blocks) < share * rng.uniform(0.5, 1.5)
            other = np.kron(rng.integers(0, 6, blocks), np.ones((12, 12), int))
            where = np.kron(wrong, np.ones((12, 12), int)).astype(bool)
            height, width = labels.shape
            labels = np.where(where[:height, :width], other[:height, :width], labels)
            Image.fromarray(labels.astype(np.uint8)).save(maps / roi)
        scored = external.score(
            maps, ready, name=name, numbering="labels", workspace=workspace, replace=False
        )
        folders[name] = scored.run_dir
    return folders


def change(run_dir, **fields):
    """Write other ``fields`` into a record."""
    path = run_dir / "result.json"
    content = json.loads(path.read_text())
    content.update(fields)
    path.write_text(json.dumps(content))


def trained(run_dir, values, start=0.1, floor=0.15, log=True):
    """A record as of a model whose validations were ``values``, one per epoch."""
    epochs = list(range(1, len(values) + 1))
    losses = [2.0 / epoch for epoch in epochs]
    course = Course(epochs, values, start, losses, [1.0] * len(values), epochs_run=len(values))
    verdict = judge(course, Floor(floor))
    best = int(np.argmax(values))
    change(
        run_dir,
        training={
            "trained": True,
            "steps": 10 * len(values),
            "batch_size": 2,
            "monitor": "perclass_dice",
            "best_step": 10 * (best + 1),
            "best_validation": values[best],
        },
        stability={
            "status": verdict.status,
            "reason": verdict.reason,
            "note": verdict.note,
            "evidence": verdict.evidence,
        },
        cost={
            "device": "cpu",
            "train_seconds": 60.0 * len(values),
            "inference_seconds": {"semantic": 5.0},
            "peak_host_bytes": 10**9,
        },
        parameters={"total": 10**7, "trainable": 10**7},
    )
    if log:
        lines = [
            {
                "epoch": epoch - 1,
                "step": 10 * epoch,
                "loss": {"loss": loss},
                "val_mean_dice": value,
                "val_any_tissue_dice": 0.8,
            }
            for epoch, value, loss in zip(epochs, values, losses, strict=True)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run_dir / "epochs.jsonl").write_text(text)
    return verdict


def html(workspace, **options):
    return page.html(model.load(workspace, **options))


def table(workspace):
    """The first table of a board."""
    return model.load(workspace).tables[0]
