"""Runs as jobs of Slurm. The tests marked ``slurm`` need a cluster; CI starts a real one of one
node (../shared/slurm/start-single-node)."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from runs_support import specs
from slurm_support import Command, comparable, in_queue, jobs, logged, partition_down, wait_for
from tests_support import SET_TINY_UNETPP, program

from benchbcss.errors import InputError
from benchbcss.runs.executors import Settings, run_all
from benchbcss.upkeep import machine

pytest.importorskip("submitit")
from benchbcss_slurm import commands, parameters
from benchbcss_slurm.executor import Slurm
from benchbcss_slurm.parameters import parse


def test_parameters_of_sbatch_are_handed_on_as_they_are():
    options = {
        "partition": ["gpu"],
        "time": ["2-12:00:00"],
        "cpus-per-task": ["8"],
        "gpus_per_node": ["2"],
        "reservation": ["pathology"],
        "setup": ["module load cuda", "source venv/bin/activate"],
        "resubmit": ["7"],
        "python": ["apptainer exec image.sif python"],
    }
    parameters, successors, python = parse(options)
    others = parameters.pop("additional_parameters")
    assert parameters == {
        "partition": "gpu",
        "time": "2-12:00:00",
        "cpus_per_task": 8,
        "gpus_per_node": 2,
        "setup": ["module load cuda", "source venv/bin/activate"],
    }
    assert others == {"kill-on-invalid-dep": "yes", "requeue": True, "reservation": "pathology"}
    assert (successors, python) == (7, "apptainer exec image.sif python")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dependency": ["afterok:1"]}, "set by the run itself"),
        ({"job-name": ["x"]}, "set by the run itself"),
        ({"partition": ["a", "b"]}, "only setup may be"),
        ({"gpus_per_node": ["two"]}, "whole number"),
        ({"resubmit": ["-1"]}, "whole number"),
        ({"nodes": ["0"]}, "needs a node"),
    ],
)
def test_parameters_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        parse(options)


def test_other_jobs_of_the_user_may_be_called_anything(tmp_path, monkeypatch):
    """squeue lists all of them: names of several lines, and with what parts the columns."""
    run_dir = tmp_path / "runs" / "s" / "a" / "seed0-x"
    name, script = commands.job_name(run_dir), tmp_path / "slurm" / "7_submission.sh"
    lines = [
        "3_[1-4]|PENDING|Resources|array|/home/a/x.sh",
        "4|RUNNING|None|two",
        "lines|/home/a/y.sh",
        "5|RUNNING|None|a|b|/home/a/z.sh",
        "",
        f"7|PENDING|Priority|{name}|{script}",
    ]
    monkeypatch.setattr(commands, "run", lambda command: "\n".join(lines) + "\n")
    assert commands.queued([run_dir]) == {run_dir: [("7", "PENDING", "Priority")]}


@pytest.fixture
def no_slurm(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_without_slurm_it_says_where_to_go(phantom, tmp_path, no_slurm):
    (spec,) = specs(phantom, tmp_path, ["floor_majority"])
    said = []
    (outcome,) = run_all([spec], Settings(tmp_path, said.append), executor="slurm")
    assert outcome.status == "failed"
    assert "There is no sbatch on this machine. Use a login node" in outcome.reason
    with pytest.raises(InputError, match="no sbatch"):
        Slurm(Settings(tmp_path, said.append)).script([spec])


def examined():
    (finding,) = Slurm.examine()
    return finding


def test_doctor_says_whether_slurm_answers(only_programs, monkeypatch):
    assert "no Slurm here" in examined()[1]
    program(only_programs, "sinfo", "echo 'gpu* up 4 gpu:a100:8'; echo 'cpu up 9 (null)'")
    assert "no sbatch" in examined()[1]
    program(only_programs, "sbatch", "")
    finding = examined()
    assert finding[:2] == ("ok", "Slurm answers; partitions: gpu, cpu")
    program(only_programs, "sinfo", "echo 'slurm_load_partitions: Unable to contact' >&2; exit 1")
    finding = examined()
    assert finding[0] == "problem"
    assert "slurm_load_partitions: Unable to contact" in finding[1]
    program(only_programs, "sinfo", "exec /bin/sleep 9")
    monkeypatch.setattr(machine, "PATIENCE", 0.2)
    assert "takes more than 0.2 s" in examined()[1]


# -- on a real cluster: CI starts one of one node --------------------------------------------------


@pytest.mark.slurm
def test_two_seeds_are_submitted_followed_and_kept(command):
    """One job for each; the same command again queues nothing; ``--wait`` ends with results."""
    first = command.run("floor_majority", "--seeds", "2")
    assert [entry["status"] for entry in first] == ["submitted"] * 2
    numbers = [jobs(entry) for entry in first]
    assert len({job for chain in numbers for job in chain}) == 2 * (1 + parameters.RESUBMITS)
    again = command.run("floor_majority", "--seeds", "2", "--wait")
    assert command.said.count("queued already as job") + command.said.count("already done") == 2
    assert [jobs(entry) for entry in again] == numbers
    assert {entry["status"] for entry in again} <= {"done", "kept"}
    kept = command.run("floor_majority", "--seeds", "2")
    assert [entry["status"] for entry in kept] == ["kept"] * 2
    wait_for(lambda: not in_queue([job for chain in numbers for job in chain]))  # successors left


@pytest.mark.slurm
def test_a_run_is_seen_in_the_queue_and_cancelled_there(command):
    with partition_down():
        (entry,) = command.run("floor_majority")
        numbers = jobs(entry)
        wait_for(lambda: in_queue(numbers))
        (state,) = json.loads(command("status", "--format", "json"))
        assert state["state"] == "queued"
        assert f"job {numbers[0]} pending (" in state["detail"]
        command("cancel", "floor_majority")
        assert f"job {numbers[0]} is cancelled" in command.said
        wait_for(lambda: not in_queue(numbers))
        (state,) = json.loads(command("status", "--format", "json"))
        assert state["state"] == "interrupted"
        command("cancel", "floor_majority", status=2)
        assert "benchbcss status" in command.said


STOPPED = ("unetpp", "--weights", "none", "--preset", "smoke")


def kill(job: str) -> None:
    subprocess.run(["scancel", "--signal=KILL", job], check=True)


def end_its_time(job: str) -> None:
    """By the signal that Slurm sends ahead of a limit."""
    subprocess.run(["scancel", "--signal=USR2", job], check=True)


def cancel(job: str) -> None:
    """As where pre-emption cancels and never requeues."""
    subprocess.run(["scancel", job], check=True)


def drain(job: str) -> None:
    node = ["scontrol", "update", f"nodename={os.uname().nodename}"]
    subprocess.run([*node, "state=drain", "reason=test"], check=True)
    time.sleep(2)
    subprocess.run([*node, "state=resume"], check=True)


STOPS = (kill, end_its_time, cancel, drain)


@pytest.mark.slurm
@pytest.mark.timeout(1200)
def test_a_stopped_run_goes_on_by_itself_and_ends_as_if_undisturbed(command):
    """Four runs side by side, each stopped in another way after its second epoch."""
    with partition_down():  # none is at its end before all are watched
        entries = {
            stop: command.run(*STOPPED, "--name", stop.__name__)[0]  # the same numbers
            for stop in STOPS
        }
    run_dirs = {stop: Path(entry["run"]) for stop, entry in entries.items()}
    waiting = set(STOPS)

    def stop_those_under_way() -> bool:
        for stop in sorted(waiting, key=STOPS.index):
            log = run_dirs[stop] / "epochs.jsonl"
            if log.is_file() and log.read_text().count("\n") >= 2:
                assert not (run_dirs[stop] / "result.json").exists()
                stop(jobs(entries[stop])[0])
                waiting.remove(stop)
        return not waiting

    wait_for(stop_those_under_way, seconds=600)
    command("run", *STOPPED, "--no-floors", "--device", "cpu", "--suite", str(command.suite()))
    (undisturbed,) = command.workspace.glob("runs/*/unetpp/seed0-*")
    for stop, run_dir in run_dirs.items():
        (ended,) = command.run(*STOPPED, "--name", stop.__name__, "--wait")
        assert ended["status"] in ("done", "kept"), (stop.__name__, ended)
        assert comparable(run_dir) == comparable(undisturbed)
        assert logged(run_dir) == logged(undisturbed)
    said = (run_dirs[end_its_time] / "log.txt").read_text()
    assert "stopped on request" in said
    wait_for(lambda: not in_queue([job for entry in entries.values() for job in jobs(entry)]))


@pytest.mark.slurm
def test_a_run_that_fails_for_a_reason_is_not_tried_again(command):
    """As one that a recipe has; ``afternotok`` would otherwise start it three times more."""
    words = ("unetpp", "--weights", "none", "--set", "loss.cross_entropy=0", "--set", "loss.dice=0")
    (entry,) = command.run(*words)
    run_dir = Path(entry["run"])
    wait_for(lambda: not in_queue(jobs(entry)))
    failure = json.loads((run_dir / "failure.json").read_text())
    assert "there is nothing to learn" in failure["reason"]
    assert (run_dir / "log.txt").read_text().count("] loading") == 1
    (again,) = command.run(*words, "--wait", status=1)  # the same command tries it again
    assert again["status"] == "failed"
    assert "there is nothing to learn" in again["reason"]


@pytest.mark.slurm
def test_two_processes_are_two_tasks_and_train_as_two_on_one_machine(command):
    words = ("unetpp", "--weights", "none", "--processes", "2", *SET_TINY_UNETPP)
    (entry,) = command.run(*words, "--wait")
    assert entry["status"] == "done", entry
    run_dir = Path(entry["run"])
    assert "#SBATCH --ntasks-per-node=2" in next(
        path.read_text() for path in command.workspace.glob("slurm/*submission*.sh")
    )
    local = Command(command.workspace.with_name("local"))
    local("run", *words, "--no-floors", "--device", "cpu", "--suite", str(command.suite()))
    (other,) = local.workspace.glob("runs/*/unetpp/*/result.json")
    assert comparable(run_dir)["training"]["processes"] == 2
    assert comparable(run_dir) == comparable(other.parent)
