"""Whoever changes what a number means has to raise ``METRICS_VERSION``, or this fails.

``fixtures/metrics/`` holds six small ROIs with masks, a label map of each (some pixels given no
class) and prompted masks, and for each version the numbers that they scored. Six ROIs are too few
for pooled intervals, so those of forty simulated ROIs stand beside them. Results of different
versions do not compare, so the numbers of one version never change. After raising the version,
store the new ones::

    python tests/results/test_metrics_version.py

Numbers that are new beside the old ones need no new version; stored ones that differ or are gone
do.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchbcss.contract import Prompting
from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import label_map
from benchbcss.data.store import TileStore
from benchbcss.results import evaluate
from benchbcss.results.schema import METRICS_VERSION
from benchbcss.runs import planning
from benchbcss.scoring.institutes import institute_intervals
from benchbcss.scoring.intervals import intervals, ratio_interval
from benchbcss.scoring.metrics import Triple
from benchbcss.tracks import TRACKS
from benchbcss.tracks.base import Facts, Frame

FIXTURE = Path(__file__).parent / "fixtures" / "metrics"
PROMPTINGS = ("box-class", "points5-largest")
COMMAND = "python tests/results/test_metrics_version.py"


def stored(version):
    return FIXTURE / f"version{version}.json"


def numbers(folder):
    """{where it stands in a track's result: number} of everything the fixture scores."""
    suite, _ = planning.choose_suite("bcss5", FIXTURE / "data", "full")
    suite = suite.model_copy(update={"mpp": 0.3})
    labels = label_map("bcss5")
    source = Dataset(FIXTURE / "data", TileStore(folder / "store"))
    rois = source.rois(source.names, labels)
    sites = tuple(roi.institute for roi in rois.values())
    promptings = tuple(Prompting.parse(key) for key in PROMPTINGS)
    frame = Frame(suite, labels, tuple(rois), sites, promptings, abstaining=True)
    shutil.copytree(FIXTURE / "predictions", folder / "run" / "predictions")
    facts = {name: Facts("native") for name in TRACKS}
    tracks = evaluate.evaluate(frame, list(TRACKS.values()), rois, folder / "run", facts)
    parts = {name: part.model_dump(mode="json") for name, part in tracks.items()}
    return dict(leaves({**parts, "simulated": simulated()}))


def simulated():
    """Intervals of forty ROIs in six institutes, as plain data."""
    rng = np.random.default_rng(0)
    area = np.exp(rng.normal(10, 1, (40, 3)))
    true = np.where(rng.random((40, 3)) < [1, 0.8, 0.4], area, 0).astype(np.int64)
    hit = (true * rng.uniform(0.3, 0.9, (40, 3))).astype(np.int64)
    triple = Triple(hit, true, hit + (area * rng.uniform(0, 0.3, (40, 3))).astype(np.int64))
    sites = [f"S{i % 6}" for i in range(40)]
    found = {}
    for name in ("pooled", "per_roi"):
        over_rois = intervals(triple, [0, 1, 2], name)
        over_sites = institute_intervals(triple, sites, [0, 1, 2], name)
        found[name] = {
            kind: [asdict(one) for one in (*some.classes, some.mean)]
            for kind, some in (("rois", over_rois), ("institutes", over_sites))
        }
    found["accuracy"] = asdict(ratio_interval(rng.binomial(4, 0.7, 40), np.full(40, 4)))
    return found


def leaves(value, path=""):
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from leaves(part, f"{path}/{index}")
    elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        yield path, value


def differences(old, new):
    """Where ``new`` lacks or changes what ``old`` has; floats may differ in the tenth digit."""
    lost = [path for path in old if path not in new]
    return lost + [path for path in old if path in new and not same(old[path], new[path])]


def same(old, new):
    if old is None or new is None or isinstance(old, int):
        return old == new
    return new == pytest.approx(old, rel=1e-9, abs=1e-10)


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    return numbers(tmp_path_factory.mktemp("metrics"))


def test_numbers_of_this_version_mean_what_they_meant(now):
    path = stored(METRICS_VERSION)
    assert path.is_file(), f"Store the numbers of the new METRICS_VERSION: {COMMAND}"
    changed = differences(json.loads(path.read_text()), now)
    assert not changed, (
        f"{len(changed)} stored number(s) changed, such as {changed[0]}. If a number's meaning did "
        f"so on purpose, raise METRICS_VERSION in benchbcss/results/schema.py, store the new "
        f"numbers by: {COMMAND} and say in CHANGELOG.md what changed. Otherwise it is a fault."
    )


def test_the_fixture_reaches_every_kind_of_number(now):
    """Else it could not notice a change."""
    reached = {path.split("/")[1] + "/" + path.split("/")[2] for path in now}
    for track, kinds in (
        ("semantic", "headline per_class conventions spread by_roi tissue confusion objects"),
        ("semantic", "boundary without_border region_accuracy rois_with_class"),
        ("prompted", "headline per_class conventions spread by_roi ceiling others"),
    ):
        assert {f"{track}/{kind}" for kind in kinds.split()} <= reached
    for name in ("pooled", "per_roi"):
        for kind in ("rois", "institutes"):
            assert all(now[f"/simulated/{name}/{kind}/{c}/low"] is not None for c in range(4))
    known = [value for value in now.values() if value is not None]
    assert len(known) > 500
    distinct = {value for value in known if isinstance(value, float) and 0 < value < 1}
    assert len(distinct) > 200
    assert now["/semantic/confusion/counts/0/6"] > 0  # given no class
    assert any(now[f"/semantic/objects/{name}/matched"] for name in ("tumor", "stroma"))


@pytest.mark.parametrize("change", ["value", "lost", "undefined", "count"])
def test_a_change_is_noticed(now, change):
    other = dict(now)
    path = "/semantic/headline/per_roi/dice/tumor"
    if change == "value":
        other[path] += 1e-6
    elif change == "lost":
        del other[path]
    elif change == "undefined":
        other[path] = None
    else:
        path = "/semantic/confusion/counts/0/0"
        other[path] += 1
    assert differences(now, other) == [path]
    assert differences(now, {**now, "/semantic/new": 1.0}) == []


def test_numbers_are_stored_of_no_version_to_come():
    versions = {int(path.stem.removeprefix("version")) for path in FIXTURE.glob("version*.json")}
    assert max(versions) == METRICS_VERSION


def write():
    with tempfile.TemporaryDirectory() as scratch:
        found = numbers(Path(scratch))
    path = stored(METRICS_VERSION)
    if path.is_file() and differences(json.loads(path.read_text()), found):
        sys.exit(
            f"The numbers of version {METRICS_VERSION} are stored and differ. "
            f"Raise METRICS_VERSION in benchbcss/results/schema.py first."
        )
    path.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    print(f"{len(found)} numbers of version {METRICS_VERSION} are in {path}")


if __name__ == "__main__":
    write()
