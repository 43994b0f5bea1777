import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchbcss.board import rows
from benchbcss.runs.schema import Result, schemas, text

ROOT = Path(__file__).parents[2]
FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_committed_schema_is_fresh(name):
    """Otherwise run: python -m benchbcss.runs.schema docs/schema"""
    assert (ROOT / "docs" / "schema" / name).read_text(encoding="utf-8") == text(schemas()[name])


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_results_of_every_schema_version_stay_readable(path, tmp_path):
    content = json.loads(path.read_text())
    Result.model_validate(content)
    run = tmp_path / "runs" / content["suite"]["name"] / content["backend"] / content["run"]
    run.mkdir(parents=True)
    (run / "result.json").write_text(path.read_text())
    board = rows.load(tmp_path)
    assert board.unreadable == []
    (table,) = board.tables
    assert table.rows[0].headline["per_roi"]["mean"] is not None


def test_every_version_has_a_fixture():
    versions = {json.loads(path.read_text())["schema_version"] for path in FIXTURES}
    from benchbcss.runs.spec import SCHEMA_VERSION

    assert versions == set(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [("preset", "huge"), ("schema_version", 99), ("tracks", {"semantic": {}}), ("mpp", None)],
)
def test_what_is_not_a_result_is_refused(field, value):
    content = json.loads(FIXTURES[0].read_text())
    content[field] = value
    with pytest.raises(ValidationError):
        Result.model_validate(content)
