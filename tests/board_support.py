"""Records of made-up runs, and boards as text."""

from __future__ import annotations

import io
import json

from benchbcss.board.exporters import data, latex, markdown, page, terminal

EXPORTERS = {
    "table": terminal.table,
    "json": data.json,
    "csv": data.csv,
    "md": markdown.md,
    "latex": latex.latex,
    "html": page.html,
}

CLASSES = ["tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel"]


def headline(mean, half=0.1):
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    return {
        "mean": mean,
        "defined": 5,
        "of": 5,
        "mean_interval": [low, high],
        "dice": dict.fromkeys(CLASSES, mean),
        "intervals": {key: [low, high] for key in CLASSES},
    }


def result(backend, mean=0.5, track="semantic", half=0.1, rois=45, **over):
    content = {
        "schema_version": 1,
        "metrics_version": 1,
        "backend": backend,
        "floor": False,
        "seed": 0,
        "created": "2026-01-01T00:00:00Z",
        "preset": "full",
        "protocol": "native",
        "mpp": 0.3,
        "suite": {"name": "bcss5", "fingerprint": "a" * 64},
        "label_map": {"name": "bcss5", "fingerprint": "b" * 64, "not_ranked": None},
        "split": {"fingerprint": "c" * 64},
        "data": {"fingerprint": "d" * 64, "phantom": False},
        "weights": {"provenance": "random"},
        "tracks": {
            track: {
                "classes": CLASSES,
                "view": "native",
                "rois": rois,
                "rois_with_class": dict.fromkeys(CLASSES, rois),
                "effective_rois": dict.fromkeys(CLASSES, rois),
                "headline": {
                    "per_roi": headline(mean, half),
                    "pooled": headline(mean, half) if track == "semantic" else None,
                },
                "tissue": {"dice": 0.9, "skill": 0.1} if track == "semantic" else None,
                "prompting": {"strategy": "box"} if track == "prompted" else None,
                "criteria": [
                    {
                        "metric": "mean_dice",
                        "label": "mean_dice >= 0.65",
                        "status": "pass",
                        "reason": "r",
                        "point": "0.5",
                    }
                ],
            }
        },
    }
    content.update(over)
    return content


def write(workspace, content, run="seed0-x"):
    folder = workspace / "runs" / content["suite"]["name"] / content["backend"] / run
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def fail(workspace, backend, reason="killed", run="seed0-y", when=None, suite="bcss5"):
    """A run without a result; ``when`` it last gave a sign of life."""
    folder = workspace / "runs" / suite / backend / run
    folder.mkdir(parents=True)
    (folder / "failure.json").write_text(json.dumps({"reason": reason, "stage": "training"}))
    if when is not None:
        (folder / "status.json").write_text(json.dumps({"stage": "training", "time": when}))
    return folder


def criteria(**verdicts):
    """Criteria as old records hold them, for a suite that is not installed."""
    return [
        {"metric": name, "label": f"{name} >= {bound}", "status": "pass", "reason": "r"}
        for name, bound in verdicts.items()
    ]


def shown(board, exporter="table", *sections):
    """What an exporter writes of ``board``."""
    board.sections = frozenset(sections)
    stream = io.StringIO()
    EXPORTERS[exporter](board, stream)
    return stream.getvalue()
