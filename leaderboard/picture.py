"""Writes the README's pictures: what ``benchbcss leaderboard`` prints at 80 columns, and the top of
``benchbcss report`` in chromium, where that is installed.

``python leaderboard/picture.py WORKSPACE``; ``make picture`` runs the models first.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
REPORT = README.with_name("docs") / "report.png"
WIDTH, HEIGHT = 1280, 1080  # of the window that the report is shown in
BLOCK = re.compile(r"(<!-- board: make picture -->\n```\n).*?(```\n)", re.S)


def board(workspace: Path) -> str:
    command = [sys.executable, "-m", "benchbcss", "leaderboard", "--workspace", str(workspace)]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    return done.stdout


def report(workspace: Path) -> None:
    """The report's first screen as a PNG with a palette."""
    from PIL import Image

    chromium = shutil.which("chromium")
    if chromium is None:
        print(f"{REPORT} is left as it is: chromium is not installed.", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder, "report.html"), Path(folder, "shot.png")
        command = [sys.executable, "-m", "benchbcss", "report", "--output", str(page)]
        subprocess.run([*command, "--workspace", str(workspace)], check=True)
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--screenshot={shot}"]
        size = f"--window-size={WIDTH},{HEIGHT}"
        subprocess.run(
            [chromium, *options, size, page.as_uri()], check=True, stderr=subprocess.DEVNULL
        )
        with Image.open(shot) as image:
            image.convert("RGB").quantize(128).save(REPORT, optimize=True)


def main(workspace: Path) -> None:
    text = README.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        sys.exit(f"{README} has no block for the board.")
    shown = board(workspace)
    README.write_text(BLOCK.sub(lambda m: m[1] + shown + m[2], text), encoding="utf-8")
    report(workspace)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
