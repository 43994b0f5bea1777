import csv
import errno
import os
import subprocess
import sys
import time

import pytest
from board_support import fail, result, shown, write

from benchbcss.board import model, reported
from benchbcss.board.check import unmet
from benchbcss.errors import UnknownNameError
from benchbcss.results import store
from benchbcss.results.migrate import lift
from benchbcss.results.schema import RunResult


def test_ranked_by_mean_and_floors_apart(tmp_path):
    write(tmp_path, result("low", 0.4))
    write(tmp_path, result("high", 0.6))
    write(tmp_path, result("floor", 0.9, floor=True))
    table = model.load(tmp_path).tables[0]
    assert [(row.backend, row.rank) for row in table.rows] == [
        ("floor", None),
        ("high", 1),
        ("low", 2),
    ]


def test_validation_rois_do_not_compare_with_test_rois(tmp_path):
    write(tmp_path, result("a"))
    write(
        tmp_path,
        result(
            "b", created="2025-01-01T00:00:00Z", split={"fingerprint": "c" * 64, "scored": "val"}
        ),
    )
    (table,) = model.load(tmp_path).tables
    assert [row.backend for row in table.rows] == ["a"]
    assert "scored differs (val here, test in the ranking)" in table.not_comparable[0][1]


def test_tracks_are_never_ranked_together(tmp_path):
    write(tmp_path, result("a"))
    write(tmp_path, result("b", 0.9, track="prompted"))
    tables = model.load(tmp_path).tables
    assert [(t.track.name, [r.backend for r in t.rows]) for t in tables] == [
        ("semantic", ["a"]),
        ("prompted", ["b"]),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("preset", "smoke"),
        ("mpp", 0.25),
        ("protocol", "squash1024"),
        ("metrics_version", 0),
        ("split", {"fingerprint": "e" * 64}),
        ("data", {"fingerprint": "f" * 64, "phantom": False}),
    ],
)
def test_what_does_not_compare_is_listed_with_the_field(tmp_path, field, value):
    write(tmp_path, result("a"))
    write(tmp_path, result("b"))
    write(tmp_path, result("other", 0.99, **{field: value}))
    table = model.load(tmp_path).tables[0]
    assert [row.backend for row in table.rows] == ["a", "b"]
    ((row, why),) = table.not_comparable
    assert row.backend == "other"
    assert why.startswith(f"{field} differs")


