"""A command that waits for runs, for a pseudo-terminal: the display is real, the runs are not.

``python shown_progress.py SCRIPT.json``: a list of [method, arguments...], carried out in order.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from benchbcss.cli import progress
from benchbcss.names import VisibleStream

# A background shell starts its commands deaf to it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.stdout, sys.stderr = VisibleStream(sys.stdout), VisibleStream(sys.stderr)
HERE = Path(sys.argv[1]).parent


class Spec(SimpleNamespace):
    seed, name, until = 0, "", "result"

    def run_dir(self, workspace):
        return Path(workspace) / "runs" / "suite" / self.backend / "seed0-x"


def main():
    specs = {}
    with progress.shown() as display:
        for method, *given in json.loads(Path(sys.argv[1]).read_text()):
            if method == "expect":
                specs.update((name, Spec(backend=name)) for name in given)
                for spec in specs.values():
                    spec.run_dir(HERE).mkdir(parents=True)
                display.expect(list(specs.values()), HERE)
            elif method == "watch":
                time.sleep(0.3)  # so that it is drawn
                display.watch(specs[given[0]], given[1])
            elif method == "log":
                with open(specs[given[0]].run_dir(HERE) / "log.txt", "a") as log:
                    log.write(given[1])
            elif method == "ended":
                display.ended(SimpleNamespace(spec=specs[given[0]], status=given[1]))
            elif method == "count":
                for _ in display.counted(range(given[0]), doing="reading"):
                    time.sleep(given[1])
            elif method == "mark":  # the test looks at the screen now
                time.sleep(0.3)
                Path(HERE / given[0]).touch()
                while Path(HERE / given[0]).exists():
                    time.sleep(0.01)
            elif method == "raise":
                raise RuntimeError(given[0])
            else:
                stream = getattr(sys, method)
                stream.write(given[0])
                stream.flush()


if __name__ == "__main__":
    main()
