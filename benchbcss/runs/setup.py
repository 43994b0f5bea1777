"""Inside a worker: everything that a run needs, loaded and checked before its first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import InitProcessGroupKwargs
from torch import nn

from benchbcss import garbage, registry
from benchbcss.contract import Backend, Context, Prompting, Task
from benchbcss.cores import cores
from benchbcss.data.dataset import Dataset, Roi
from benchbcss.data.labels import LabelMap
from benchbcss.data.store import TileStore
from benchbcss.errors import BenchError, InputError, PluginError, RecipeError, explain
from benchbcss.inference.clip import Source
from benchbcss.inference.embeddings import Embeddings
from benchbcss.inference.guard import Guard
from benchbcss.inference.precision import Precision
from benchbcss.inference.predictor import Predictor
from benchbcss.progress import SILENT, Progress
from benchbcss.registry import Registered
from benchbcss.results import evaluate
from benchbcss.results.schema import Parameters
from benchbcss.results.spec import RunSpec
from benchbcss.runs.allocator import keep_freed_memory
from benchbcss.runs.announce import Announcer
from benchbcss.runs.rehearse import NO_CUDA
from benchbcss.tracks import Track, shared
from benchbcss.tracks.base import Frame
from benchbcss.tracks.prompted import usable
from benchbcss.training import speedups
from benchbcss.training.samples import seed_all
from benchbcss.weights import Provenance, Random
from benchbcss.weights.loading import settle

#: how long processes wait for one another: for what only the first does, such as fitting a probe on
#: all training ROIs, NCCL's ten minutes are too short. One that dies is noticed otherwise
PATIENCE = timedelta(days=1)
FIT = "fit"  # where a backend that trains by another program keeps that program's files


@dataclass
class Job:
    """One run in its worker: its specification, its data, and the model that ``setup`` built."""

    spec: RunSpec
    run_dir: Path
    announcer: Announcer
    registered: Registered
    labels: LabelMap
    rois: dict[str, Roi]
    accelerator: Accelerator
    context: Context
    backend: Backend
    model: nn.Module
    provenance: Provenance
    parameters: Parameters
    promptings: tuple[Prompting, ...]
    tracks: list[Track]
    not_measured: dict[str, str] = field(default_factory=dict)

    @property
    def view(self) -> int | None:
        """Side of the square that a whole ROI is resized to; None for tiles."""
        recipe, suite = self.spec.recipe.view, self.spec.suite
        if recipe.protocol == "squash":
            return recipe.size
        return suite.tile.size if suite.protocol == "squash1024" else None

    @property
    def plugin(self) -> str:
        """The backend and where it comes from, for messages."""
        return _named(self.registered)

    @cached_property
    def precision(self) -> Precision:
        """What the network runs in, here."""
        return _precision(self.spec, self.accelerator.device)

    @cached_property
    def guard(self) -> Guard:
        """What is out of the backend's reach while it predicts."""
        place = self.run_dir.resolve()
        if len(place.parents) > 4 and place.parents[2].name == "runs":
            place = place.parents[3]
        return Guard({place: "the workspace", **_ground_truth(self.spec)})

    @contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Run code of the backend that learns: it sees the training ROIs as it is given them."""
        with _learning(self.spec, self.registered, doing):
            yield

    @property
    def frame(self) -> Frame:
        return evaluate.frame_of(self.spec, self.labels, self.rois, self.promptings)

    def predictor(self, model: nn.Module) -> Predictor:
        cuda = self.accelerator.device.type == "cuda"
        return Predictor(
            self.backend,
            model,
            self.view,
            self.spec.suite.tile.size,
            self.spec.suite.tile.overlap,
            self.spec.recipe.view.size,
            self.accelerator.device,
            self.precision.autocast,
            batch=8 if cuda else 1,
            tta=self.spec.recipe.view.tta,
            accumulate=getattr(torch, self.spec.suite.tile.accumulate),
            views=self.spec.suite.prompting.views,
            tissue_prompt=self.spec.suite.prompting.tissue_prompt,
            abstains=self.registered.info.abstains,
            guard=self.guard,
        )


def limit_threads() -> None:
    """PyTorch follows a process's affinity and knows nothing of a container's quota, beyond which
    threads wait for one another."""
    if (allowed := cores()) < torch.get_num_threads():
        torch.set_num_threads(allowed)


def setup(spec: RunSpec, run_dir: Path, progress: Progress = SILENT) -> Job:
    """Load data, plugin and model. Raises DataError, PluginError and WeightsError."""
    plugins = registry.load()
    registered = plugins.backend(spec.backend)
    dataset = Dataset(
        Path(spec.data_root), TileStore(Path(spec.store_root)), spec.suite.reading(), spec.sites
    )
    labels = spec.suite.labels(dataset.code_table())
    names = (*spec.split.train, *spec.split.val, *spec.split.test)
    rois = dataset.rois(progress.counted(names), labels)
    limit_threads()
    accelerator = _accelerator(spec)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    speedups.prepare(spec.recipe.train, accelerator.device)
    context = _context(spec, labels, [rois[name] for name in spec.split.train], accelerator)
    context.folder = run_dir / FIT
    task = Task(labels.class_names, labels.mean_classes, spec.suite.mpp, spec.suite.tile.size)
    seed_all(spec.seed)
    with garbage.put_off():
        plugin = registered.load()
    garbage.spare()
    with _learning(spec, registered, "running build"):
        backend = plugin(task, spec.recipe.model_dump(), context)
        built = network(backend.build())
    provenance = settle(
        built,
        context,
        spec.backend,
        made_here=backend.made_here,
        trains=registered.info.trains,
    )
    model = built.to(accelerator.device)
    promptings = usable(backend, spec.suite.prompting.all())
    tracks, not_measured = _tracks(spec, registered, backend, promptings)
    _check_views(spec, backend, tracks)
    return Job(
        spec,
        run_dir,
        Announcer(run_dir, spec.recipe.tracker, registered.package),
        registered,
        labels,
        rois,
        accelerator,
        context,
        backend,
        model,
        provenance,
        count_parameters(model),
        tuple(promptings),
        tracks,
        not_measured,
    )


def network(built: object) -> nn.Module:
    """What ``build`` returned. Raises PluginError where it is no network, or none that a checkpoint
    could hold."""
    if not isinstance(built, nn.Module):
        what = "nothing" if built is None else f"a {type(built).__name__}"
        raise PluginError(f"build() returned {what}, expected a torch.nn.Module")
    held = set(built.state_dict())
    trained = [name for name, value in built.named_parameters() if value.requires_grad]
    lacking = [name for name in trained if name not in held]
    if lacking:
        raise PluginError(
            f"the network's state_dict() lacks {len(lacking)} of the parameters that train, such "
            f"as {lacking[0]}: no checkpoint would hold what they learn"
        )
    return built


def _named(registered: Registered) -> str:
    return f"{registered.info.name} ({registered.source})"


def _check_views(spec: RunSpec, backend: Backend, tracks: Sequence[Track]) -> None:
    """Raises RecipeError where ``view.tta`` would change nothing and yet be recorded."""
    by_itself = type(backend).predict_roi is not Backend.predict_roi
    whole = bool(tracks) and all(track.whole_roi for track in tracks)
    if spec.recipe.view.tta and (by_itself or whole):
        raise RecipeError(
            f"view.tta has no effect, since {spec.backend} predicts whole ROIs by itself. Leave it "
            f"out; prompts are averaged over views by the suite's prompting."
        )


@contextmanager
def _learning(spec: RunSpec, registered: Registered, doing: str) -> Iterator[None]:
    """Raises PluginError, naming the backend, for whatever its code raises; but what is raised
    while "training", most of which is the harness's, as it is."""
    guard = Guard(_ground_truth(spec), outward=False)
    given = getattr(spec.weights, "path", None)
    if given is not None:
        guard.allow(Path(given))
    try:
        with guard.up(doing):
            yield
    except PluginError as error:
        if guard.attempts or doing != "training":
            raise PluginError(f"{_named(registered)}: {error}") from error
        raise
    except BenchError:
        raise
    except Exception as error:
        if doing == "training":
            raise
        what = f"while {doing} it raised {explain(error, registered.package)}"
        raise PluginError(f"{_named(registered)}: {what}") from error


