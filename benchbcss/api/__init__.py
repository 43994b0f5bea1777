"""The Python API: what ``import benchbcss as bb`` offers to scripts and notebooks.

It calls the same functions as the command line and raises the same errors, ``BenchError`` and its
kinds. Tables are pandas objects; pandas is imported when the first one is asked for.
"""

from benchbcss.api.boards import Leaderboard, leaderboard
from benchbcss.api.comparing import Comparison, compare
from benchbcss.api.loaded import Run, load_run
from benchbcss.api.running import RunOptions, Runs, ScoreOptions, run, score
from benchbcss.api.sweeping import Sweep, SweepOptions, sweep

__all__ = [
    "Comparison",
    "Leaderboard",
    "Run",
    "RunOptions",
    "Runs",
    "ScoreOptions",
    "Sweep",
    "SweepOptions",
    "compare",
    "leaderboard",
    "load_run",
    "run",
    "score",
    "sweep",
]
