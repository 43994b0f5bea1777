"""``benchbcss check``: does a backend keep the contract?"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import click

from benchbcss.cli import complete
from benchbcss.cli.main import format_option, recipe_option, say
from benchbcss.names import VisibleStream


@click.command()
@click.argument("backend", shell_complete=complete.backends)
@recipe_option
@format_option
def check(backend: str, overrides: tuple[str, ...], form: str) -> None:
    """Check BACKEND on a tiny phantom: shapes, ignored pixels, seeds, checkpoints, leaks."""
    from benchbcss.testing.checks import Outcome, run_checks

    with _standard_output() as out:

        def report(outcome: Outcome) -> None:
            if form == "json":
                return
            click.echo(f"{outcome.status:<8} {outcome.name} ({outcome.seconds:.1f} s)", out)
            if outcome.detail:
                click.echo(f"         {outcome.detail}", out)
            if outcome.status == "FAIL":
                click.echo(f"         hint: {outcome.hint}", out)

        outcomes = run_checks(backend, overrides=overrides, say=report)
        if form == "json":
            plain: list[dict[str, Any]] = [vars(outcome) for outcome in outcomes]
            click.echo(json.dumps(plain, indent=1), out)
    counts = Counter(outcome.status for outcome in outcomes)
    if counts["FAIL"]:
        say(f"{backend} fails {counts['FAIL']} of {len(outcomes)} checks")
        sys.exit(1)
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    say(f"{backend} keeps the contract ({counts['pass']} checks passed{skipped})")


@contextmanager
def _standard_output() -> Iterator[Any]:
    """Standard output for what the checks say; meanwhile, what a backend and the programs that it
    starts print goes to standard error."""
    given = sys.stdout
    given.flush()
    with redirect_stdout(sys.stderr):
        try:
            number = given.fileno()
        except (AttributeError, OSError, ValueError):  # closed, or no file at all
            number = -1
        if number != 1:
            yield given
            return
        kept = os.dup(1)
        os.dup2(2, 1)
        try:
            with open(os.dup(kept), "w", encoding=given.encoding, buffering=1) as plain:
                yield VisibleStream(plain)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
