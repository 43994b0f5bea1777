"""One line per epoch, whatever happened in between."""

import json

import pytest

from benchbcss.errors import RunError
from benchbcss.training.log import EpochLog


def epochs(path):
    return [json.loads(line)["epoch"] for line in path.read_text().splitlines()]


def test_it_is_cut_back_to_what_the_checkpoint_knows(tmp_path):
    log = EpochLog(tmp_path / "epochs.jsonl")
    records = [{"epoch": epoch, "loss": 0.1 * epoch} for epoch in range(5)]
    for record in records:
        log.append(record)
    before = log.path.read_text().splitlines()
    log.restart(records[:3])
    assert log.path.read_text().splitlines() == before[:3]
    log.append(records[3])
    assert log.path.read_text().splitlines() == before[:4]


def test_a_line_torn_by_a_kill_does_not_stay(tmp_path):
    log = EpochLog(tmp_path / "epochs.jsonl")
    log.append({"epoch": 0})
    with open(log.path, "a") as handle:
        handle.write('{"epoch": 1, "lo')
    log.restart([{"epoch": 0}])
    assert epochs(log.path) == [0]


def test_not_a_number_is_refused_before_anything_is_written(tmp_path):
    log = EpochLog(tmp_path / "epochs.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        log.append({"epoch": 0, "loss": float("nan")})
    assert not log.path.exists()


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    log = EpochLog(tmp_path / "missing" / "epochs.jsonl")
    with pytest.raises(RunError, match=r"missing/epochs.jsonl cannot be written"):
        log.append({"epoch": 0})
