"""Specifications on the phantom, and a finished run for tests that damage or read one."""

from __future__ import annotations

from benchbcss.progress import SILENT
from benchbcss.runs import executors, planning, worker
from benchbcss.suites import Tile


def specs(folder, workspace, backends, seed=0, small=False, split=None, preset=None, **options):
    """Of the phantom's suite; ``small``: with tiles of 64 px, on which models train 16 times as
    fast."""
    suite, preset = planning.choose_suite("phantom", folder, preset)
    if small:
        suite = suite.model_copy(update={"tile": Tile(size=64, overlap=16)})
    prepared = planning.prepare(
        suite, preset, folder=folder, split=split, workspace=workspace, say=lambda text: None
    )
    asked = planning.Asked([seed], **{"device": "cpu", **options})
    return planning.specify(prepared, backends, asked, workspace)


def finished_run(folder, workspace, backend, **options):
    """(workspace, specification, folder) of a run that was carried out in this process."""
    (spec,) = specs(folder, workspace, [backend], **options)
    run_dir = executors.prepare(spec, executors.Settings(workspace, lambda text: None))
    worker.execute(spec, run_dir, SILENT)
    return workspace, spec, run_dir
