"""The committed tables of false alarms and detection: what the benchmark gives, and few enough."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location(
        "stability_families", ROOT / "benchmarks" / "stability_families.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def committed(benchmark):
    """Rows of both tables in METHODOLOGY.md."""
    text = (ROOT / "METHODOLOGY.md").read_text(encoding="utf-8")
    text = text.split(benchmark.MARKERS[0])[1].split(benchmark.MARKERS[1])[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


def test_false_alarms_are_rare_however_often_one_validates(benchmark, committed):
    alarms = [row for row in committed if len(row) == 1 + len(benchmark.VALIDATIONS)]
    assert [row[0] for row in alarms[1:]] == [f"{level:g}" for level in benchmark.CEILINGS]
    assert max(float(cell) for row in alarms[1:] for cell in row[1:]) <= 3


def test_a_new_run_gives_the_committed_numbers(benchmark, committed):
    counts = (8, 20)
    benchmark_rows = {tuple(row[:3]): row[3:] for row in committed}
    curve = benchmark.saturating
    for name, level, noise in (
        ("falls to 0.02 for good", 0.3, 0.06),
        ("falls to 0.02 once", 0.5, 0.06),
    ):
        stored = benchmark_rows[name, f"{level:g}", f"{noise:g}"]
        for count, cell in zip(counts, stored, strict=False):
            fallen = benchmark.COLLAPSES[name](curve(count, 0.1, level))
            share = benchmark.collapsed(fallen, noise, benchmark.SIMULATIONS, 0)
            assert 100 * share == pytest.approx(float(cell), abs=1.01)
