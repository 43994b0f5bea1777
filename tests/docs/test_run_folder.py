"""docs/run-folder.md describes the tables that a run really leaves."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests_support import cli, tiny_clip

PAGE = Path(__file__).parents[2] / "docs" / "run-folder.md"


def described():
    """Table -> its columns, in the page's order."""
    found, tables = {}, []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            tables = []
        named = re.match(r"((?:`[\w-]+\.parquet`(?:, )?)+) - ", line)
        if named:
            tables = re.findall(r"`([\w-]+\.parquet)`", named[1])
            found |= {table: [] for table in tables}
        elif tables and line.startswith("| `"):
            for table in tables:
                found[table] += re.findall(r"`(\w+)`", line.split("|")[1])
    return found


@pytest.fixture(scope="module")
def run_dirs(phantom, tmp_path_factory):
    pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("clip")
    config, weights = tiny_clip(folder)
    naming = ("--clip-model", config, "--clip-weights", weights)
    common = ("--data", phantom, "--no-floors", "--workspace", folder / "w", *naming)
    cli("run", "floor_majority", "floor_box_fill", *common, check=0)
    return sorted(folder.glob("w/runs/*/*/[!.]*"))


def test_every_table_and_column_is_described_and_there(run_dirs):
    there = {}
    for run_dir in run_dirs:
        for path in run_dir.glob("*.parquet"):
            there[path.name] = pq.read_schema(path).names
    page = described()
    assert page.keys() == there.keys()
    for table, columns in there.items():
        assert sorted(page[table]) == sorted(columns), table


def test_every_other_file_is_described(run_dirs):
    page = PAGE.read_text(encoding="utf-8")
    for run_dir in run_dirs:
        for path in run_dir.iterdir():
            name = "*.parquet" if path.suffix == ".parquet" else path.name
            assert f"`{name}" in page or f"{name}/" in page or name.startswith("."), name
