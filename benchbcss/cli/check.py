"""``benchbcss check``: does a backend keep the contract?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import click

from benchbcss import output
from benchbcss.cli import complete
from benchbcss.cli.main import format_option, recipe_option, say


@click.command()
@click.argument("backend", shell_complete=complete.backends)
@recipe_option
@format_option
def check(backend: str, overrides: tuple[str, ...], form: str) -> None:
    """Check BACKEND on a tiny phantom: shapes, ignored pixels, seeds, checkpoints, leaks."""
    from benchbcss.testing.checks import Outcome, run_checks

    with output.diverted() as out:
        first: dict[str, str] = {}  # the check that a failure was first seen in

        def report(outcome: Outcome) -> None:
            if form == "json":
                return
            click.echo(f"{outcome.status:<8} {outcome.name} ({outcome.seconds:.1f} s)", out)
            if outcome.status == "FAIL" and outcome.detail in first:
                click.echo(f"         the same as in {first[outcome.detail]}", out)
                return
            if outcome.detail:
                click.echo(f"         {outcome.detail}", out)
            if outcome.status == "FAIL":
                first[outcome.detail] = outcome.name
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
