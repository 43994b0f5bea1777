"""``bb.leaderboard`` and ``bb.compare`` say what the commands say."""

import csv
import io
import json
import os

import pandas as pd
import pytest
from board_support import result, write
from tests_support import cli

import benchbcss as bb
from benchbcss.errors import InputError, UnknownNameError


@pytest.fixture(scope="module")
def board(filled):
    return bb.leaderboard(workspace=filled / "w")


def test_printed_it_is_the_commands_text(filled, board):
    done = cli("leaderboard", "--workspace", filled / "w", check=0)
    assert repr(board) == done.stdout.rstrip("\n")
    assert board.summary.startswith("bcss5 / semantic: good")


def test_one_row_per_model(board):
    frame = board.to_pandas()
    assert len(frame) == len(board.rows) == len(board)
    semantic = frame[frame["track"] == "semantic"].set_index("model")
    assert list(semantic["rank"].dropna()) == [1, 2, 3]
    assert pd.isna(semantic.loc["floor_majority", "rank"])
    assert semantic.loc["floor_majority", "status"] == "floor"
    assert semantic.loc["bad", "rank_from"] == semantic.loc["bad", "rank_to"] == 3
    good = next(row for row in board.rows if row.name == "good")
    headline = good.scores.headline.per_roi
    assert semantic.loc["good", "mean_dice"] == headline.mean
    assert tuple(semantic.loc["good", ["low", "high"]]) == headline.mean_interval
    assert semantic.loc["good", "dice.tumor"] == headline.dice["tumor"]
    assert semantic.loc["good", "verdict: mean_dice >= 0.65"] == good.verdicts[0].status
    assert frame["low"].dtype == frame["mean_dice"].dtype == float


def test_per_class_is_the_csv(filled, board):
    frame = board.per_class()
    done = cli("leaderboard", "--workspace", filled / "w", "--format", "csv", check=0)
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    lines = [line for line in lines if line["class"]]
    assert list(frame.columns) == list(lines[0])
    assert len(frame) == len(lines)
    assert [f"{v}" for v in frame["dice"].dropna()] == [r["dice"] for r in lines if r["dice"]]


def test_an_empty_workspace(tmp_path):
    board = bb.leaderboard(workspace=tmp_path)
    assert len(board.to_pandas()) == len(board.per_class()) == len(board) == 0
    assert "mean_dice" in board.to_pandas()
    assert "No results yet" in repr(board)
    assert "No results yet" in board._repr_html_()
    assert board.unmet() == ["there is no ranked result to judge; run a backend first"]


def test_named_backends_alone(filled, board):
    shown = bb.leaderboard("bad", workspace=filled / "w")
    assert [row.name for row in shown.rows] == ["bad"]
    assert shown.rows[0].rank_text == "3"
    with pytest.raises(UnknownNameError, match="Did you mean 'good'"):
        bb.leaderboard(["god"], workspace=filled / "w")
    with pytest.raises(UnknownNameError, match="no track 'semantik'. Did you mean 'semantic'"):
        bb.leaderboard(track="semantik", workspace=filled / "w")
    done = cli("leaderboard", "bad", "--check", "--workspace", filled / "w", check=3)
    assert [f"not met: {line}" for line in board.unmet(["bad"])] == done.stderr.splitlines()


@pytest.mark.parametrize("name", ["b.csv", "b.json", "b.html"])
def test_save_takes_a_workspace_whose_name_is_no_utf8(tmp_path, name):
    workspace = tmp_path / os.fsdecode(b"w\xff")
    write(workspace, result("net", 0.5))
    saved = bb.leaderboard(workspace=workspace).save(tmp_path / name)
    assert b"net" in saved.read_bytes()


@pytest.mark.parametrize("name", ["board.html", "board.csv", "board.md", "board.txt", "board.json"])
def test_save_writes_what_the_command_writes(filled, board, tmp_path, name):
    board.save(tmp_path / name)
    command = ("leaderboard", "--all", "--workspace", filled / "w", "--output", tmp_path / "cli")
    form = {"txt": "table"}.get(name.split(".")[1], name.split(".")[1])
    cli(*command, "--format", form, check=0)
    assert (tmp_path / name).read_text() == (tmp_path / "cli").read_text()


def test_html_is_escaped_and_whole(filled, board):
    page = board._repr_html_()
    assert page.count("<table>") == page.count("</table>") >= 3
    assert "mean and per-class Dice" in page or "Mean and per-class Dice" in page
    row = board.rows[0]
    variant, row.variant = row.variant, "<script>alert(1)</script>"
    try:
        page = board._repr_html_()
    finally:
        row.variant = variant
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


# -- comparisons ------------------------------------------------------------------------------


def test_a_comparison_is_the_commands(filled):
    found = bb.compare("good", "also", "bad", workspace=filled / "w")
    words = ("compare", "good", "also", "bad", "--workspace", filled / "w")
    assert repr(found) == cli(*words, check=0).stdout.rstrip("\n")
    written = json.loads(cli(*words, "--format", "json", check=0).stdout)
    assert json.loads(json.dumps(found.plain())) == written
    assert found.estimands == ("per_roi", "pooled")
    standings = found.standings()
    assert list(standings.index) == ["good", "also", "bad"]
    assert standings.loc["bad", "rank_from"] == 3
    assert list(standings.loc["good", ["rank_from", "rank_to"]]) == [1, 2]
    pairs = found.differences("pooled")
    means = pairs[pairs["class"] == "mean"].set_index(["a", "b"])
    assert means.loc[("good", "bad"), "better"] == "good"
    assert means.loc[("good", "also"), "better"] == "tie"
    assert means.loc[("good", "bad"), "low"] > 0
    assert len(pairs) == 3 * (1 + len(found.classes))
    assert found.wins().loc["good", "bad"] > found.wins().loc["bad", "good"]
    assert found._repr_html_().count("<table>") == 5
    with pytest.raises(UnknownNameError, match="Did you mean 'pooled'"):
        found.standings("poled")


def test_what_does_not_compare(filled):
    with pytest.raises(InputError, match="at least two different"):
        bb.compare("good", "good", workspace=filled / "w")
    with pytest.raises(InputError, match="at least two different"):
        bb.compare("good", workspace=filled / "w")
    with pytest.raises(InputError, match="no suite and track in common"):
        bb.compare("good", "floor_box_fill", workspace=filled / "w")
    with pytest.raises(UnknownNameError, match="Did you mean 'good'"):
        bb.compare("good", "godo", workspace=filled / "w")
