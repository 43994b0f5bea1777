"""The entry point: a group whose commands are imported only when they are called."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import io
import math
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import click
from click.shell_completion import CompletionItem

from benchbcss import defaults, garbage, leaving, registry
from benchbcss.cli import complete
from benchbcss.contract import TRACKS
from benchbcss.errors import BenchError
from benchbcss.names import VisibleStream, visible

#: set by a shell that asks what may follow (see ``benchbcss completion``)
COMPLETE_VARIABLE = "_BENCHBCSS_COMPLETE"


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


class Positive(click.FloatRange):
    """A number above 0, or from ``least`` on, up to ``most``; NaN is none, which no bound
    refuses."""

    def __init__(self, most: float, least: float = 0) -> None:
        super().__init__(min=least, max=most, min_open=not least)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="benchbcss")
def cli() -> None:
    """Which segmentation model really works on BCSS: per class, with intervals."""


def workspace_option(command: Any) -> Any:
    """--workspace, shared by every command that reads or writes results."""
    return click.option(
        "--workspace",
        type=click.Path(file_okay=False, path_type=Path),
        default=defaults.WORKSPACE,
        envvar=defaults.WORKSPACE_VARIABLE,
        show_default=True,
        help="Where runs, decoded images and the phantom are kept.",
    )(command)


def format_option(command: Any) -> Any:
    """--format table or json, passed as ``form``."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        help="Output format.",
    )(command)


def runs_of_suite_option(command: Any) -> Any:
    """--suite, of commands that show a workspace's runs: a name, or the suite's file."""
    suite = click.option("--suite", shell_complete=complete.suites, help="Only runs of this suite.")
    return suite(_of_suite_with_runs(command))


def _of_suite_with_runs(command: Any) -> Any:
    """``command`` with the name of the suite that was asked for, as ``run`` takes it; refused where
    others have runs and it has none."""

    @functools.wraps(command)
    def named(*arguments: Any, suite: str | None, workspace: Path, **others: Any) -> Any:
        if suite is not None:
            from benchbcss.results.index import suite_with_runs

            suite = suite_with_runs(workspace, suite)
        return command(*arguments, suite=suite, workspace=workspace, **others)

    return named


def one_table_options(command: Any) -> Any:
    """--suite and --track, of commands that show a leaderboard's tables."""
    track = click.option("--track", type=click.Choice(TRACKS), help="Only this track.")
    suite = click.option("--suite", shell_complete=complete.suites, help="Only this suite.")
    return suite(track(command))


def one_seed_option(command: Any) -> Any:
    """--seed, of commands that rank each seed of a model as a row of its own."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        help="Only runs of this seed, ranked among themselves.",
    )(command)


def recipe_option(command: Any) -> Any:
    """--set of one backend, passed as ``overrides``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY.PATH=VALUE",
        help="Override a value of the recipe.",
    )(command)


def split_option(command: Any) -> Any:
    """--split, of commands that put data under a suite."""
    return click.option(
        "--split",
        shell_complete=complete.files,
        help="official, brief (official with 21 training ROIs held out for validation), eva, or a "
        "CSV with the columns filename,split.",
    )(command)


def say(text: str) -> None:
    """A message to the user: on stderr, so that stdout stays data."""
    click.echo(text, err=True)


def main() -> None:
    """Run the command line; BenchErrors, and disks that refuse, become one line and an exit code.

    What is written to a terminal comes partly from files of strangers: control characters in it
    are shown, not obeyed.
    """
    garbage.own_process()
    gc.set_threshold(50_000)  # what a start makes stays, and is not worth looking through often
    _fill_descriptors()
    sys.stdout, sys.stderr = _stream(sys.stdout), _stream(_Unheard(sys.stderr))
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        code = 1
    except OSError as error:
        code = 1
        from benchbcss.io import sentence

        say(f"error: {visible(sentence(error))}")
    _close()
    if leaving.left_over():  # of a plugin's code
        leaving.soon(code, patience=5.0)
    sys.exit(code)


def _run() -> int:
    """The exit code."""
    try:
        # BENCHBCSS_TRACEBACK=1 is for developers: the whole traceback instead of one line.
        cli.main(standalone_mode=False, complete_var=COMPLETE_VARIABLE)
    except click.exceptions.Exit as done:
        return done.exit_code
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        say(usage.getvalue().rstrip("\n"))
        return 2
    except (click.Abort, KeyboardInterrupt):
        say("interrupted; what is finished is kept")
        return 130
    except BenchError as error:
        if os.environ.get("BENCHBCSS_TRACEBACK"):
            raise
        say(f"error: {error}")
        return error.exit_code
    except Exception as error:
        blamed = None if isinstance(error, OSError) else registry.load().blamed(error)
        if blamed is None or os.environ.get("BENCHBCSS_TRACEBACK"):
            raise
        say(f"error: {blamed}. BENCHBCSS_TRACEBACK=1 shows the traceback.")
        return 1
    return 0


class _Closed(io.TextIOBase):
    """In place of a stream that was closed before the program began (cron, ``>&-``)."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed", "standard output")


class _Unheard:
    """A stream of messages: where nobody reads them, what was asked for is done all the same."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = _Closed() if stream is None else stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _fill_descriptors() -> None:
    """Where a standard stream is closed, no file of ours may take its number: what a library or a
    child prints would go into it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def _stream(stream: Any) -> Any:
    return VisibleStream(_Closed() if stream is None else stream)  # type: ignore[arg-type]


def _close() -> None:
    """So that the interpreter does not complain, at its end, of a stream that refuses."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
