"""The five answers: the board's numbers, and neither more nor less certain than its tests."""

import board_support
import pytest
import report_support as support

from benchbcss.board import model, summary
from benchbcss.report.answers import answers, duration
from benchbcss.report.comparison import compared


def of(table):
    found = answers(table)
    return {answer.question: answer for answer in found}


def test_a_clear_winner(workspace):
    table = support.table(workspace)
    best, certain, fails, trained, cost = answers(table)
    row = table.ranked[0]
    assert best.short == row.name == "good"
    assert f"{row.scores.headline.per_roi.mean:.3f}" in best.lines[0]
    assert row.tied == (1, 1)
    assert (certain.short, certain.mood) == ("yes", "good")
    worst = min(row.scores.headline.per_roi.dice.items(), key=lambda item: item[1])
    assert fails.short == f"{worst[0]}: Dice {worst[1]:.3f}"
    assert trained.short == "stable"
    assert any("collapsed: fair" in line for line in trained.lines)
    assert cost.short == "5 min"
    assert "training 5 min" in cost.lines


def test_what_cannot_be_told_apart_is_not_certain(tmp_path, data):
    support.rows(tmp_path, data, one=0.3, two=0.3)
    table = support.table(tmp_path)
    certain = of(table)["Is it certain?"]
    assert table.ranked[0].tied == (1, 2)
    assert certain.short == "no: 2 share rank 1"
    assert certain.mood == "open"


def test_best_but_not_told_from_all_is_not_certain(workspace):
    table = support.table(workspace)
    for row in table.ranked[1:]:
        row.tied = (2, 2)
    table.ranked[0].tied = (1, 2)
    certain = of(table)["Is it certain?"]
    assert (certain.short, certain.mood) == ("not of all", "open")
    assert certain.lines[-1].endswith("but 1 further down cannot be told from it")
    assert certain.lines[-1] in summary.sentence(table)


def test_certainty_is_said_in_the_words_of_the_sentence(tmp_path):
    """The second by score may be worse for certain while the third is not: the gap is to that."""
    wave = [0.01 * (i % 5) for i in range(20)]
    values = {
        "one": [0.7 + w for w in wave],
        "two": [0.6 + w for w in reversed(wave)],
        "wild": [0.2 if i % 2 else 0.9 for i in range(20)],
    }
    for name, rois in values.items():
        mean = sum(rois) / 20
        content = board_support.result(name, mean)
        content["tracks"]["semantic"]["by_roi"] = {
            "roi": [f"r{i}" for i in range(20)],
            "contribution": [value / 20 for value in rois],
            "influence": [(value - mean) / 19 for value in rois],
            "share": [1 / 20] * 20,
        }
        board_support.write(tmp_path, content)
    table = support.table(tmp_path)
    certain = of(table)["Is it certain?"]
    assert certain.lines[:2] == ["0.170 above wild", "the difference is not significant"]
    assert all(line in summary.sentence(table) for line in certain.lines[:2])
    assert certain.lines[2] == "rank 1: one and wild"


def test_models_of_the_same_mean_are_best_together(tmp_path):
    for name, mean in (("one", 0.6), ("two", 0.6), ("low", 0.4)):
        board_support.write(tmp_path, board_support.result(name, mean))
    best = of(support.table(tmp_path))["Which model is best?"]
    assert best.short == "one and two"
    assert best.lines[0] == "one:"


def test_records_without_rois_are_not_certain(tmp_path):
    for name, mean in (("one", 0.6), ("two", 0.4)):
        board_support.write(tmp_path, board_support.result(name, mean))
    certain = of(support.table(tmp_path))["Is it certain?"]
    assert certain.short == "not known"


def test_a_model_below_a_floor_fails_there(tmp_path):
    board_support.write(tmp_path, board_support.result("model", 0.2))
    board_support.write(tmp_path, board_support.result("ground", 0.3, floor=True))
    fails = of(support.table(tmp_path))["Where does it fail?"]
    assert fails.lines[0] == "not above the floor ground (0.300)"


def test_what_has_no_mean_is_neither_best_nor_below_a_floor(tmp_path):
    for name, floor in (("one", False), ("two", False), ("ground", True)):
        content = board_support.result(name, 0.5, floor=floor)
        part = content["tracks"]["semantic"]["headline"]["per_roi"]
        part |= {"mean": None, "mean_interval": None, "dice": {}, "mean_reason": "no class"}
        board_support.write(tmp_path, content)
    said = of(support.table(tmp_path))
    assert said["Which model is best?"].short == "not known"
    assert said["Is it certain?"].short == "nothing to compare"
    assert not any("floor" in line for line in said["Where does it fail?"].lines)


def test_a_floor_counts_where_it_is_not_shown(tmp_path):
    board_support.write(tmp_path, board_support.result("model", 0.2))
    board_support.write(tmp_path, board_support.result("ground", 0.3, floor=True))
    (table,) = model.only(model.load(tmp_path), ["model"]).tables
    assert "not above the floor ground" in of(table)["Where does it fail?"].lines[0]


def test_floors_alone_are_no_answer(tmp_path):
    board_support.write(tmp_path, board_support.result("ground", 0.3, floor=True))
    (answer,) = answers(support.table(tmp_path))
    assert answer.short == "no model yet"


def test_what_is_not_ranked_is_not_called_best(tmp_path):
    content = board_support.result("model", 0.4)
    content["label_map"]["not_ranked"] = "it reads fat as vessel"
    board_support.write(tmp_path, content)
    best = of(support.table(tmp_path))["Which model is best?"]
    assert best.short == "nothing is ranked"
    assert best.lines[0] == "it reads fat as vessel"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0.4 s"),
        (42, "42 s"),
        (99, "99 s"),
        (100, "2 min"),
        (3600, "60 min"),
        (12240, "3.4 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_pairs_are_those_of_compare(workspace):
    from benchbcss.board import compare as comparing

    board = model.load(workspace)
    table = board.tables[0]
    names = [row.backend for row in table.ranked]
    found = compared(board, table)
    expected = comparing.of_names(board, names).plain()["estimands"]["per_roi"]
    pairs = found.grids[1]
    assert [line[0] for line in pairs.rows] == [f"{p['a']} - {p['b']}" for p in expected["pairs"]]
    assert [line[3] for line in pairs.rows] == [p["verdict"] for p in expected["pairs"]]
    assert found.figure.svg.count("*<") == 2 * sum(p["verdict"] != "tie" for p in expected["pairs"])
