"""Python programs in processes of their own that need not import torch anew.

A new interpreter spends seconds of processor time on importing torch and what stands on it, and a
run spends them twice, for its command and for its worker. Here a server, one for each process of
pytest, imports these libraries once and forks for each command. What is forked has the arguments,
environment, folder and streams that it is given, a registry that is not loaded yet, and plugins
that are not imported yet; it ends as an interpreter does. Workers that a command starts on this
machine are forked from it in their turn.

A fresh process is started instead where the environment differs in what a library may read when it
is imported, and always with ``BENCHBCSS_TESTS_COLD=1``. Tests whose promise is about the process
itself (what it imports, how it starts, that it is killed) start theirs with ``subprocess``.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from multiprocessing import get_context
from types import SimpleNamespace

#: environment that libraries and the interpreter read once, when they start
_EARLY = (
    *("CUDA_", "HF_", "HOME", "HUGGINGFACE", "LANG", "LC_", "MKL_", "OMP_", "OPENBLAS", "PYTHON"),
    *("PYTORCH", "TORCH", "TRANSFORMERS", "XDG_"),
)
#: commands that import none of the libraries
_LIGHT = ("--help", "backends", "cite", "leaderboard", "plugins", "show", "status", "suites")
_LIBRARIES = (
    *("torch", "torchvision.transforms.v2", "accelerate", "safetensors.torch", "pandas"),
    *("pyarrow.parquet", "scipy.stats", "scipy.ndimage", "cv2", "PIL.Image", "huggingface_hub"),
    *(
        "altair",
        "great_tables",
        "timm",
        "segmentation_models_pytorch",
        "open_clip",
        "peft",
        "sam2.build_sam",
    ),
    *("transformers.models.mask2former", "transformers.models.segformer"),
)
_HARNESS = (
    *("cli.main", "runs.planning", "runs.rehearse", "runs.worker", "runs.train", "runs.predict"),
    *("results.evaluate", "results.provenance"),
)


def run(module, arguments, environment, cwd=None):
    """``python -m MODULE ARGUMENTS``: a ``subprocess.CompletedProcess`` with text."""
    if os.environ.get("BENCHBCSS_TESTS_COLD") or _early(environment) != _early(os.environ):
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=cwd, check=False
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = _server().carry_out(
            {
                "module": module,
                "arguments": arguments,
                "environment": dict(environment),
                "cwd": str(cwd or os.getcwd()),
            },
            (out.fileno(), err.fileno()),
        )
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess([module, *arguments], code, *said)


def _early(environment):
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_EARLY) and name != "PYTHONPATH"
    }


# -- in the process of pytest ---------------------------------------------------------------------

_kept = SimpleNamespace(server=None, early=None)


def _server():
    """The server for the environment of now."""
    early = _early(os.environ)
    if _kept.server is not None and (_kept.early != early or not _kept.server.alive):
        _kept.server.end()
        _kept.server = None
    if _kept.server is None:
        _kept.server, _kept.early = _Server(), early
    return _kept.server


class _Server:
    def __init__(self):
        self._lock = threading.Lock()
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._answers = self._line.makefile("r")

    @property
    def alive(self):
        return self._process.poll() is None

    def carry_out(self, request, streams):
        """The exit status, as ``subprocess`` has it. Whatever interrupts the wait ends both."""
        with self._lock:
            pid = None
            try:
                text = json.dumps(request).encode() + b"\n"
                socket.send_fds(self._line, [text[:1]], streams)
                self._line.sendall(text[1:])
                pid = self._answer()
                return self._answer()
            except BaseException:
                if pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.end()
                raise

    def _answer(self):
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the server of tests/warm.py has ended; standard error may say why")
        return int(line)

    def end(self):
        self._process.kill()
        self._process.wait()
        self._line.close()


# -- in the server --------------------------------------------------------------------------------


def _warm():
    """Import; what is not installed is left to whoever needs it."""
    for name in (*_LIBRARIES, *(f"benchbcss.{name}" for name in _HARNESS)):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from benchbcss import registry

    assert not registry.load.cache_info().currsize


def _serve(line):
    """Fork for each request; returns in the fork, and None at the end."""
    warm = False
    while True:
        request, streams = _request(line)
        if request is None:
            return None, ()
        if not warm and (request["arguments"] or ["--help"])[0] not in _LIGHT:
            _warm()
            gc.freeze()  # forks share what is not collected
            warm = True
        pid = os.fork()
        if not pid:
            line.close()
            return request, streams
        for number in streams:
            os.close(number)
        line.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _request(line):
    first, received, _, _ = socket.recv_fds(line, 1, 2)
    if not first:
        return None, ()
    parts = [first]
    while not parts[-1].endswith(b"\n"):
        parts.append(line.recv(1 << 16))
    return json.loads(b"".join(parts)), received


def _become(request, streams, base):
    """This process gets what ``request`` says, as a new interpreter would."""
    for number, given in enumerate(streams, 1):
        os.dup2(given, number)
        os.close(given)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [request["cwd"], *filter(None, given), *base]
    sys.argv[1:] = request["arguments"]
    _streams()
    importlib.invalidate_caches()
    tempfile.tempdir = None
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "benchbcss.runs.worker" in sys.modules:
        _fork_workers()


def _fork_workers():
    """In this process, workers and rehearsals are forks."""
    from benchbcss.runs import rehearse
    from benchbcss.runs.executors import local

    local.subprocess = SimpleNamespace(
        Popen=_Worker, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT
    )
    rehearse.subprocess = SimpleNamespace(run=_rehearse)


def _streams():
    """Those of Python on the descriptors of now."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _writes_to(1)
    sys.stderr = _writes_to(2, line_buffering=True, errors="backslashreplace")


