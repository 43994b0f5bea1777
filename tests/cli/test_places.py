"""Places that cannot hold what a command reads or writes, and streams that nobody reads: every
command answers in one sentence, with the right exit code."""

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from probe_support import Refusing, become, fault_of, invoke, no_charts  # noqa: F401 - used by all
from runs_support import finished_run


@pytest.fixture(scope="module")
def original(phantom, tmp_path_factory):
    """A workspace with a run of each track, and a folder of predictions."""
    folder = tmp_path_factory.mktemp("original")
    finished_run(phantom, folder / "w", "floor_box_fill")
    _, _, run_dir = finished_run(phantom, folder / "w", "floor_colour")
    shutil.copytree(run_dir / "predictions" / "semantic", folder / "mine")
    return folder


@pytest.fixture(scope="module")
def mounted(original, tmp_path_factory):
    """``mounted(full=..., read_only=...)``: a copy of it on a disk of its own."""
    mounts = []

    def mount(**kind):
        place = tmp_path_factory.mktemp("disk")
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True
        )
        if made.returncode:
            pytest.skip("disks can be mounted by root alone")
        mounts.append(place)
        shutil.copytree(original, place, dirs_exist_ok=True)
        if kind.get("full"):
            _fill(place / "rest")
        if kind.get("read_only"):
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        return place

    yield mount
    for place in mounts:
        subprocess.run(["umount", "-l", place], check=True)


