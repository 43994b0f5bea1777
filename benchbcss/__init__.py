"""benchbcss: which segmentation model really works on BCSS, per class, with intervals.

``import benchbcss as bb`` is cheap: neither torch nor pandas is imported before it is used. See
docs/python-api.md.
"""

from typing import TYPE_CHECKING, Any

from benchbcss.contract import Backend, BackendInfo, Batch, Context, Prompt, Task
from benchbcss.errors import BenchError
from benchbcss.hookspecs import hookimpl

if TYPE_CHECKING:
    from benchbcss.api import (
        Comparison,
        Leaderboard,
        Run,
        Runs,
        Sweep,
        compare,
        leaderboard,
        load_run,
        run,
        score,
        sweep,
    )

__version__ = "0.1.0"
__all__ = [
    "Backend",
    "BackendInfo",
    "Batch",
    "BenchError",
    "Comparison",
    "Context",
    "Leaderboard",
    "Prompt",
    "Run",
    "Runs",
    "Sweep",
    "Task",
    "__version__",
    "compare",
    "hookimpl",
    "leaderboard",
    "load_run",
    "run",
    "score",
    "sweep",
]


if not TYPE_CHECKING:  # a type checker knows the names above, and should miss others

    def __getattr__(name: str) -> Any:
        """The Python API, imported when it is first asked for."""
        if name in __all__:
            from benchbcss import api

            return getattr(api, name)
        raise AttributeError(f"module 'benchbcss' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