def _writes_to(descriptor, **options):
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    binary = open(descriptor, "wb", buffering=0 if at_once else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(binary, write_through=at_once, **options)


def _end(program):
    """Carry ``program`` out and leave: an interpreter that has imported torch needs more than a
    second to take itself apart."""
    code = 1
    try:
        program()
        code = 0
    except SystemExit as left:
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _work(command, streams, environment, leads):
    """Be ``command``, ``python -m MODULE ...``; ``leads`` a session of its own or not."""
    if leads:
        os.setsid()
    for number, given in enumerate(streams):
        os.dup2(given, number)
    os.environ.clear()
    os.environ.update(environment)
    _streams()
    words = command[command.index("-m") + 1 :]
    sys.argv[1:] = words[1:]
    sys.modules.pop(words[0])  # it is run as a program
    runpy.run_module(words[0], run_name="__main__")


class _Worker:
    """What the executor needs of a ``Popen``, of a fork."""

    def __init__(self, command, *, stdin, stdout, stderr, start_new_session, env):
        assert (stdin, stderr) == (subprocess.DEVNULL, subprocess.STDOUT)
        with open(os.devnull) as nothing:
            streams = (nothing.fileno(), stdout.fileno(), stdout.fileno())
            self._process = get_context("fork").Process(
                target=_work, args=(command, streams, env, start_new_session)
            )
            self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self):
        self._process.join()
        return self._process.exitcode


def _rehearse(command, *, input=None, stdout=None, stderr=None, **options):
    """``subprocess.run`` of a rehearsal, by a fork that writes to the files ``stdout`` and
    ``stderr``; of anything else as it is."""
    if "-m" not in command:
        return subprocess.run(command, input=input, stdout=stdout, stderr=stderr, **options)
    with tempfile.TemporaryFile("w+") as asked:
        asked.write(input)
        asked.seek(0)
        streams = [file.fileno() for file in (asked, stdout, stderr)]
        arguments = (command, streams, dict(os.environ), False)
        process = get_context("fork").Process(target=_work, args=arguments)
        process.start()
        process.join()
    return subprocess.CompletedProcess(command, process.exitcode)


if __name__ == "__main__" and sys.argv[1] == "kernel":  # of Jupyter, with its arguments
    _warm()
    _fork_workers()
    del sys.argv[1]
    runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
elif __name__ == "__main__":
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    base = [path for path in sys.path[1:] if path not in given]
    request, streams = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        _become(request, streams, base)
        _end(lambda: runpy.run_module(request["module"], run_name="__main__", alter_sys=True))
