"""What a shell is offered, by click's own protocol, and that it is offered quickly."""

import os
import shutil
import subprocess
import sys

import pytest
from pty_support import Terminal
from tests_support import cli

from benchbcss import registry

PROGRAM = "import sys; from benchbcss.cli.main import main; sys.argv[0] = 'benchbcss'; main()"


def offered(line, code=PROGRAM, **environment):
    """Names that bash is offered for the last word of ``line``, which may be begun."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "_BENCHBCSS_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    items = [line.partition(",") for line in done.stdout.splitlines()]
    return [value for kind, _, value in items if kind == "plain"], {kind for kind, _, _ in items}


@pytest.fixture
def workspace(tmp_path):
    for backend, run in (("unetpp", "seed0-123456789abc"), ("unetpp", "slow-seed0-0123456789ab")):
        folder = tmp_path / "w" / "runs" / "bcss5" / backend / run
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    (tmp_path / "w" / "runs" / "bcss5" / "unetpp" / ".seed0-1.old1").mkdir()
    return tmp_path / "w"


def test_backends_that_are_not_on_the_line_yet():
    names, _ = offered("benchbcss run ")
    assert set(names) == set(registry.load().backends)
    assert offered("benchbcss run une") == (["unetpp"], {"plain"})
    assert "unetpp" not in offered("benchbcss run unetpp ")[0]
    assert offered("benchbcss evaluate transu")[0] == ["transunet"]
    assert offered("benchbcss check transu")[0] == ["transunet"]


def test_suites_or_files():
    assert offered("benchbcss run unetpp --suite pha")[0] == ["phantom"]
    assert set(offered("benchbcss leaderboard --suite ")[0]) == set(registry.load().suites)
    assert offered("benchbcss run unetpp --suite ./my")[1] == {"file"}


def test_what_has_run(workspace):
    for command in ("compare", "runs show", "runs rm", "show-roi"):
        names, _ = offered(f"benchbcss {command} --workspace {workspace} ")
        assert names == ["slow", "unetpp", "seed0-123456789abc", "slow-seed0-0123456789ab"]
    names, _ = offered("benchbcss leaderboard un", BENCHBCSS_WORKSPACE=str(workspace))
    assert names == ["unetpp"]
    assert offered(f"benchbcss leaderboard --workspace {workspace}/no ")[0] == []


def test_commands_options_and_choices():
    assert "completion" in offered("benchbcss comp")[0]
    assert "--suite" in offered("benchbcss run --s")[0]
    assert offered("benchbcss run unetpp --executor lo")[0] == ["local"]


def test_nothing_heavy_is_imported(workspace):
    heavy = ("torch", "pandas", "numpy", "timm", "transformers", "pyarrow")
    code = PROGRAM.replace("main()", "") + (
        "\ntry:\n    main()\nfinally:\n"
        f"    print('plain,' + str([m for m in {heavy!r} if m in sys.modules]))"
    )
    for line in ("benchbcss run ", "benchbcss run unetpp --suite ", "benchbcss runs show "):
        names, _ = offered(line, code, BENCHBCSS_WORKSPACE=str(workspace))
        assert names[-1] == "[]", line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(shell, tmp_path):
    script = cli("completion", shell, check=0).stdout
    assert f"_BENCHBCSS_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that skips without the shell, else gives the file of its script; ``benchbcss`` is
    a program on the path."""
    program = tmp_path / "bin" / "benchbcss"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{PROGRAM}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))

    def script(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        path = tmp_path / f"completion.{shell}"
        path.write_text(cli("completion", shell, check=0).stdout)
        return path

    return script


def test_bash_itself_completes(installed):
    """The script, the protocol and the program together."""
    ask = "COMP_WORDS=(benchbcss run transu); COMP_CWORD=2; _benchbcss_completion benchbcss"
    done = subprocess.run(
        ["bash", "-c", f"source {installed('bash')}\n{ask}\necho offered ${{COMPREPLY[@]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "offered transunet"


@pytest.mark.parametrize("before", ["true", "autoload -Uz compinit && compinit -u"])
def test_zsh_itself_completes(installed, before):
    """Typed and completed by Tab in a terminal, whether or not .zshrc has called compinit."""
    script = installed("zsh")
    start = "import os; os.execvp('zsh', ['zsh', '-f', '-i'])"
    terminal = Terminal("-c", start, PS1="$ ", TERM="xterm")
    terminal.send(f"{before} && source {script} && echo rea''dy\n")
    terminal.until(lambda: "\nready" in terminal.text)
    for typed, wanted in (("run transu", "run transunet"), ("doct", "doctor")):
        terminal.send(f"benchbcss {typed}\t")
        terminal.until(lambda wanted=wanted: f"benchbcss {wanted}" in terminal.text)
        terminal.send("\x15")  # takes the line back
    terminal.send("exit\n")
    assert terminal.end() == 0


def test_fish_itself_completes(installed):
    script = installed("fish")
    ask = "; ".join(
        f"complete -C 'benchbcss {line}'"
        for line in ("run transu", "doct", "run unetpp --suite ph")
    )
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; {ask}"],
        capture_output=True,
        text=True,
        check=True,
    )
    offers = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert offers == ["transunet", "doctor", "phantom"]


def test_help_says_how():
    assert 'eval "$(benchbcss completion bash)"' in cli("completion", "--help", check=0).stdout
