"""The committed table of passes: what is counted now, and within the recipes' share."""

import importlib.util
import sys
from pathlib import Path

import pytest

from benchbcss import registry
from benchbcss.suites import load_suite

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks" / "validation_share.py"
    spec = importlib.util.spec_from_file_location("validation_share", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_committed_table_is_what_is_counted(benchmark):
    suite, _ = load_suite(registry.load().suites.find("bcss5").load(), "full")
    text = (ROOT / "METHODOLOGY.md").read_text(encoding="utf-8")
    committed = text.split(benchmark.MARKERS[0])[1].split(benchmark.MARKERS[1])[0]
    assert committed.strip() == benchmark.table(suite, (4000, 5300))
    for line in benchmark.lines(suite, (4000, 5300)):
        assert f"`{line.recipe}`" in committed
        assert line.after.share <= 0.25
        assert line.before.whole in (21, 735)
