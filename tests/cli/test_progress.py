"""What a user sees of work under way, in a real terminal and in a pipe."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pty_support import Terminal

from benchbcss.cli import progress

PROGRAM = Path(__file__).with_name("shown_progress.py")
LONG = "mask2former_with_a_long_name"
TRAINING = {
    **{"stage": "training", "done": 120, "total": 300, "unit": "step", "rate": 3.4, "left": 52.9},
    **{"epoch": 3, "epochs": 10, "loss": "0.4321", "val": "0.5123", "tissue": "0.7812"},
}
PREDICTING = {
    **{"stage": "predicting", "track": "wide", "done": 12, "total": 45, "unit": "ROI"},
    **{"rate": 0.7, "left": 45},
}
VALIDATING = {**TRAINING, "part": "validating 3/8 ROIs", "rate": 0.4, "left": 3452.9}
THREE = [
    ["expect", "unetpp", LONG, "sam2_v3", "transunet"],
    ["watch", "unetpp", TRAINING],
    ["watch", LONG, VALIDATING],
    ["watch", "sam2_v3", PREDICTING],
    ["mark", "now"],
]


def terminal(folder, script, **options):
    (folder / "script.json").write_text(json.dumps(script))
    return Terminal(PROGRAM, folder / "script.json", **options)


def screen(folder, script, **options):
    shown = terminal(folder, script, **options)
    lines = shown.look(folder / "now")
    assert shown.end() == 0
    return lines


def piped(folder, script, **environment):
    (folder / "script.json").write_text(json.dumps(script))
    done = subprocess.run(
        [sys.executable, PROGRAM, folder / "script.json"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    )
    assert "\r" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done


def test_several_runs_in_80_columns(tmp_path):
    """Rate, time remaining and total of each, and how all stand."""
    lines = screen(tmp_path, THREE)
    assert lines[0].startswith("unetpp ")
    assert lines[0].endswith("  120/300 steps  3.4 steps/s   0:53 left")
    assert lines[1] == "  epoch 3/10, loss 0.4321, val Dice 0.5123, any tissue (misleading) 0.7812"
    assert "  validating 3/8 ROIs  " in lines[2]
    assert lines[2].endswith("  2.5 s/step  57:33 left")
    assert lines[4].endswith("   12/45 ROIs    1.4 s/ROI   0:45 left")
    assert lines[5].startswith("0 of 4 runs ended, 3 at work, 1 queued, 0:0")
    assert "━" in lines[0]
    assert len(lines) == 6


@pytest.mark.parametrize("columns", [40, 44, 52, 60, 72, 80, 96, 120])
def test_no_line_wraps_and_no_number_is_cut(tmp_path, columns):
    """Each line is drawn once, in one row, whatever the width."""
    lines = screen(tmp_path, THREE, columns=columns)
    assert len(lines) == 6
    assert max(map(len, lines)) < columns
    assert "0:53" in lines[0]
    assert "57:33" in lines[2]
    whole = ("epoch 3/10", "loss 0.4321", "val Dice 0.5123", "any tissue (misleading) 0.7812")
    shown = lines[1].strip().split(", ")
    assert shown == list(whole[: len(shown)])
    assert len(shown) >= (4 if columns >= 80 else 2)
    assert columns < 120 or LONG in lines[2]


def test_few_lines_of_a_low_terminal(tmp_path):
    names = [f"run{i}" for i in range(20)]
    script = [["expect", *names], *(["watch", name, TRAINING] for name in names[:12])]
    lines = screen(tmp_path, [*script, ["mark", "now"]], lines=8)
    assert lines[-2:] == ["and 7 more", lines[-1]]
    assert lines[-1].startswith("0 of 20 runs ended, 12 at work, 8 queued")
    assert len(lines) == 7
    assert "loss" not in "".join(lines)


def test_what_is_printed_meanwhile_stands_above_in_whole_lines(tmp_path):
    hostile = "boom \x1b[2J\x1b[99A\x07"
    script = [
        ["expect", "a", "b"],
        [
            "log",
            "a",
            f"warning: {hostile}\nsomething else\nnote: continuing at step 120 of 300\nwarn",
        ],
        ["watch", "a", TRAINING],
        ["stderr", "a plugin's "],
        ["watch", "a", PREDICTING],
        ["stderr", f"warning {hostile}\nsecond\n"],
        ["stdout", "x" * 100 + "\n"],
        ["log", "a", "ing: late\n"],
        ["watch", "a", PREDICTING],
        ["mark", "now"],
        ["ended", "a", "failed"],
        ["stderr", "unfinished"],
    ]
    shown = terminal(tmp_path, script)
    safe = "boom \\x1b[2J\\x1b[99A\\x07"
    above = [
        f"a: warning: {safe}",
        "a: note: continuing at step 120 of 300",
        f"a plugin's warning {safe}",
        "second",
        "x" * 80,
        "x" * 20,
        "a: warning: late",
    ]
    lines = shown.look(tmp_path / "now")
    assert lines[:-2] == above
    assert lines[-2].startswith("a  predicting wide  ")
    assert shown.end() == 0
    assert shown.text.splitlines() == [*above, "unfinished"]  # the bars are gone
    assert b"\x1b[?25l" not in shown.sent  # a cursor that is hidden may stay so


def test_warnings_of_a_run_are_bounded(tmp_path):
    script = [
        ["expect", "a"],
        ["log", "a", "".join(f"warning: {i}\n" for i in range(5000))],
        ["watch", "a", TRAINING],
        ["log", "a", "warning: late\n"],
        ["ended", "a", "done"],
    ]
    lines = [line for line in piped(tmp_path, script).stderr.splitlines() if "warning: " in line]
    assert lines == [f"a: warning: {i}" for i in range(progress.SHOWN)]
    assert "a: more of them in " in piped_again(tmp_path, script)


def piped_again(folder, script):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    return piped(folder, script).stderr


def test_the_log_of_an_attempt_before_is_not_shown_again(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("warning: old\n")
    watched = progress.Log(log)
    assert watched.new() == []
    with open(log, "a") as handle:
        handle.write("warning: new\n")
    assert watched.new() == ["warning: new"]
    log.write_text("note: anew\n")  # --fresh set the old folder aside
    assert watched.new() == ["note: anew"]


def test_an_error_leaves_the_terminal_as_it_was(tmp_path):
    shown = terminal(tmp_path, [*THREE[:-1], ["raise", "boom"]])
    assert shown.end() == 1
    lines = shown.text.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "RuntimeError: boom"


def test_interrupted_the_bars_go_away(tmp_path):
    shown = terminal(tmp_path, [*THREE[:-1], ["count", 1000, 0.1]])
    shown.until(lambda: "reading" in shown.text)
    shown.send("\x03")
    assert shown.end() in (1, -signal.SIGINT)
    assert shown.text.splitlines()[-1] == "KeyboardInterrupt"
    assert "at work" not in shown.text


def test_a_terminal_that_changes_its_size(tmp_path):
    script = [*THREE, ["watch", "unetpp", TRAINING], ["watch", LONG, VALIDATING], ["mark", "now"]]
    shown = terminal(tmp_path, script, columns=100)
    shown.until((tmp_path / "now").exists)
    shown.resize(60)
    (tmp_path / "now").unlink()
    lines = shown.look(tmp_path / "now")
    assert shown.end() == 0
    assert lines[-1].startswith("0 of 4 runs ended")
    assert max(map(len, lines)) < 60
    assert shown.text == ""


def test_no_colour_is_no_colour(tmp_path):
    colours = []
    for given in (None, "1"):
        folder = tmp_path / str(given)
        folder.mkdir()
        shown = terminal(folder, THREE, NO_COLOR=given, TERM="xterm-256color")
        shown.look(folder / "now")
        shown.end()
        colours.append(b"\x1b[38;5;" in shown.sent or b"\x1b[3" in shown.sent)
    assert colours == [True, False]


def test_a_terminal_without_unicode(tmp_path):
    lines = screen(tmp_path, THREE, columns=70, PYTHONIOENCODING="ascii")
    assert all(line.isascii() for line in lines)
    assert "..." in lines[2]
    assert "\\u" not in "".join(lines)


def test_this_commands_own_counts(tmp_path):
    shown = terminal(tmp_path, [["count", 8, 0.2], ["stderr", "read\n"]])
    shown.until(lambda: "ROIs/s" in shown.text)
    assert shown.lines[0].startswith("reading  ━")
    assert "/8 ROIs" in shown.lines[0]
    assert shown.end() == 0
    assert shown.text == "read"


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_redraw_is_given_lines(tmp_path, term):
    shown = terminal(tmp_path, [*THREE[:-1], ["ended", "unetpp", "done"]], columns=200, TERM=term)
    assert shown.end() == 0
    assert b"\x1b" not in shown.sent
    lines = shown.text.splitlines()
    assert lines[0] == (
        "  unetpp: training, 120/300 steps, 3.4 steps/s, 0:53 left, epoch 3/10, loss 0.4321, "
        "val Dice 0.5123, any tissue (misleading) 0.7812"
    )
    assert lines[2] == "  sam2_v3: predicting wide, 12/45 ROIs, 1.4 s/ROI, 0:45 left"


def test_lines_in_a_pipe_are_bounded(monkeypatch, capsys):
    """Ten a stage, however often it is asked; validation in between begins no stage anew."""
    lines = progress.Lines()
    for epoch in range(1, 1001):
        for part in ("", "validating 1/2 ROIs"):
            status = {**TRAINING, "done": epoch, "total": 1000, "epoch": epoch, "part": part}
            lines.update("a", progress.Row("a", progress.Heartbeat.of(status)))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 11
    assert [line.split(", ")[1] for line in said] == [
        f"{n}/1000 steps" for n in (1, *range(100, 1001, 100))
    ]


def test_quick_stages_of_a_command_say_nothing_in_a_pipe(tmp_path, monkeypatch, capsys):
    assert piped(tmp_path, [["count", 20, 0.0]]).stderr == ""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = progress.Lines()
    for _ in lines.counted(range(100), doing="reading"):
        now[0] += 3
    said = capsys.readouterr().err.splitlines()
    assert 5 <= len(said) <= 10
    assert said[0].startswith("  reading, 10/100 ROIs, 3.0 s/ROI, ")
    assert said[0].endswith(" left")


def test_standard_output_that_is_no_terminal_is_left_alone(tmp_path):
    """--format json > FILE: the bars are on standard error, the data in the file."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps([*THREE[:-1], ["stdout", '{"a": 1}\n']]))
    program = f"exec {sys.executable} {PROGRAM} {script} > {tmp_path / 'out'}"
    shown = Terminal("-c", f"import os; os.execv('/bin/sh', ['sh', '-c', {program!r}])")
    assert shown.end() == 0
    assert (tmp_path / "out").read_text() == '{"a": 1}\n'
    assert b"steps" in shown.sent


def test_drawing_is_rare_however_often_it_is_asked(tmp_path, monkeypatch):
    """A picture costs a few ms of this process's time: at most four a second."""
    from benchbcss.cli import bars

    with open(tmp_path / "terminal", "w") as stream:
        shown = bars.Bars(stream)
        drawn = []
        monkeypatch.setattr(
            shown, "draw", lambda: drawn.append(setattr(shown, "_drawn", time.monotonic()))
        )
        begun = time.monotonic()
        while time.monotonic() - begun < 1:
            shown.update("a", progress.Row("a", progress.Heartbeat.of(TRAINING)))
    assert 3 <= len(drawn) <= 5
