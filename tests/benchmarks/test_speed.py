"""`make bench` runs, and what is promised of speed holds, as ratios: machines differ, and other
tests run beside these. Time on cores is compared, with a third or less of what was measured."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch):
    """As ``python -m`` finds the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def ratio(case, peer, turns=3):
    """Of each contestant's least time: what runs beside a test only adds to it."""
    from benchmarks.speed.timing import timed

    found = timed(case, turns)
    least = replace(found, busy={name: [min(times)] for name, times in found.busy.items()})
    return least.busy_ratios[peer][0]


@pytest.mark.peer
@pytest.mark.parametrize(("labels", "least"), [(7, 8), (22, 4)])
def test_counts_are_many_times_faster_than_the_peers(labels, least):
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    from benchmarks.speed import counts

    assert ratio(counts.case(2, labels), "torchmetrics") > least


@pytest.mark.parametrize("noise", [False, True])
def test_more_than_eight_classes_cost_little_more(noise):
    from benchbcss.scoring import pair_counts
    from benchmarks.speed.growth import seconds_of
    from benchmarks.speed.maps import pair

    def seconds(labels):
        maps = pair(4, noise, labels)
        return seconds_of(lambda: pair_counts(*maps, labels), 3)

    few, more, many = map(seconds, (8, 9, 22))
    assert more < 2 * few  # 1.0 measured
    assert many < 3 * few  # 1.0 measured, 1.4 on noise


@pytest.mark.peer
def test_scoring_is_many_times_faster_than_its_peers():
    """Without MONAI's surfaces, which are half of the peers' time, but take long to import."""
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    from benchmarks.speed import scoring

    case = scoring.case(2)
    contestants = {n: work for n, work in case.contestants.items() if n != scoring.MONAI}
    assert ratio(replace(case, contestants=contestants), case.total) > 4


def test_the_training_loop_takes_as_long_as_a_bare_one_and_ends_at_its_weights(tmp_path):
    from benchmarks.speed import training

    assert ratio(training.case(tmp_path, 64, 60), "a bare loop") > 0.5  # 0.9 measured


def test_a_board_of_many_runs_is_read(tmp_path):
    from benchmarks.speed import commands

    case = commands.board(tmp_path, 40)
    answers = {name: case.contestants[name]() for name in (commands.FIRST, "benchbcss")}
    case.check(answers)
    assert len(list(tmp_path.glob("runs/*/*/*/result.json"))) == 40


def test_time_grows_as_the_work_does():
    """Linear in pixels, and below the square of backends, whose pairs are tested one by one."""
    from benchmarks.speed.growth import measured

    growth = measured(2, (0.25, 1), (4, 24))
    for name, part in growth.items():
        assert part["exponent"] < (1.6 if "Mpx" in name else 1.8), growth


def test_the_exponent_is_that_of_a_power_law():
    from benchmarks.speed.growth import exponent

    assert exponent({n: 3 * n**1.7 for n in (1, 4, 16)}) == pytest.approx(1.7)


def test_the_table_and_the_json_say_the_same(tmp_path, monkeypatch, capsys):
    from benchmarks.speed import __main__ as bench
    from benchmarks.speed.timing import OURS, Case

    def cases():
        yield Case(
            "sums", {OURS: lambda: 3, "a peer": lambda: sum(range(3_000_000))}, lambda _: None
        )

    monkeypatch.setattr(bench, "GROUPS", {"sums": ("sums", {}), "lost": ("not_there", {})})
    monkeypatch.setitem(sys.modules, "benchmarks.speed.sums", type("M", (), {"cases": cases}))
    assert bench.main(["sums", "lost", "--turns", "2", "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    (case,) = found["cases"]
    assert len(case["seconds"]["a peer"]) == 2
    assert case["ratios"]["a peer"]["lowest"] > 1
    assert list(found["left_out"]) == ["lost"]
    assert found["machine"]["versions"]["numpy"]
    shown = capsys.readouterr().out
    assert f"{case['ratios']['a peer']['median']:.1f} x   a peer" in shown
    assert "lost is left out" in shown


def test_other_answers_are_not_timed():
    from benchmarks.speed.timing import OURS, Case, timed

    def check(answers):
        assert answers[OURS] == answers["a peer"]

    with pytest.raises(AssertionError):
        timed(Case("differ", {OURS: lambda: 1, "a peer": lambda: 2}, check), 1)


def test_an_unknown_case_is_named(capsys):
    from benchmarks.speed import __main__ as bench

    with pytest.raises(SystemExit):
        bench.main(["tiling"])
    assert "There is no case 'tiling'" in capsys.readouterr().err
