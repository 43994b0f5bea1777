"""The README's picture of the board is what the command prints."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from board_support import result, write
from PIL import Image

from benchbcss.board import cells

ROOT = Path(__file__).parents[2]


def script():
    spec = importlib.util.spec_from_file_location("picture", ROOT / "leaderboard" / "picture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_at_most_80_columns_and_of_the_present_form():
    block = script().BLOCK.search((ROOT / "README.md").read_text())[0]
    assert max(map(len, block.splitlines())) <= 80
    assert re.search(r"^rank +model +mean Dice +95 % interval", block, re.M)
    for status, mark in cells.MARKS.items():
        assert f"{mark} {status}" in block


def test_the_command_replaces_the_block_and_nothing_else(tmp_path, monkeypatch):
    module = script()
    before = (ROOT / "README.md").read_text()
    monkeypatch.setattr(module, "README", tmp_path / "README.md")
    monkeypatch.setattr(module, "REPORT", tmp_path / "report.png")
    module.README.write_text(before)
    write(tmp_path / "w", result("somebody", 0.5))
    module.main(tmp_path / "w")
    after = module.README.read_text()
    old, new = (module.BLOCK.search(text) for text in (before, after))
    assert "somebody is the only ranked model" in new[0]
    assert before[: old.start()] == after[: new.start()]
    assert before[old.end() :] == after[new.end() :]


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_command_pictures_the_report(tmp_path, monkeypatch):
    module = script()
    monkeypatch.setattr(module, "REPORT", tmp_path / "report.png")
    write(tmp_path / "w", result("somebody", 0.5))
    module.report(tmp_path / "w")
    with Image.open(tmp_path / "report.png") as image:
        assert image.size == (module.WIDTH, module.HEIGHT)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10


def test_the_readmes_picture_of_the_report_has_the_commands_size():
    module = script()
    assert "(docs/report.png)" in (ROOT / "README.md").read_text()
    with Image.open(module.REPORT) as image:
        assert image.size == (module.WIDTH, module.HEIGHT)
