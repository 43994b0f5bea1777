"""Writes the README's picture of the board: what ``benchbcss leaderboard`` prints at 80 columns.

``python leaderboard/picture.py WORKSPACE``; ``make picture`` runs the models first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- board: make picture -->\n```\n).*?(```\n)", re.S)


def board(workspace: Path) -> str:
    command = [sys.executable, "-m", "benchbcss", "leaderboard", "--workspace", str(workspace)]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    return done.stdout


def main(workspace: Path) -> None:
    text = README.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        sys.exit(f"{README} has no block for the board.")
    shown = board(workspace)
    README.write_text(BLOCK.sub(lambda m: m[1] + shown + m[2], text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
