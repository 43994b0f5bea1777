"""A worker's start."""

import subprocess
import sys

#: what only some backends, tracks or settings use; each costs a run from a tenth to two seconds
UNUSED = (
    "matplotlib",
    "open_clip",
    "pandas",
    "scipy.ndimage",
    "scipy.stats",
    "sklearn",
    "timm",
    "torch._dynamo",
    "torchvision",
    "transformers",
)


def test_a_worker_imports_only_what_every_run_uses():
    code = (
        "import sys\n"
        "from benchbcss.runs import predict, setup, train, worker\n"
        "from benchbcss.results import evaluate\n"
        f"print(*[name for name in {UNUSED!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
