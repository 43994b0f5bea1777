"""Start-up: commands against a Python that does nothing and one that imports click."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.speed.timing import OURS, Case

COMMANDS = (["--help"], ["backends"], ["suites"], ["leaderboard"], ["status"])


def _run(*arguments: str) -> str:
    outcome = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert outcome.returncode in (0, 2), f"{arguments}: {outcome.stderr}"
    return outcome.stdout


def case(command: list[str]) -> Case:
    def check(answers: Mapping[str, Any]) -> None:
        if command == ["--help"]:
            assert "leaderboard" in answers[OURS]

    return Case(
        f"benchbcss {' '.join(command)}",
        {
            OURS: lambda: _run("-m", "benchbcss", *command),
            "python -c pass": lambda: _run("-c", "pass"),
            "python -c 'import click'": lambda: _run("-c", "import click"),
        },
        check,
    )


def cases() -> Iterator[Case]:
    for command in COMMANDS:
        yield case(command)