def _fill(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as rest:
        while rest.write(bytes(4096)):
            pass


def reading(workspace):
    """Commands that only read the workspace."""
    where = ("--workspace", workspace)
    for form in ("table", "json", "csv", "md", "latex", "html"):
        yield "leaderboard", "--format", form, *where
    yield "leaderboard", "--check", *where
    yield "compare", "floor_colour", "floor_colour", *where
    yield "status", *where
    yield "status", "--format", "json", *where
    yield "runs", "list", *where
    yield "runs", "show", "floor_colour", *where
    yield "runs", "clean", *where
    yield "runs", "rm", "floor_colour", *where
    yield "cancel", "floor_colour", *where
    yield "cite", *where
    yield "doctor", *where


def writing(workspace, data, predictions, output):
    """Commands that write into the workspace, or to ``output``."""
    where = ("--workspace", workspace)
    yield "leaderboard", "--output", output / "board.csv", *where
    yield "report", "--output", output / "report.html", *where
    yield "show-roi", "floor_colour", "worst", "--output", output / "roi.png", *where
    yield "runs", "show", "floor_colour", "--confusion", output / "confusion.svg", *where
    yield "rescore", *where
    yield "score", predictions, "--data", data, "--suite", "phantom", *where
    yield "data", "verify", data, *where
    yield "data", "stats", data, *where
    yield "data", "prepare", data, "--output", output / "suite.yaml", *where
    yield "data", "phantom", output / "phantom", "--rois", "3", "--size", "64"
    yield "new-plugin", "mynet", "--into", output
    for command in ("run", "evaluate"):
        more = ("--no-floors",) if command == "run" else ("--weights", "none")
        yield command, "floor_majority", *more, "--data", data, "--suite", "phantom", *where
    yield "runs", "clean", "--yes", *where
    yield "runs", "rm", "floor_colour", "--yes", *where


def faults(commands, **options):
    found = {}
    for command in commands:
        if fault := fault_of(*command, **options):
            found[" ".join(map(str, command))] = fault
    return "\n".join(f"{command}: {fault}" for command, fault in found.items())


def every(workspace, data, predictions, output):
    yield from reading(workspace)
    yield from writing(workspace, data, predictions, output)


SPECIAL = ("pipe", "socket", "dangling link", "circular link")
PLACES = {
    "file": lambda base: _file(base / "file"),
    **{shape: (lambda base, shape=shape: _shape(base / "w", shape)) for shape in SPECIAL},
    "inside a file": lambda base: _file(base / "file") / "w",
    "device": lambda base: _device(base / "null"),
    "long name": lambda base: base / ("x" * 300),
    "long path": lambda base: base.joinpath(*["x" * 200] * 25),
}


def _file(path):
    path.write_text("a file")
    return path


def _device(path):
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null is
    except PermissionError:
        pytest.skip("devices can be made by root alone")
    return path


def _shape(path, shape):
    become(path, shape)
    return path


@pytest.mark.parametrize("place", PLACES)
def test_workspaces(original, phantom, tmp_path, place, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = PLACES[place](tmp_path)
    assert not faults(every(workspace, phantom, original / "mine", tmp_path / "out"))


@pytest.mark.parametrize("place", PLACES)
def test_data_folders(original, tmp_path, place, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = PLACES[place](tmp_path)
    workspace = tmp_path / "workspace"
    commands = [
        *writing(workspace, data, original / "mine", tmp_path / "out"),
        ("doctor", "--data", data, "--workspace", workspace),
        ("score", data, "--workspace", workspace),
        ("suites", "--validate", data),
        ("run", "floor_colour", "--suite", data, "--workspace", workspace),
        ("run", "floor_colour", "--split", data, "--workspace", workspace),
        ("run", "unetpp", "--weights", data, "--workspace", workspace),
        ("score", original / "mine", "--labels", data, "--workspace", workspace),
    ]
    chosen = [command for command in commands if data in command]
    assert not faults(chosen)


@pytest.mark.parametrize("kind", ["full", "read_only"], scope="class")
class TestDisks:
    @pytest.fixture(scope="class")
    def disk(self, mounted, kind):
        return mounted(**{kind: True})

    def test_what_only_reads_is_answered(self, disk, original):
        for usual, here in zip(reading(original / "w"), reading(disk / "w"), strict=True):
            wanted, answer = invoke(*usual), invoke(*here)
            assert answer.fault() is None, here
            if here[0] != "doctor":  # it sees the disk
                assert answer.code == wanted.code, here
            if here[0] == "leaderboard":
                assert answer.out == wanted.out.replace(str(original), str(disk)), here

    def test_what_writes_is_refused(self, disk, phantom, kind):
        """And what needs no room, such as removing a run, is done."""
        commands = list(writing(disk / "w", phantom, disk / "mine", disk))
        for command in commands[:4]:
            answer = invoke(*command)
            assert answer.code == 1
            assert "cannot be written" in answer.err
            assert ("Free space" if kind == "full" else "read-only") in answer.err
        assert not faults(commands)

    def test_the_result_stands(self, disk):
        assert "floor_box_fill" in invoke("leaderboard", "--workspace", disk / "w").out


OUTPUTS = ("leaderboard", "report", "show-roi", "runs", "data")


def to_output(original, phantom, target):
    """Commands that write the file ``target``."""
    where = ("--workspace", original / "w")
    yield "leaderboard", "--output", target, "--format", "csv", *where
    yield "report", "--output", target, *where
    yield "show-roi", "floor_colour", "worst", "--output", target, *where
    yield "data", "prepare", phantom, "--output", target, *where
    chart = target.with_name(f"{target.name}.svg")
    if os.path.exists(target):
        chart.symlink_to(target.name)
    yield "runs", "show", "floor_colour", "--confusion", chart, *where


@pytest.mark.parametrize("place", [*PLACES, "missing folder", "folder"])
def test_outputs(original, phantom, tmp_path, place):
    if place == "missing folder":
        target = tmp_path / "none" / "here"
    else:
        target = PLACES.get(place, lambda base: _shape(base / "w", "folder"))(tmp_path)
    assert not faults(to_output(original, phantom, target))
    if place == "device":
        assert stat.S_ISCHR(target.lstat().st_mode)


def test_a_link_to_a_file_stays_a_link(original, tmp_path):
    link, file = tmp_path / "board.csv", tmp_path / "dated.csv"
    file.write_text("old")
    link.symlink_to(file.name)
    assert invoke("leaderboard", "--output", link, "--workspace", original / "w").code == 0
    assert link.is_symlink()
    assert "floor_colour" in file.read_text()


def test_a_pipe_with_a_reader_gets_it(original, tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        while invoke("leaderboard", "--output", pipe, "--workspace", original / "w").code:
            assert reader.poll() is None  # it has not opened it yet
        assert "floor_colour" in reader.communicate()[0]


def test_names_that_are_no_utf8(original, phantom, tmp_path):
    """Of the workspace, the data, the predictions and the output alike: all is as elsewhere."""

    def commands(base):
        shutil.copytree(original, base)
        data = shutil.copytree(phantom, base / "data")
        base.joinpath("out").mkdir()
        for command in every(base / "w", data, base / "mine", base / "out"):
            if command[0] not in ("run", "evaluate", "doctor"):
                yield command

    plain = commands(tmp_path / "plain")
    odd = commands(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff")))
    for usual, command in zip(plain, odd, strict=True):
        assert (fault_of(*usual), fault_of(*command)) == (None, None), command
        if command[:2] != ("runs", "rm"):  # it is gone the second time
            assert invoke(*command).code == invoke(*usual).code, command


REFUSALS = {
    "closed": OSError(errno.EBADF, "Bad file descriptor"),
    "left": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
}


def printing(original, phantom, tmp_path):
    yield from reading(original / "w")
    for command in writing(original / "w", phantom, original / "mine", tmp_path):
        once = command[:2] in (("data", "prepare"), ("data", "phantom"))  # refused the next time
        if not once and command[0] in ("leaderboard", "report", "show-roi", "data"):
            yield command
    for name in ("backends", "plugins", "suites"):
        yield (name,)
    yield "show", "unetpp"
    yield "completion", "bash"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_stdout_that_takes_nothing(original, phantom, tmp_path, refusal):
    for command in printing(original, phantom, tmp_path):
        quiet = invoke(*command)
        answer = invoke(*command, out=Refusing(REFUSALS[refusal]))
        assert answer.fault() is None, command
        if quiet.out:
            assert answer.code == (2 if quiet.code == 2 else 1), command
            assert ("standard output" in answer.err) == (refusal != "left"), command
        else:
            assert answer.code == quiet.code, command


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_stderr_that_takes_nothing_changes_nothing(original, phantom, tmp_path, refusal):
    for command in printing(original, phantom, tmp_path):
        heard = invoke(*command)
        unheard = invoke(*command, err=Refusing(REFUSALS[refusal]))
        assert (unheard.code, len(unheard.out)) == (heard.code, len(heard.out)), command


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", ">&- 2>&-", "<&- 2>&-"])
def test_streams_of_a_process(tmp_path, streams):
    command = f"{sys.executable} -m benchbcss leaderboard --suite none {streams}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == (1 if ">&- 2" in streams else 0)
    assert not done.stderr
