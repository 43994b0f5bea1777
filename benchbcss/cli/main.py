"""The entry point: a group whose commands are imported only when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from benchbcss.errors import BenchError

COMMANDS = {
    "run": ("benchbcss.cli.run", "Train, predict and score backends on a suite."),
    "evaluate": ("benchbcss.cli.evaluate", "Score a checkpoint made elsewhere, without training."),
    "leaderboard": ("benchbcss.cli.leaderboard", "Show results, verdicts and failures."),
    "compare": ("benchbcss.cli.compare", "Paired differences between backends, with intervals."),
    "score": ("benchbcss.cli.score", "Score label maps made by any other tool."),
    "rescore": ("benchbcss.cli.rescore", "Compute metrics anew from stored predictions."),
    "backends": ("benchbcss.cli.listing", "List the backends."),
    "suites": ("benchbcss.cli.listing", "List the suites."),
    "plugins": ("benchbcss.cli.listing", "List plugins, broken ones with their reason."),
    "show": ("benchbcss.cli.listing", "Show a backend's resolved recipe."),
    "new-plugin": ("benchbcss.cli.new_plugin", "Write an installable package for a new backend."),
    "check": ("benchbcss.cli.check", "Check that a backend keeps the contract."),
    "data": ("benchbcss.cli.data", "Verify a BCSS folder, show statistics, write a phantom."),
}


class Lazy(click.Group):
    """Knows its commands by name; imports one when it is used. Help imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            from benchbcss.errors import UnknownNameError

            raise UnknownNameError("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="benchbcss")
def cli() -> None:
    """Which segmentation model really works on BCSS: per class, with intervals."""


def workspace_option(command: Any) -> Any:
    """--workspace, shared by every command that reads or writes results."""
    return click.option(
        "--workspace",
        type=click.Path(file_okay=False, path_type=Path),
        default="benchbcss-workspace",
        envvar="BENCHBCSS_WORKSPACE",
        show_default=True,
        help="Where runs, decoded images and the phantom are kept.",
    )(command)


def say(text: str) -> None:
    """A message to the user: on stderr, so that stdout stays data."""
    click.echo(text, err=True)


def main() -> None:
    """Run the command line; BenchErrors become one line and their exit code."""
    try:
        # BENCHBCSS_TRACEBACK=1 is for developers: the whole traceback instead of one line.
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        say("interrupted; what is finished is kept")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except BenchError as error:
        if os.environ.get("BENCHBCSS_TRACEBACK"):
            raise
        say(f"error: {error}")
        sys.exit(error.exit_code)
