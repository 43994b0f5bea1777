"""Shared ranks are worked out once, and again whenever anything that they follow from differs."""

import json
import subprocess
import sys

import pytest
from board_support import result

from benchbcss.board import model, ties
from benchbcss.results import provenance


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
