"""``--check`` judges everything that was named, and says so of what it cannot judge."""

from board_support import criteria, result, write

from benchbcss.board import model, summary
from benchbcss.board.check import unmet

BOUNDS = [
    *criteria(mean_dice=0.5),
    {"metric": "stability", "label": "stable training", "status": "pass", "reason": "r"},
]


SUITE = {"name": "theirs", "fingerprint": "a" * 64}


def judged(backend, mean, status=None, **over):
    content = result(backend, mean, half=0.05, **{"suite": SUITE, **over})
    content["tracks"]["semantic"]["criteria"] = BOUNDS
    if status:
        content["stability"] = {"status": status, "reason": "r"}
    return content


def test_a_trained_run_is_judged_beside_an_evaluated_one(tmp_path):
    """They share backend, seed and suite; the worse of them stands below the other."""
    write(tmp_path, judged("net", 0.8, "collapsed"))
    write(tmp_path, judged("net", 0.7, evaluated=True), run="evaluated-test-1")
    problems = unmet(model.load(tmp_path), ["net"])
    assert [text.partition(": r")[0] for text in problems] == [
        "net (theirs, semantic): stable training: fail, collapsed"
    ]


def test_a_suite_that_is_edited_is_judged_anew_in_the_same_process(tmp_path):
    """A notebook lives longer than a look."""
    path = tmp_path / "theirs.yaml"
    write(tmp_path, judged("net", 0.8, suite={**SUITE, "file": str(path)}))
    path.write_text("criteria: [{metric: mean_dice, at_least: 0.5}]\n")
    assert unmet(model.load(tmp_path)) == []
    path.write_text("criteria: [{metric: mean_dice, at_least: 0.9}]\n")
    assert "mean_dice >= 0.9: fail" in unmet(model.load(tmp_path))[0]
    path.write_text("criteria: [{metric: mean_dice, at_leest: 0.1}]\n")
    board = model.load(tmp_path)
    assert unmet(board) == []  # by the record's own, and said
    said = f"no valid criteria in {path}: judged by those of the records"
    assert said in summary.warnings(board.tables[0])


def test_a_result_that_stands_apart_is_no_result_to_pass(tmp_path):
    for backend in ("a", "b"):
        write(tmp_path, judged(backend, 0.8, "stable"))
    write(tmp_path, judged("net", 0.8, "stable", preset="smoke"))
    board = model.load(tmp_path)
    (problem,) = unmet(board, ["net"])
    assert "net (theirs, semantic): not judged" in problem
    assert "preset differs" in problem
    assert unmet(board, ["a", "net"]) == [problem]
    write(tmp_path, judged("net", 0.8, "stable"), run="seed0-full")  # one that is comparable
    assert unmet(model.load(tmp_path), ["net"]) == []