def test_metrics_versions_never_share_a_ranking(tmp_path):
    """The largest set that compares is ranked, the others are listed with the reason."""
    for name, version in (("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 2)):
        write(tmp_path, result(name, 0.5 + version / 10, metrics_version=version))
    (table,) = model.load(tmp_path).tables
    ranked = {row.result.metrics_version for row in table.rows}
    assert len(ranked) == 1
    assert len(table.rows) + len(table.not_comparable) == 5
    for row, why in table.not_comparable:
        assert row.result.metrics_version not in ranked
        assert row.rank is None
        assert why.startswith("metrics_version differs")


def test_audit_label_maps_are_never_ranked_and_say_why(tmp_path):
    content = result("a")
    content["label_map"]["not_ranked"] = "blood_vessel is read from the code of fat"
    write(tmp_path, content)
    table = model.load(tmp_path).tables[0]
    assert [row.rank for row in table.rows] == [None]
    text = " ".join(shown(model.load(tmp_path)).split())
    assert "Nothing is ranked here: blood_vessel is read from the code of fat" in text
    assert "never ranked: blood_vessel is read from the code of fat" in shown(
        model.load(tmp_path), "md"
    )


def test_unreadable_files_are_listed_and_harm_nothing(tmp_path):
    write(tmp_path, result("a"))
    torn = write(tmp_path, result("torn"))
    (torn / "result.json").write_text('{"schema_version": 1, "tra')
    old = write(tmp_path, result("old", schema_version=99))
    board = model.load(tmp_path)
    assert [row.backend for row in board.tables[0].rows] == ["a"]
    assert len(board.unreadable) == 2
    assert str(old) in board.unreadable[0]


def test_only_named_backends_are_shown_and_keep_their_rank(tmp_path):
    write(tmp_path, result("low", 0.4))
    write(tmp_path, result("high", 0.6))
    write(tmp_path, result("apart", 0.6, preset="smoke"))
    fail(tmp_path, "broken")
    board = model.load(tmp_path)
    chosen = model.only(board, ["low"])
    (table,) = chosen.tables
    assert [(row.backend, row.rank) for row in table.rows] == [("low", 2)]
    assert [row.backend for row in table.ranked] == ["high", "low"]
    assert not table.not_comparable
    assert not chosen.failures
    assert model.only(board, []) is board
    assert [f.backend for f in model.only(board, ["broken"]).failures] == ["broken"]
    (table,) = model.only(board, ["apart"]).tables
    assert [row.backend for row, _ in table.not_comparable] == ["apart"]
    with pytest.raises(UnknownNameError, match="Did you mean 'broken'"):
        model.only(board, ["brokn"])


def test_a_given_name_tells_runs_apart(tmp_path):
    write(tmp_path, result("a", 0.5), "seed0-1")
    write(tmp_path, result("a", 0.6, name="wide"), "wide-seed0-2")
    rows = model.load(tmp_path).tables[0].rows
    assert [row.name for row in rows] == ["a wide", "a"]


def test_a_record_with_a_track_of_another_version_is_listed(tmp_path):
    write(tmp_path, result("net", 0.5))
    content = result("newer", 0.6)
    content["tracks"]["instance"] = content["tracks"].pop("semantic")
    write(tmp_path, content)
    board = model.load(tmp_path)
    assert [row.backend for row in board.rows] == ["net"]
    (said,) = board.unreadable
    assert "there is no track 'instance' in this version" in said


def test_a_record_that_may_not_be_looked_at_is_listed(tmp_path, monkeypatch):
    """In a workspace that several people share."""
    for name in ("net", "theirs"):
        write(tmp_path, result(name, 0.5))
    stat = os.stat

    def refuse(path, *args, **options):
        if "theirs" in str(path) and str(path).endswith("result.json"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", refuse)
    board = model.load(tmp_path)
    assert [row.backend for row in board.rows] == ["net"]
    (said,) = board.unreadable
    assert said.endswith("theirs/seed0-x/result.json: Permission denied")


def test_reported_rows_carry_a_source_and_no_rank():
    entries = reported.load()
    assert len(entries) >= 20
    assert all(entry["source"] and "rank" not in entry for entry in entries)


@pytest.mark.shared
def test_every_reported_result_is_there(shared):
    with open(shared / "facts" / "reported_results.csv", newline="") as handle:
        assert len(reported.load()) == len(list(csv.DictReader(handle)))


def test_criteria_must_be_met(tmp_path):
    suite = {"name": "theirs", "fingerprint": "a" * 64}
    write(tmp_path, result("good", 0.7, half=0.04, suite=suite))
    write(tmp_path, result("better", 0.8, half=0.2, suite=suite))
    board = model.load(tmp_path)
    assert unmet(board, ["good"]) == []
    assert "better" in unmet(board)[0]  # the best one is judged when none is named
    with pytest.raises(UnknownNameError, match="Did you mean 'good'"):
        unmet(board, ["god"])
    assert unmet(model.load(tmp_path / "empty")) != []


def test_a_thousand_runs_within_twice_the_import_of_pandas(tmp_path):
    filler = {"recipe": {f"key{i}": "x" * 60 for i in range(200)}}  # records are about 17 KB
    for index in range(1000):
        content = lift(result(f"b{index % 8}", 0.3 + index / 3000, **filler))
        folder = write(tmp_path, content, f"seed{index}")
        store.save(folder, RunResult.model_validate(content))

    def seconds(*command):
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - begun)
        return min(times)

    pandas = seconds(sys.executable, "-c", "import pandas")
    ours = seconds(
        sys.executable,
        "-m",
        "benchbcss",
        "leaderboard",
        "--workspace",
        str(tmp_path),
        "--format",
        "json",
    )
    # 1.6 on an idle machine, most of it records parsed and verdicts judged anew
    assert ours < 2.2 * pandas, f"leaderboard {ours:.2f} s, import pandas {pandas:.2f} s"