def _ground_truth(spec: RunSpec) -> dict[Path, str]:
    return {Path(spec.data_root): "the data folder", Path(spec.store_root): "the tile store"}


def _accelerator(spec: RunSpec) -> Accelerator:
    cuda = torch.cuda.is_available() and spec.device != "cpu"
    if spec.device == "cuda" and not cuda:
        raise InputError(NO_CUDA)
    return Accelerator(
        # Without a GPU, accelerate must be told so before it lets several processes train.
        cpu=spec.device == "cpu" or (spec.processes > 1 and not torch.cuda.is_available()),
        mixed_precision="no",  # see inference/precision.py: it is not for training alone
        # Frozen groups thaw later, and prompts may not touch every parameter.
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )


def _precision(spec: RunSpec, device: torch.device) -> Precision:
    return Precision.chosen(spec.recipe.train.precision if spec.recipe.train else "auto", device)


def _context(
    spec: RunSpec, labels: LabelMap, training: Sequence[Roi], accelerator: Accelerator
) -> Context:
    pixels = np.zeros(len(labels.classes), np.int64)
    for roi in training:
        pixels += roi.class_pixels(labels)
    evaluating = spec.evaluate is not None
    device = accelerator.device
    return Context(
        spec.seed,
        device,
        spec.weights,
        # A random start would be a silent stand-in for the weights to be scored.
        strict_weights=not isinstance(spec.weights, Random)
        and (spec.preset == "full" or evaluating),
        class_pixels=[int(count) for count in pixels],
        clip=Source(spec.clip, device, _precision(spec, device).autocast),
        evaluating=evaluating,
        embeddings=Embeddings(Path(spec.store_root).parent / "embeddings"),
    )


def count_parameters(model: nn.Module) -> Parameters:
    """Counted before a schedule freezes some of them for a while."""
    parameters = list(model.parameters())
    return Parameters(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
    )


def _tracks(
    spec: RunSpec, registered: Registered, backend: Backend, promptings: Sequence[Prompting]
) -> tuple[list[Track], dict[str, str]]:
    """The tracks that the run is measured in, and why not in the others that it declares."""
    headline = spec.suite.prompting.headline
    tracks: list[Track] = []
    not_measured: dict[str, str] = {}
    for track in shared(spec.suite.tracks, registered.info.tracks):
        problem = track.problem(backend, promptings, headline)
        if problem:
            not_measured[track.name] = problem
        else:
            tracks.append(track)
    return tracks, not_measured
