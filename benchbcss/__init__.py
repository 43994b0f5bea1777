"""benchbcss: which segmentation model really works on BCSS, per class, with intervals."""

from benchbcss.contract import Backend, BackendInfo, Batch, Context, Prompt, Task
from benchbcss.errors import BenchError
from benchbcss.hookspecs import hookimpl

__version__ = "0.1.0"
__all__ = [
    "Backend",
    "BackendInfo",
    "Batch",
    "BenchError",
    "Context",
    "Prompt",
    "Task",
    "__version__",
    "hookimpl",
]
