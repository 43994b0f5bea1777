"""Shared ranks are worked out once, and again whenever anything that they follow from differs."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from board_support import result

from benchbcss.board import model, ties
from benchbcss.results import provenance
from benchbcss.scoring.influence import mean_of_classes, of_counts
from benchbcss.scoring.metrics import Triple
from benchbcss.tracks import estimates


def by_roi(values):
    mean = sum(values) / len(values)
    return {
        "roi": [f"r{i}.png" for i in range(len(values))],
        "contribution": [v / len(values) for v in values],
        "influence": [(v - mean) / (len(values) - 1) for v in values],
        "share": [1 / len(values)] * len(values),
    }


def write(workspace, name, values):
    content = result(name, sum(values) / len(values), rois=len(values))
    content["tracks"]["semantic"]["by_roi"] = by_roi(values)
    folder = workspace / "runs" / "bcss5" / name / "seed0-x"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(content))


@pytest.fixture
def workspace(tmp_path):
    base = [0.40 + 0.01 * (i % 5) for i in range(20)]
    write(tmp_path, "good", [v + 0.2 + 0.002 * (i % 3) for i, v in enumerate(base)])
    write(tmp_path, "middle", [v + 0.03 * (-1) ** i for i, v in enumerate(base)])
    write(tmp_path, "also", base)
    return tmp_path


@pytest.fixture
def worked_out(monkeypatch):
    calls = []
    real = ties._spans
    monkeypatch.setattr(ties, "_spans", lambda rows: calls.append(1) or real(rows))
    return calls


def shared(workspace):
    return {row.name: row.tied for row in model.load(workspace).rows}


def test_a_board_says_what_compare_says_of_few_rois(tmp_path):
    """Up to twelve ROIs, signs are flipped: of the records, whose shares are rounded, as of the
    counts."""
    draw = np.random.default_rng(1)
    frame = SimpleNamespace(rois=[f"r{i}.png" for i in range(5)])
    for _ in range(300):
        true = draw.integers(1, 1000, (5, 3)) * (draw.random((5, 3)) < 0.8)
        if not true.any(0).all():
            continue
        triples = [Triple((true * share).astype(np.int64), true, true + 9) for share in (0.8, 0.3)]
        rows = []
        for triple in triples:
            parts = estimates._by_roi(frame, triple, range(3))
            mean = mean_of_classes(of_counts(triple, "per_roi"), range(3)).point[0]
            row = SimpleNamespace(by_roi=parts), round(float(mean), 12)
            rows.append(SimpleNamespace(scores=row[0], sort_value=lambda mean=row[1]: mean))
        assert not ties._apart(rows).any()  # five ROIs can tell nothing apart


def test_a_second_look_needs_no_tests(workspace, worked_out):
    first = shared(workspace)
    assert first == {"good": (1, 1), "middle": (2, 3), "also": (2, 3)}
    assert shared(workspace) == first
    assert len(worked_out) == 1


def test_a_record_that_changed_is_compared_anew(workspace, worked_out):
    shared(workspace)
    write(workspace, "also", [0.1 + 0.001 * (i % 3) for i in range(20)])
    assert shared(workspace)["also"] == (3, 3)
    assert len(worked_out) == 2


def test_edited_code_of_the_comparison_compares_anew(workspace, worked_out, monkeypatch):
    shared(workspace)
    monkeypatch.setattr(provenance, "scoring_digest", lambda: "another")
    shared(workspace)
    assert len(worked_out) == 2


def test_a_read_only_workspace_has_the_same_ranks(workspace, worked_out):
    (workspace / ".ties.memo").mkdir()
    assert shared(workspace) == shared(workspace)
    assert len(worked_out) == 2


def test_a_board_seen_before_imports_no_numpy(workspace):
    code = (
        "import sys\n"
        "from benchbcss.cli.main import cli\n"
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    words = ["leaderboard", "--workspace", str(workspace)]
    texts = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        texts.append(done.stdout.splitlines())
    assert texts[0][:-1] == texts[1][:-1]
    assert texts[0][-1] == "['numpy', 'scipy']"  # else this test would show nothing
    assert texts[1][-1] == "[]"
