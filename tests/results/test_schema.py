import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from benchbcss.board import model
from benchbcss.errors import DataError
from benchbcss.results import schema
from benchbcss.results.migrate import lift
from benchbcss.results.schema import SCHEMA_VERSION, RunResult, schemas, text
from benchbcss.suites import Suite

ROOT = Path(__file__).parents[2]
FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_committed_schema_is_fresh(name):
    """Otherwise run: python -m benchbcss.results.schema docs/schema"""
    assert (ROOT / "docs" / "schema" / name).read_text(encoding="utf-8") == text(schemas()[name])


def test_every_published_field_says_what_it_means_once():
    """In the code or in descriptions.yaml, and nothing there is of a field that is gone."""
    meanings = yaml.safe_load((Path(schema.__file__).parent / "descriptions.yaml").read_text())
    parts = {}
    for published in (RunResult, Suite):
        content = published.model_json_schema()
        parts |= {published.__name__: content, **content["$defs"]}
    fields = {
        (name, key): field.get("description")
        for name, part in parts.items()
        for key, field in part.get("properties", {}).items()
    }
    listed = {(name, key) for name, part in meanings.items() for key in part}
    assert {field for field, meaning in fields.items() if meaning is None} == listed
    for name, part in parts.items():
        assert part.get("description"), f"{name} has no docstring"


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_results_of_every_schema_version_stay_readable(path, tmp_path):
    content = json.loads(path.read_text())
    run = tmp_path / "runs" / content["suite"]["name"] / content["backend"] / content["run"]
    run.mkdir(parents=True)
    (run / "result.json").write_text(path.read_text())
    board = model.load(tmp_path)
    assert board.unreadable == []
    (table,) = board.tables
    (row,) = table.rows
    old = content["tracks"][row.track]
    assert row.scores.headline.per_roi.mean == old["headline"]["per_roi"]["mean"] > 0
    assert row.scores.headline.per_roi.dice == old["headline"]["per_roi"]["dice"]
    assert list(row.scores.spread.classes) == row.scores.all_classes
    # Verdicts were stored until version 2; now they are given by the present rules: six ROIs decide
    # nothing, and a track does not answer for what it cannot have.
    clip = "not applicable" if row.track == "semantic" else "not measured"
    expected = ["undecided", "undecided", clip, "not applicable"]
    if content["schema_version"] < 3:
        assert [verdict.status for verdict in row.verdicts] == expected
        assert [v.label for v in row.verdicts] == [c["label"] for c in old["criteria"]]
    assert len(row.verdicts) == 4


def test_every_version_has_a_fixture():
    versions = {json.loads(path.read_text())["schema_version"] for path in FIXTURES}
    assert versions == set(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [("preset", "huge"), ("schema_version", 99), ("tracks", {"semantic": {}}), ("mpp", None)],
)
def test_what_is_not_a_result_is_refused(field, value):
    content = json.loads(FIXTURES[0].read_text())
    content[field] = value
    with pytest.raises((ValidationError, DataError)):
        RunResult.model_validate(lift(content))
