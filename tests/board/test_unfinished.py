import json
import os
import time

import pytest
from board_support import fail, result, write

from benchbcss.board import model
from benchbcss.board.unfinished import look, one_line

MADE = 1767225600  # when result() says that it was made


def test_a_failure_is_read(tmp_path):
    run = fail(tmp_path, "broken", "killed by SIGKILL", when=5.0)
    (failure,) = model.load(tmp_path).failures
    assert (failure.suite, failure.backend, failure.run) == ("bcss5", "broken", str(run))
    assert (failure.reason, failure.when, failure.stage) == ("killed by SIGKILL", 5.0, "training")
    assert failure.title == "broken seed0-y (bcss5)"


@pytest.mark.parametrize("content", ["", "[]", "{}", "torn {"])
def test_a_torn_failure_is_one_all_the_same(tmp_path, content):
    run = fail(tmp_path, "broken")
    (run / "failure.json").write_text(content)
    (failure,) = model.load(tmp_path).failures
    assert failure.reason == "failure.json cannot be read"


def test_newest_first(tmp_path):
    for when, run in ((20.0, "seed2-b"), (30.0, "seed3-c"), (10.0, "seed1-a")):
        fail(tmp_path, "broken", run=run, when=when)
    assert [f.when for f in model.load(tmp_path).failures] == [30.0, 20.0, 10.0]


@pytest.mark.parametrize(
    ("when", "other", "stays"),
    [
        (MADE - 1, {}, False),
        (MADE + 0.5, {}, False),  # within the second that the record names
        (MADE + 60, {}, True),
        (MADE - 1, {"seed": 1}, True),
        (MADE - 1, {"name": "wide"}, True),
        (MADE - 1, {"suite": {"name": "amgad5", "fingerprint": "a" * 64}}, True),
    ],
)
def test_a_fixed_run_replaces_its_failure(tmp_path, when, other, stays):
    fail(tmp_path, "a", when=when)
    write(tmp_path, result("a", **other), "seed0-fixed")
    assert bool(model.load(tmp_path).failures) is stays
    assert bool(model.load(tmp_path, track="prompted").failures) is stays  # whatever is shown


@pytest.mark.parametrize(
    ("other", "stays"),
    [({}, False), ({"preset": "smoke"}, True), ({"evaluated": True}, True)],
    ids=["the same", "a short run", "weights that were evaluated"],
)
def test_another_kind_of_run_replaces_no_failure(tmp_path, other, stays):
    run = fail(tmp_path, "a", when=MADE - 1)
    (run / "spec.json").write_text('{"seed": 0, "name": "", "preset": "full", "evaluate": null}')
    write(tmp_path, result("a", **other), "seed0-later")
    assert bool(model.load(tmp_path).failures) is stays


def test_the_specification_says_the_seed(tmp_path):
    run = fail(tmp_path, "a", run="odd", when=MADE - 1.0)
    (run / "spec.json").write_text('{"seed": 7}')
    write(tmp_path, result("a"), "seed0-x")
    assert len(model.load(tmp_path).failures) == 1
    write(tmp_path, result("a", seed=7), "seed7-x")
    assert not model.load(tmp_path).failures


def beat(tmp_path, age, pid=None, **detail):
    run = tmp_path / "runs" / "bcss5" / "a" / "seed0-x"
    run.mkdir(parents=True)
    status = {"stage": "training", "pid": pid, "time": time.time() - age, **detail}
    (run / "status.json").write_text(json.dumps(status))
    return look(run)


def test_a_run_at_work_says_where_it_is(tmp_path):
    run = beat(tmp_path, 1, epoch=2, epochs=10, step=120)
    assert (run.state, run.detail) == ("running", "training, epoch 2/10, step 120")


def test_a_slow_heartbeat_counts_while_its_process_is_here(tmp_path):
    assert beat(tmp_path, 60, pid=os.getpid(), roi=2, of=45).detail == "training, roi 2/45"
    assert look(tmp_path / "runs/bcss5/a/seed0-x").state == "running"


@pytest.mark.parametrize(
    ("age", "pid"),
    [(60, 2**22 + 1), (9999, os.getpid()), (60, "1"), (60, 0)],
    ids=["gone", "another of that number", "text", "none"],
)
def test_without_heartbeat_and_process_it_was_interrupted(tmp_path, age, pid):
    assert beat(tmp_path, age, pid).state == "interrupted"


@pytest.mark.parametrize(
    ("age", "host", "state"),
    [
        (60, "node7", "interrupted"),  # that number is of a process of ours
        (-60, "node7", "running"),  # its clock is ahead
        (-9e9, "node7", "interrupted"),
    ],
)
def test_a_process_of_another_machine_is_not_looked_for_here(tmp_path, age, host, state):
    assert beat(tmp_path, age, os.getpid(), host=host).state == state


@pytest.mark.parametrize("text", ["1e999", f"1{400 * '0'}", "NaN", "true", "-1e999", "[1]"])
def test_a_time_that_is_none_is_no_crash(tmp_path, text):
    run = tmp_path / "runs" / "bcss5" / "a" / "seed0-x"
    run.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    (run / "status.json").write_text(f'{{"stage": "training", "pid": 1, "time": {text}}}')
    assert look(run).detail == "starting"


def test_an_interrupted_run_that_finished_later_is_gone(tmp_path):
    beat(tmp_path, time.time() - MADE + 100)
    assert model.load(tmp_path).unfinished
    write(tmp_path, result("a"), "seed0-again")
    assert not model.load(tmp_path).unfinished


def test_a_run_that_has_not_begun(tmp_path):
    run = tmp_path / "runs" / "bcss5" / "a" / "seed0-x"
    run.mkdir(parents=True)
    assert look(run) is None
    (run / "spec.json").write_text("{}")
    assert look(run).state == "running"  # its worker may be importing torch
    os.utime(run / "spec.json", (1, 1))
    assert look(run).state == "interrupted"


def test_a_message_of_many_lines_becomes_one():
    missing = "\n".join(f"\tMissing key encoder.layers.{i}.weight" for i in range(2000))
    text = one_line("\n  RuntimeError: Error(s) in\tloading:\n" + missing)
    first = "RuntimeError: Error(s) in loading:"
    assert text == f"{first} Missing key encoder.layers.0.weight"
    assert one_line(first) == first
    assert len(one_line("x" * 63_000)) == 300
    assert one_line("") == "no reason was recorded"
