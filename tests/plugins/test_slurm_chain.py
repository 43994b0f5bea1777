"""What keeps a run of Slurm going: successors and followers, and how its jobs are known."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from slurm_support import comparable, in_queue, jobs, logged, partition_down, wait_for
from tests_support import program

pytest.importorskip("submitit")

RUN = ("unetpp", "--weights", "none", "--preset", "smoke", "--slurm", "resubmit=1")


@pytest.fixture(scope="module")
def without_slurm(tmp_path_factory):
    """A folder of programs that has srun, and nothing else of Slurm."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("srun", "bash", "env"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def epochs(run_dir: Path) -> int:
    log = run_dir / "epochs.jsonl"
    return log.read_text().count("\n") if log.is_file() else 0


@pytest.mark.slurm
@pytest.mark.timeout(900)
def test_a_run_outlives_its_successors(command, without_slurm):
    """Killed more often than it was given successors: the last one submits another; where its node
    has no sbatch, the command that follows it does. Both end as one run that was killed once."""
    path = f"setup=export PATH={without_slurm}"
    with partition_down():
        (by_job,) = command.run(*RUN, "--name", "by-job")
        (by_follower,) = command.run(*RUN, "--slurm", path, "--name", "by-follower")
    follower = command.follow(*RUN, "--slurm", path, "--name", "by-follower")
    killed = {entry["run"]: 0 for entry in (by_job, by_follower)}

    def kill_twice() -> bool:
        """Each job after it was seen to get ahead."""
        for entry in (by_job, by_follower):
            run_dir, times = Path(entry["run"]), killed[entry["run"]]
            known = in_queue(jobs(entry))
            at_work = [job for job, state in known.items() if state == "RUNNING"]
            if times < 2 and at_work and epochs(run_dir) > 2 * times:
                assert not (run_dir / "result.json").exists()
                subprocess.run(["scancel", "--signal=KILL", at_work[0]], check=True)
                wait_for(lambda job=at_work[0]: job not in in_queue([job]))
                killed[entry["run"]] += 1
        return all(times == 2 for times in killed.values())

    first = jobs(by_follower)
    wait_for(kill_twice, seconds=300)
    places = [Path(entry["run"]) for entry in (by_job, by_follower)]
    wait_for(lambda: all((place / "result.json").exists() for place in places), seconds=300)
    said = follower.communicate(timeout=120)[1]
    assert follower.returncode == 0, said
    assert "submitted again as job" in said
    # two were submitted; the second submitted a third, and that a fourth, which was not needed
    assert len(jobs(by_job)) == 4
    assert not set(first) & set(jobs(by_follower))
    assert comparable(places[0]) == comparable(places[1])
    assert logged(places[0]) == logged(places[1])
    assert [record["epoch"] for record in logged(places[0])] == list(range(epochs(places[0])))


@pytest.mark.slurm
def test_jobs_are_known_that_nobody_noted(command):
    """As those of a command that was killed while it submitted."""
    with partition_down():
        (entry,) = command.run("floor_majority")
        numbers = jobs(entry)
        (Path(entry["run"]) / "submitted.json").write_text(
            json.dumps({"executor": "slurm", "jobs": []})
        )
        (state,) = json.loads(command("status", "--format", "json"))
        assert (state["state"], f"job {numbers[0]} pending" in state["detail"]) == ("queued", True)
        command.run("floor_majority")
        assert f"queued already as job {numbers[0]}" in command.said
        command("cancel", "floor_majority")
        wait_for(lambda: not in_queue(numbers))


@pytest.mark.slurm
def test_who_stops_following_is_told_that_the_jobs_go_on(command, tmp_path, monkeypatch):
    """Also where Slurm did not answer meanwhile, which costs the following nothing."""
    from pty_support import Terminal

    folder = tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("squeue")
    program(folder, "squeue", f'[ -e {tmp_path}/busy ] && exit 1; exec {real} "$@"')
    words = [*command.words("floor_majority", "floor_colour"), "--wait"]
    with partition_down():
        terminal = Terminal(
            *("-m", "benchbcss", *words),
            columns=100,
            PATH=f"{folder}{os.pathsep}{os.environ['PATH']}",
        )
        terminal.until(lambda: terminal.text.count("submitted as job") == 2)
        (tmp_path / "busy").touch()
        terminal.until(lambda: "are followed once Slurm answers" in terminal.text)
        (tmp_path / "busy").unlink()
        terminal.send("\x03")
        assert terminal.end() == 130
        said = " ".join(terminal.text.split())
        assert "no longer followed: 0 of 2 runs finished, 2 in the queue or at work, which" in said
        assert "benchbcss status" in said
        assert "benchbcss cancel NAME" in said
        assert "follow them again with:" in said
        assert "checkpoint" not in said
        states = json.loads(command("status", "--format", "json"))
        assert [state["state"] for state in states] == ["queued", "queued"]
        command("cancel", "floor_majority", "floor_colour")


def test_a_successor_is_submitted_by_the_last_only_and_while_the_run_gets_ahead(
    tmp_path, monkeypatch
):
    from benchbcss_slurm import commands, job

    from benchbcss.runs.executors.protocol import note_submission

    run_dir = tmp_path / "runs" / "suite" / "backend" / "seed0-x"
    (run_dir / "checkpoints").mkdir(parents=True)
    folder = commands.folder_of(run_dir)
    folder.mkdir()
    for suffix in ("submission.sh", "submitted.pkl"):
        (folder / f"8_{suffix}").write_text(suffix)
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs, "sbatch", f'env > {tmp_path}/env; echo "$@" > {tmp_path}/words; echo 9')
    monkeypatch.setenv("PATH", str(programs) + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("SLURM_NTASKS", "7")
    work = job.Work(run_dir)

    def submitted(job_id: str, noted: list[str], *, ahead: bool) -> bool:
        (tmp_path / "words").unlink(missing_ok=True)
        (run_dir / "checkpoints" / "last").unlink(missing_ok=True)
        note_submission(run_dir, "slurm", noted)
        if ahead:
            path = run_dir / "checkpoints" / "last"
            path.touch()
            later = (run_dir / "submitted.json").stat().st_mtime + 1
            os.utime(path, (later, later))
        monkeypatch.setenv("SLURM_JOB_ID", job_id)
        work._keep_a_successor()
        return (tmp_path / "words").exists()

    assert not submitted("8", ["8"], ahead=True)  # no successors are wanted
    assert not submitted("7", ["7", "8"], ahead=True)
    assert not submitted("8", ["7", "8"], ahead=False)
    assert submitted("8", ["7", "8"], ahead=True)
    assert "--dependency=afternotok:8" in (tmp_path / "words").read_text()
    assert "SLURM_NTASKS" not in (tmp_path / "env").read_text()
    assert commands.noted(run_dir) == ["7", "8", "9"]
    assert (folder / "9_submitted.pkl").read_text() == "submitted.pkl"
    program(programs, "sbatch", "exit 1")
    assert not submitted("8", ["7", "8"], ahead=True)
    assert commands.noted(run_dir) == ["7", "8"]
