"""The script that measures departures from the brief's procedure, and what its oracle is."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchbcss import registry
from benchbcss.data.phantom import generate
from benchbcss.suites import load_suite

ROOT = Path(__file__).parents[2]
SIZE = 128


@pytest.fixture(scope="module")
def script():
    path = ROOT / "benchmarks" / "brief_repro.py"
    spec = importlib.util.spec_from_file_location("brief_repro", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["brief_repro"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["brief_repro"]


@pytest.fixture(scope="module")
def suite():
    return load_suite(registry.load().suites["brief-repro"].load())[0]


@pytest.fixture(scope="module")
def rois(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    generate(folder, rois=6, size=128, seed=3)
    found = script.samples(folder)
    assert len(found) == 6
    return found[:2]


@pytest.fixture(scope="module")
def oracle(script, suite):
    return script.predictor("oracle", suite.labels(), SIZE)


@pytest.fixture(scope="module")
def way(script, suite):
    settings = suite.prompting
    first = script.Prompting.parse(settings.headline)
    return script.Way(suite.labels(), first, settings.postprocess, settings.views)


@pytest.fixture(scope="module")
def tta(script, way):
    prompting = script.dataclasses.replace(way.prompting, tta=True)
    return script.dataclasses.replace(way, prompting=prompting)


def test_a_report_has_a_row_for_every_change(script, suite, rois, oracle):
    workers = {"oracle": oracle, "box": script.predictor("floor_box_fill", suite.labels(), SIZE)}
    with torch.inference_mode():
        text = script.report(rois, workers, suite, draws=2)
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if "|" in line}
    for name, _, _ in script.variants():
        assert name in rows
    assert {"as shipped, one view", "as shipped, four views", "any-tissue Dice, one prompt"} <= set(
        rows
    )
    # A filled box knows no negatives and is the same in every view.
    for name in ("no negatives (`box`)", "views: mean of logits", "views: a tie is foreground"):
        assert rows[name].rstrip("| ").endswith("+0.000")


def test_measuring_is_deterministic_and_draws_differ(script, rois, oracle, way):
    first = script.counts(rois, oracle, way)
    assert (script.counts(rois, oracle, way) == first).all()
    draws = [
        script.counts(rois, oracle, script.dataclasses.replace(way, draw=draw)) for draw in (0, 1)
    ]
    assert (draws[0] != draws[1]).any()


def test_the_other_votes_differ_from_the_suites_by_what_they_say(script, rois, oracle, tta):
    """Ties as foreground add pixels, without post-processing never take any."""
    replace = script.dataclasses.replace
    plain = replace(tta, postprocess="none")
    usual = script.counts(rois, oracle, plain)
    more = script.counts(rois, oracle, replace(plain, ties=True))
    found, extra = (table[..., 0] + table[..., 1] for table in (usual, more))
    assert (extra >= found).all()
    assert (extra > found).any()
    # Without post-processing its place does not matter: the override is the vote itself.
    assert (script.counts(rois, oracle, replace(plain, each=True)) == usual).all()


def test_the_authors_mean_is_over_pairs(script):
    table = np.zeros((2, 2, 4), np.int64)
    table[0, 0] = [10, 0, 0, 5]  # 1
    table[1, 0] = [5, 10, 0, 5]  # 0.5
    table[0, 1] = [0, 0, 5, 5]  # 0
    assert script.mean_of_pairs(table) == pytest.approx((1 + 0.5 + 0) / 3)
    assert script.mean_dice(table) == pytest.approx((0.75 + 0) / 2)


def test_vessels_are_read_from_their_own_code(script):
    labels, brief = script.with_vessels(), script.label_map("brief5")
    vessel, other = brief.class_names.index("blood_vessel"), brief.class_names.index("other")
    assert labels.lookup[[18, 5]].tolist() == [vessel, other]
    assert brief.lookup[[18, 5]].tolist() == [other, vessel]
    rest = [code for code in range(22) if code not in (5, 18)]
    assert (labels.lookup[rest] == brief.lookup[rest]).all()


def test_the_distance_is_set_back(script):
    with script.distance(2.5):
        assert script.prompts.BRIEF.outside == 2.5
    assert script.prompts.BRIEF.outside == 10


def test_against_the_component_alone(script):
    target = np.full((20, 20), 5, np.uint8)
    target[:10, :10], target[15:18, 15:18] = 0, 0
    labels = script.label_map("brief5")
    (row, *_) = script._against_component(target, {0: target == 0}, labels)
    assert row.tolist() == [100, 9, 0, 400 - 109]
