"""What ``--slurm KEY=VALUE`` means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchbcss.errors import InputError

#: parameters of ours, besides those of submitit and of sbatch
RESUBMIT, SETUP = "resubmit", "setup"
RESUBMITS = 3
#: of submitit, which are numbers
NUMBERS = {
    *("nodes", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu", "gpus_per_node"),
    *("gpus_per_task", "signal_delay_s"),
}
#: those that follow from the run
OURS = {"nodes", "ntasks_per_node", "dependency", "array", "job_name", "command", "folder"}


def parse(options: Mapping[str, Sequence[str]]) -> tuple[dict[str, Any], int, str | None]:
    """Parameters for submitit, the number of successors, and the command that starts Python on the
    node, from ``--slurm KEY=VALUE``. What submitit does not know is handed to sbatch as it is.

    Raises InputError.
    """
    from submitit.slurm.slurm import _get_default_parameters

    known = set(_get_default_parameters())
    parameters: dict[str, Any] = {"time": "1-00:00:00"}
    others: dict[str, Any] = {}
    successors, python = RESUBMITS, None
    for key, values in options.items():
        name, value = key.replace("-", "_"), values[-1]
        if name in OURS - {"nodes"}:
            raise InputError(f"--slurm {key}={value}: this is set by the run itself.")
        if name == SETUP:
            parameters[SETUP] = list(values)
        elif len(values) > 1:
            raise InputError(f"--slurm {key} is given {len(values)} times; only setup may be.")
        elif name == RESUBMIT:
            successors = _number(key, value)
        elif name == "python":
            python = value
        elif name in NUMBERS:
            parameters[name] = _number(key, value)
        elif name in known:
            parameters[name] = value
        else:
            others[name] = value or True
    # a successor that is no longer needed must leave the queue, not wait for ever
    parameters["additional_parameters"] = {"kill-on-invalid-dep": "yes", "requeue": True, **others}
    return parameters, successors, python


def _number(key: str, value: str) -> int:
    if not value.isdecimal():
        raise InputError(f"--slurm {key}={value}: give a whole number.")
    if key.replace("-", "_") == "nodes" and not int(value):
        raise InputError(f"--slurm {key}={value}: a job needs a node.")
    return int(value)
