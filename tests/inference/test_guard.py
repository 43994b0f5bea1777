"""The guard by itself: what is refused, to whom, and what stays possible under it."""

# ruff: noqa: SIM115, SIM117, PT012 - the very opening is what is tried

import importlib
import os
import sqlite3
import threading
import time

import numpy as np
import pytest

from benchbcss.errors import PluginError
from benchbcss.inference.guard import ForbiddenAccess, Guard, lifted


@pytest.fixture
def secret(tmp_path):
    folder = tmp_path / "secret"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "mask.txt").write_text("1")
    np.save(folder / "mask.npy", np.zeros(3))
    return folder


@pytest.fixture
def guard(secret):
    return Guard({secret: "the vault"})


@pytest.mark.parametrize(
    ("do", "verb"),
    [
        (lambda path: open(path / "deep" / "mask.txt"), "open"),
        (lambda path: open(path / "new.txt", "w"), "open"),
        (lambda path: open(os.fsencode(path / "deep" / "mask.txt")), "open"),
        (lambda path: os.open(path, os.O_RDONLY), "open"),
        (lambda path: open(path / "deep" / ".." / "mask.npy"), "open"),
        (lambda path: np.load(path / "mask.npy", mmap_mode="r"), "open"),
        (lambda path: np.memmap(path / "mask.npy"), "open"),
        (lambda path: list(path.rglob("*.npy")), "list"),
        (lambda path: list(os.walk(path)), "list"),
        (lambda path: os.listdir(path), "list"),
        (lambda path: os.chdir(path), "enter"),
        (lambda path: os.link(path / "mask.npy", path.parent / "a"), "link"),
        (lambda path: os.symlink(path / "mask.npy", path.parent / "b"), "link"),
        (lambda path: (path / "mask.npy").rename(path.parent / "c"), "rename"),
        (lambda path: (path / "mask.npy").unlink(), "delete"),
        (lambda path: (path / "more").mkdir(), "create"),
        (lambda path: os.truncate(path / "mask.npy", 0), "change"),
        (lambda path: sqlite3.connect(path / "deep" / "mask.txt"), "open"),
    ],
)
def test_whatever_touches_a_place_is_refused_and_named(guard, secret, do, verb):
    with pytest.raises(PluginError, match=f"while looking it tried to {verb} .*in the vault"):
        with guard.up("looking"):
            do(secret)
    assert (secret / "mask.npy").stat().st_size > 3
    do_nothing = (secret / "deep" / "mask.txt").read_text()  # down again
    assert do_nothing == "1"


def test_a_relative_path_and_a_link_lead_there_too(guard, secret, monkeypatch):
    (secret.parent / "link").symlink_to(secret)
    monkeypatch.chdir(secret.parent)
    for path in ("link/mask.npy", "secret/mask.npy"):
        with pytest.raises(PluginError, match="mask.npy, which is in the vault"):
            with guard.up("looking"):
                open(path)
    descriptor = os.open(secret, os.O_RDONLY)
    with pytest.raises(PluginError, match="tried to list"), guard.up("looking"):
        os.listdir(descriptor)
    os.close(descriptor)


def test_nobody_hides_an_attempt(guard, secret):
    """Swallowed, turned into another error, or made in a thread."""

    def swallow():
        try:
            open(secret / "mask.npy")
        except BaseException:
            pass

    def turn():
        try:
            open(secret / "mask.npy")
        except BaseException as error:
            raise RuntimeError("boom") from error

    def delegate():
        thread = threading.Thread(target=swallow)
        thread.start()
        thread.join()

    for work in (swallow, turn, delegate):
        with pytest.raises(PluginError, match="tried to open .*mask.npy"), guard.up("looking"):
            work()


def test_other_errors_pass_as_they_are(guard, secret):
    with pytest.raises(KeyError, match="mine"), guard.up("looking"):
        raise KeyError("mine")
    with guard.up("looking"), pytest.raises(ForbiddenAccess):  # no Exception: not caught by one
        try:
            open(secret / "mask.npy")
        except Exception:
            pytest.fail("an Exception")
        finally:
            guard.attempts.clear()


def test_what_stays_possible(guard, secret, tmp_path):
    with guard.up("looking"):
        (tmp_path / "own.txt").write_text("weights")
        assert (tmp_path / "own.txt").read_text() == "weights"
        assert (secret / "mask.npy").exists()  # stat reads nothing
        assert "secret" in os.listdir(tmp_path)
        import sched  # noqa: F401 - a module that nothing else has loaded
    with pytest.raises(PluginError, match="start a process"), guard.up("looking"):
        os.system("true")
    inward = Guard({secret: "the vault"}, outward=False)
    with inward.up("learning"):
        assert os.system("true") == 0


def test_python_itself_stays_readable_within_a_place(tmp_path, monkeypatch):
    """Somebody's data folder is the one that their code lies in."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "late_module_of_a_plugin.py").write_text("VALUE = 3\n")
    (tmp_path / "mask.txt").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    guard = Guard({tmp_path: "the data folder"})
    with guard.up("looking"):
        assert importlib.import_module("late_module_of_a_plugin").VALUE == 3
    with pytest.raises(PluginError), guard.up("looking"):
        open(tmp_path / "mask.txt")
    guard.allow(tmp_path / "mask.txt")
    with guard.up("looking"):
        assert open(tmp_path / "mask.txt").read() == "1"


def test_the_harness_reads_where_a_plugin_asks_it_to(guard, secret):
    with guard.up("looking"):
        with lifted():
            assert (secret / "mask.npy").read_bytes()
            with pytest.raises(PluginError), guard.up("looking deeper"):  # plugin code again
                open(secret / "mask.npy")
            assert (secret / "mask.npy").read_bytes()


def test_threads_of_the_harness_go_on(guard, secret):
    """A heartbeat writes into the run folder while a plugin predicts."""
    stop, written = threading.Event(), []

    def beat():
        while not stop.wait(0.01):
            (secret / "status.json").write_text("{}")
            written.append(1)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with guard.up("looking"):
            before = len(written)
            time.sleep(0.1)
            assert len(written) > before
    finally:
        stop.set()
        thread.join()


def test_a_thread_that_guarded_code_began_is_guarded_ever_after(guard, secret):
    go, done, caught = threading.Event(), threading.Event(), []

    def wait():
        go.wait(5)
        try:
            open(secret / "mask.npy")
        except BaseException as error:
            caught.append(error)
        done.set()

    with guard.up("one call"):
        threading.Thread(target=wait, daemon=True).start()
    with pytest.raises(PluginError, match="while another call"), guard.up("another call"):
        go.set()
        done.wait(5)
    assert isinstance(caught[0], ForbiddenAccess)


def test_it_costs_next_to_nothing(guard, tmp_path):
    """A tile takes a network milliseconds at best; raising the guard takes microseconds."""

    def seconds(work, times):
        begun = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - begun) / times

    def raised():
        with guard.up("looking"):
            pass

    assert min(seconds(raised, 200) for _ in range(5)) < 1e-3
