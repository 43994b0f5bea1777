"""What a run's worker does first, done and thrown away: by ``--dry-run``, and before long runs.

Each run is rehearsed in a process of its own, ``python -m benchbcss.runs.rehearse``: its data are
opened, its device is asked for, its network is built and its weights are loaded.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from benchbcss import leaving, output
from benchbcss.data.dataset import Roi
from benchbcss.errors import BenchError, InputError, WeightsError, explain
from benchbcss.results import store
from benchbcss.results.spec import RunSpec
from benchbcss.weights import Random


@dataclass(frozen=True)
class Rehearsal:
    """What came of one run's rehearsal. ``problem`` is None where it can start; a finished run is
    not rehearsed. ``needs`` are the bytes that it is expected to write; ``validation`` is how its
    training will be validated, a ``training.validation.Schedule`` as plain data and a ``sentence``.
    """

    spec: RunSpec
    run_dir: Path
    done: bool
    problem: str | None = None
    weights: str | None = None
    parameters: int | None = None
    not_measured: Mapping[str, str] | None = None
    needs: int = 0
    validation: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As ``--dry-run --format json`` writes it."""
        return {
            "backend": self.spec.backend,
            "seed": self.spec.seed,
            "state": "done" if self.done else "to do",
            "run": str(self.run_dir),
            "problem": self.problem,
            "weights": self.weights,
            "parameters": self.parameters,
            "not_measured": dict(self.not_measured or {}),
            "needs_bytes": self.needs,
            "validation": self.validation and dict(self.validation),
        }


def rehearse(
    specs: Sequence[RunSpec],
    rois: Mapping[str, Roi],
    workspace: Path,
    *,
    here: bool = True,
    fresh: bool = False,
) -> list[Rehearsal]:
    """Rehearse what of ``specs`` is still to do, each backend with its recipe once. ``here``: it
    will run on this machine, so its device must be here."""
    seeds: dict[str, list[int]] = {}
    for spec in specs:
        seeds.setdefault(_without_seed(spec), []).append(spec.seed)
    answers: dict[str, dict[str, Any]] = {}
    rehearsals = []
    for spec in specs:
        run_dir = spec.run_dir(workspace)
        if store.is_reached(run_dir, spec.until) and not fresh:
            rehearsals.append(Rehearsal(spec, run_dir, True))
            continue
        answer = _answer_once(spec, here, answers, seeds[_without_seed(spec)])
        validation = answer.pop("validation", {}).get(str(spec.seed))
        answer.pop("lacks_weights", None)
        pixels = sum(rois[name].shape[0] * rois[name].shape[1] for name in spec.scored)
        needs = _needed(answer.get("parameters") or 0, pixels, spec, validation)
        rehearsals.append(
            Rehearsal(spec, run_dir, False, needs=needs, validation=validation, **answer)
        )
    return rehearsals


def _without_seed(spec: RunSpec) -> str:
    """What runs have in common whose networks are built alike."""
    return spec.model_copy(update={"seed": 0}).fingerprint()


def require_weights(
    specs: Sequence[RunSpec], say: Callable[[str], None], *, here: bool = True
) -> None:
    """Check the weights of ``specs``, none of which is done, before any is started; says what will
    not be measured for want of CLIP's. ``here``: as of ``rehearse``.

    Asked are those that do not start without their weights: not short trials, which may. A single
    run here finds out by itself, as its first step, and so does a backend that has another problem,
    which stops no other. Raises WeightsError naming every backend whose weights are not available.
    """
    if here and len(specs) == 1:
        return
    answers: dict[str, dict[str, Any]] = {}
    problems: dict[str, str] = {}
    for spec in specs:
        wanted = spec.preset == "full" or spec.evaluate is not None
        if isinstance(spec.weights, Random) or not wanted or spec.backend in problems:
            continue
        known = len(answers)
        answer = _answer_once(spec, here, answers, [spec.seed])
        if answer.get("lacks_weights"):
            problems[spec.backend] = answer["problem"]
        elif len(answers) > known:
            for name, reason in answer.get("not_measured", {}).items():
                say(f"warning: {spec.backend}: {name} will not be measured: {reason}")
    if problems:
        told = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise WeightsError(f"Nothing was started. {told}")


