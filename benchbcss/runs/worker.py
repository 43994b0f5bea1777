"""One run in one process: train, predict, score, record.

``python -m benchbcss.runs.worker RUN_DIR`` reads ``spec.json`` there. It ends with
``result.json`` and exit status 0, or with ``failure.json`` and exit status 1.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from benchbcss import garbage, interrupt, leaving
from benchbcss.cores import cores
from benchbcss.errors import BenchError, RunError, explain
from benchbcss.io import begin_list, sentence, write_json
from benchbcss.names import VisibleStream
from benchbcss.plain import plain
from benchbcss.progress import Progress
from benchbcss.results import store
from benchbcss.results.spec import RunSpec
from benchbcss.runs.executors.protocol import BUSY
from benchbcss.runs.heartbeat import HEARTBEAT_SECONDS, Stage

if TYPE_CHECKING:
    from benchbcss.results.schema import Cost, RunResult, Stability, Training
    from benchbcss.runs.setup import Job


def main(run_dir: Path) -> int:
    """Run what ``run_dir/spec.json`` says; returns the exit status.

    With several processes the first one starts the others, which then train and predict with it
    and nothing else; torchrun may start them all instead.
    """
    status = _status(run_dir)
    if status in (0, interrupt.STOPPED):  # in all processes, so that none is waited for
        _leave_group()
    return status


def _status(run_dir: Path) -> int:
    """What ``main`` returns."""
    if int(os.environ.get("RANK", "0")):
        try:
            return _follow(run_dir)
        except interrupt.StopRequested:
            return interrupt.STOPPED
    sys.stdout, sys.stderr = VisibleStream(sys.stdout), VisibleStream(sys.stderr)  # type: ignore
    try:
        with store.owned(run_dir):
            return _work(run_dir)
    except store.Busy as busy:
        print(busy, file=sys.stderr)
        return BUSY
    except interrupt.StopRequested:
        print("stopped on request; the same command continues here", file=sys.stderr)
        return interrupt.STOPPED
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1


def _work(run_dir: Path) -> int:
    """What ``main`` does as the owner of the folder."""
    if store.is_finished(run_dir) or store.is_held(
        run_dir
    ):  # by another command, while this one was starting
        return 0
    stage = Stage(run_dir)
    followers: list[subprocess.Popen[bytes]] = []
    try:
        begin_list(run_dir)
        spec = store.load_spec(run_dir)
        (run_dir / store.FAILURE).unlink(missing_ok=True)
        store.set_aside_record(run_dir)
        if spec.processes > 1 and "RANK" not in os.environ:
            followers = _start_followers(run_dir, spec.processes)
        execute(spec, run_dir, stage)
    except interrupt.StopRequested:
        raise
    except BaseException as error:
        traceback.print_exc()
        _record_failure(run_dir, {"reason": _reason(error, run_dir), "stage": stage.name})
        return 1
    finally:
        for follower in followers:
            follower.kill()
            follower.wait()
        stage.stop()
    return 0


def _leave_group() -> None:
    """Threads of a process group that is left to the end of the interpreter may abort it. A worker
    that found nothing to do has not imported torch, and need not now."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available():
        return
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _reason(error: BaseException, run_dir: Path) -> str:
    if isinstance(error, OSError) and error.filename:  # a disk, or what lies in a file's place
        return sentence(error)
    if isinstance(error, BenchError):
        return explain(error)
    return explain(error, _package(run_dir))


def _package(run_dir: Path) -> str:
    """Where the code of the run's backend is."""
    from benchbcss import registry

    try:
        return registry.load().backend(store.load_spec(run_dir).backend).package
    except BenchError:
        return ""


def _record_failure(run_dir: Path, content: dict[str, str]) -> None:
    try:
        write_json(run_dir / store.FAILURE, content, listed=False)
    except BenchError as full:
        print(full, file=sys.stderr)


