"""Runs that are killed at random moments end as undisturbed; ``kills`` itself sees differences."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.fixture(scope="module")
def kills():
    import sys

    spec = importlib.util.spec_from_file_location("kills", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kills"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["kills"]


@pytest.mark.slow
def test_a_few_kills(kills, tmp_path, capsys):
    """``python benchmarks/kills.py`` does many, with a model of the SAM family too."""
    wrong = kills.kills(tmp_path, ("unetpp", "floor_colour"), [0.0], number=2, seed=1)
    assert wrong == 0, capsys.readouterr().out


@pytest.fixture
def workspace(tmp_path):
    run = tmp_path / "runs" / "kills" / "b" / "seed0-x"
    (run / "predictions").mkdir(parents=True)
    (run / "predictions" / "a.png").write_bytes(b"picture")
    (run / "result.json").write_text('{"created": "now", "tracks": {"dice": 0.5}}')
    (run / "epochs.jsonl").write_text('{"epoch": 0, "seconds": 1}\n{"epoch": 1, "seconds": 2}\n')
    (run / "files.sha256").write_text(f"{'0' * 64}  result.json\n")
    (run / "log.txt").write_text("10:00 loading")
    return tmp_path


RUN = "runs/kills/b/seed0-x"
CHANGES = {
    "a number": ("result.json", '{"created": "now", "tracks": {"dice": 0.6}}', "tracks.dice: 0.6"),
    "an epoch twice": ("epochs.jsonl", '{"epoch": 0}\n{"epoch": 0}\n{"epoch": 1}\n', "is another"),
    "an epoch lost": ("epochs.jsonl", '{"epoch": 0}\n', "is another"),
    "a picture": ("predictions/a.png", "other", "is another"),
    "a temporary file": (".0123456789abcdef.1.tmp", "half", "is left over"),
    "a file unlisted": ("files.sha256", "", "is another"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_seen(kills, workspace, change):
    before = kills.left(workspace)
    name, content, phrase = CHANGES[change]
    (workspace / RUN / name).write_text(content)
    (found,) = kills.differences(before, kills.left(workspace))
    assert name in found
    assert phrase in found


def test_a_missing_file_is_seen(kills, workspace):
    before = kills.left(workspace)
    (workspace / RUN / "predictions" / "a.png").unlink()
    assert "is missing" in kills.differences(before, kills.left(workspace))[0]


def test_times_are_no_difference(kills, workspace):
    before = kills.left(workspace)
    run = workspace / RUN
    (run / "result.json").write_text('{"created": "later", "tracks": {"dice": 0.5}}')
    (run / "epochs.jsonl").write_text('{"epoch": 0, "seconds": 3}\n{"epoch": 1, "seconds": 4}\n')
    (run / "log.txt").write_text("11:00 loading")
    assert kills.differences(before, kills.left(workspace)) == []