def _answer_once(
    spec: RunSpec, here: bool, answers: dict[str, dict[str, Any]], seeds: Sequence[int]
) -> dict[str, Any]:
    """A copy of one of ``answers``, to which it is added, for ``seeds``, where it was not asked for
    yet."""
    same = _without_seed(spec)
    if same not in answers:
        asked = spec if here else spec.model_copy(update={"device": "cpu"})
        answers[same] = _ask(asked, seeds)
    return dict(answers[same])


def space_problem(rehearsals: Sequence[Rehearsal], workspace: Path) -> str | None:
    """Why the workspace's disk does not hold what is to be written; None where it does."""
    needed = sum(rehearsal.needs for rehearsal in rehearsals)
    free = free_bytes(workspace)
    if needed <= free:
        return None
    return (
        f"{workspace} has {free / 1e9:.1f} GB free, and the runs need about {needed / 1e9:.1f} GB. "
        f"Free space, or choose another --workspace."
    )


def free_bytes(workspace: Path) -> int:
    return shutil.disk_usage(workspace if workspace.exists() else workspace.absolute().parent).free


def require_cuda() -> None:
    """Raises InputError where PyTorch has no GPU here; asked in another process, since importing
    torch takes seconds that a run with nothing to do should not."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode:
        raise InputError(NO_CUDA)


#: the criterion that rests on CLIP's naming of regions
CLIP_ACCURACY = "clip_accuracy"

NO_CUDA = (
    "--device cuda: there is no GPU here that PyTorch can use. Use --device auto or cpu, or "
    "install a build of torch for your GPU (check with nvidia-smi)."
)


def _needed(
    parameters: int, pixels: int, spec: RunSpec, validation: Mapping[str, Any] | None
) -> int:
    sizes = _sizes()
    trained = spec.evaluate is None and spec.recipe.train is not None
    copies = sizes["checkpoint_copies"] if trained else 1
    if validation is not None:
        copies += sizes["copies_per_further_best"] * max(0, validation["best"] - 1)
    pictures = len(spec.suite.tracks)
    weights = copies * parameters * sizes["bytes_per_parameter"]
    return int(weights + pictures * pixels * sizes["bytes_per_pixel"])


@lru_cache(maxsize=1)
def _sizes() -> dict[str, float]:
    text = (resources.files("benchbcss.runs") / "rehearsal.yaml").read_text(encoding="utf-8")
    loaded: dict[str, float] = yaml.safe_load(text)
    return loaded


def _ask(spec: RunSpec, seeds: Sequence[int]) -> dict[str, Any]:
    """The answer to ``spec``, whose ``validation`` is by seed."""
    # Files, since a pipe would be waited for as long as a process that a plugin started has it.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            [sys.executable, "-m", "benchbcss.runs.rehearse", *map(str, seeds)],
            input=json.dumps(spec.model_dump(mode="json")),
            stdout=said,
            stderr=errors,
            text=True,
            check=False,
        )
        said.seek(0)
        errors.seek(0)
        try:
            answer: dict[str, Any] = json.loads(said.read())
            return answer
        except ValueError:
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
        return {"problem": f"building it ends with exit status {done.returncode}: {last}"}


def _answer(spec: RunSpec, seeds: Sequence[int]) -> dict[str, Any]:
    from benchbcss.runs.setup import setup
    from benchbcss.runs.validation import schedules

    try:
        with tempfile.TemporaryDirectory() as scratch:
            job = setup(spec, Path(scratch))
            names_regions = any(track.labels_regions for track in job.tracks)
            clip = job.context.clip.problem(job.labels.mean) if names_regions else None
            validation = schedules(job, seeds)
    except BenchError as error:
        return {"problem": str(error), "lacks_weights": isinstance(error, WeightsError)}
    except (Exception, SystemExit) as error:
        return {"problem": explain(error)}
    return {
        "weights": job.provenance.source,
        "parameters": job.parameters.total,
        "not_measured": {**job.not_measured, **({CLIP_ACCURACY: clip} if clip else {})},
        "validation": validation,
    }


if __name__ == "__main__":
    with output.diverted() as out:
        asked = store.parsed(RunSpec, sys.stdin.buffer.read())
        print(json.dumps(_answer(asked, [int(word) for word in sys.argv[1:]])), file=out)
        out.flush()
        leaving.soon(0, patience=0.0)  # whatever threads a plugin left running
