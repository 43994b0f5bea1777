"""Runs as jobs of a Slurm cluster, by ``--executor slurm``."""

from __future__ import annotations

from collections.abc import Callable

from benchbcss.hookspecs import hookimpl


@hookimpl
def benchbcss_register_executors(register: Callable[..., None]) -> None:
    register(
        "slurm",
        "benchbcss_slurm.executor:Slurm",
        "jobs of a Slurm cluster",
        requires=("submitit",),
        extra="slurm",
        options="A parameter of sbatch, such as partition=gpu or time=04:00:00; setup=COMMAND runs "
        "first on the node, resubmit=N is how often a job that was stopped goes on.",
    )