def _start_followers(run_dir: Path, processes: int) -> list[subprocess.Popen[bytes]]:
    """This process becomes rank 0 of ``processes``; returns the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Each would otherwise take all cores, which slows all of them down many times.
        "OMP_NUM_THREADS": str(cores(processes)),
    }
    os.environ.update({**shared, "RANK": "0", "LOCAL_RANK": "0"})
    return [
        subprocess.Popen(
            [sys.executable, "-u", "-m", "benchbcss.runs.worker", str(run_dir)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(1, processes)
    ]


def _follow(run_dir: Path) -> int:
    """Ranks above 0: train and predict along; errors go to the log, and the first process
    notices."""
    from benchbcss.runs import predict, train
    from benchbcss.runs.setup import setup
    from benchbcss.training.checkpoint import load_checkpoint

    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(HEARTBEAT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if store.is_finished(run_dir) or store.is_held(run_dir):
        return 0
    job = setup(store.load_spec(run_dir), run_dir)
    train.follow(job)
    if job.spec.until == "result":
        predict.assist(job, lambda: load_checkpoint(run_dir, train.FINAL, job.model, None))
    return 0


def execute(spec: RunSpec, run_dir: Path, stage: Progress) -> None:
    """Train, predict, score; writes result.json last. Plugins are told of it. A run that is to go
    no further than training writes validation.json instead."""
    begun = time.time()
    stage("loading")
    with garbage.put_off():
        from benchbcss.runs.setup import setup

    job = setup(spec, run_dir, stage)
    job.announcer.run_started(spec)
    try:
        result = _execute(job, stage, begun)
    except interrupt.StopRequested:
        raise  # it has not failed: it goes on
    except BaseException as error:
        job.announcer.run_failed(error, stage.name)
        raise
    if result is not None:
        job.announcer.run_ended(result)
    stage("done")


def _execute(job: Job, stage: Progress, begun: float) -> RunResult | None:
    from benchbcss.runs import train

    training, stability = train.train(job, stage)
    if job.spec.until == "training":
        train.hold(job, training, stage)
        return None
    result = measured(job, training, stability, stage, begun)
    store.save(job.run_dir, result)
    return result


def measured(
    job: Job, training: Training, stability: Stability | None, stage: Progress, begun: float
) -> RunResult:
    """Predict what is not predicted yet, and score it: the record of a run that has been trained
    (see ``train.train``). ``begun``: seconds since 1970."""
    from benchbcss.results import evaluate, provenance
    from benchbcss.runs import predict
    from benchbcss.tracks.base import Facts

    spec, run_dir = job.spec, job.run_dir
    seconds = predict.predict(job, stage)
    stage("scoring")
    clip = job.context.notes.get("clip") or {}
    facts: dict[str, Facts] = {
        track.name: Facts(predict.view_of(job, track), clip) for track in job.tracks
    }
    frame = job.frame
    tracks = evaluate.evaluate(frame, job.tracks, job.rois, run_dir, facts, stage)
    return store.record(
        spec,
        job.labels,
        {name: job.rois[name].mask_entry.sha256 for name in frame.rois},
        tracks,
        store.Facts(
            notes=plain(job.context.notes),
            training=training,
            stability=stability,
            cost=_cost(job, training, seconds, begun),
            weights=store.weights_of(spec, job.provenance),
            parameters=job.parameters,
            floor=job.registered.info.floor,
            not_measured=job.not_measured,
            packages=provenance.versions(*job.registered.info.requires),
        ),
    )


def _cost(job: Job, training: Training, seconds: dict[str, float], begun: float) -> Cost:
    """Seconds, memory, device and precision of this run."""
    import torch

    from benchbcss.results import provenance
    from benchbcss.results.schema import Cost

    device = job.accelerator.device.type
    cuda = device == "cuda"
    extra = training.model_extra or {}
    images, loop = extra.get("images"), extra.get("loop_seconds")
    return Cost(
        device=torch.cuda.get_device_name() if cuda else provenance.processor(),
        device_type=device,
        threads=torch.get_num_threads(),
        precision=job.precision.name,
        train_seconds=training.seconds,
        train_images_per_second=images / loop if images and loop else None,
        inference_seconds=seconds,
        total_seconds=round(time.time() - begun, 2),
        # of a program that trained for the backend, too
        peak_host_bytes=max(provenance.peak_host_bytes(), extra.get("peak_host_bytes") or 0),
        peak_gpu_bytes=max(torch.cuda.max_memory_allocated(), extra.get("peak_gpu_bytes") or 0)
        if cuda
        else None,
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise RunError("usage: python -m benchbcss.runs.worker RUN_DIR")
    garbage.own_process()
    interrupt.listen()
    ended = main(Path(sys.argv[1]).absolute())  # a plugin may go to another folder
    leaving.soon(ended)
    sys.exit(ended)
