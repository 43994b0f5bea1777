"""The entry point: a group whose commands are imported only when they are called."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from benchbcss import registry
from benchbcss.errors import BenchError

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF)


class Lazy(click.Group):
    """Knows its registered commands by name; imports one when it is used. Help imports none."""

    def list_commands(self, ctx: click.Context | None) -> list[str]:
        return list(registry.load().commands)

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        entry = registry.load().commands.get(cmd_name)
        if entry is None:
            return None
        entry.require()
        return entry.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = registry.load().commands
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.info.summary) for name, entry in commands.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args:
            registry.load().commands.find(args[0])
        return super().resolve_command(ctx, args)


class FromRegistry(click.ParamType):
    """An option whose choices are the names registered as ``kind``, asked for when they are needed;
    a misspelt one is answered with its near miss."""

    def __init__(self, kind: str) -> None:
        self.kind = self.name = kind

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "[" + "|".join(registry.load().kinds[self.kind]) + "]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return registry.load().kinds[self.kind].find(value).name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = registry.load().kinds[self.kind]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


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
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: then nobody reads it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    try:
        # BENCHBCSS_TRACEBACK=1 is for developers: the whole traceback instead of one line.
        cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        say("interrupted; what is finished is kept")
        sys.exit(130)
    except BrokenPipeError:
        _unread()
        sys.exit(1)
    except BenchError as error:
        if os.environ.get("BENCHBCSS_TRACEBACK"):
            raise
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        # A stream's error names no file. What writes files says itself which one it was.
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        say(f"error: the output cannot be written: {error.strerror}.")
        _unread()
        sys.exit(1)


def _unread() -> None:
    """Let what is left for stdout go nowhere, or Python complains of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
