"""Small named checks of a backend, on a phantom of 96 px ROIs, on CPU, within a minute or so.

A check raises AssertionError with what is wrong, or Skipped with why it does not apply.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from benchbcss import registry
from benchbcss.contract import (
    ALL_STRATEGIES,
    BOX_CLASS,
    IGNORE,
    Backend,
    Batch,
    Context,
    Prompt,
    Task,
)
from benchbcss.data.dataset import Dataset, Roi
from benchbcss.data.labels import label_map
from benchbcss.data.phantom import generate
from benchbcss.data.store import TileStore
from benchbcss.errors import PluginError
from benchbcss.inference.guard import Guard
from benchbcss.inference.predictor import Predictor
from benchbcss.recipes import Recipe, Train, resolve
from benchbcss.registry import Registered
from benchbcss.runs.planning import clip_spec
from benchbcss.suites import Budget, Clip
from benchbcss.tracks import Track, shared
from benchbcss.tracks.prompted import Prompted
from benchbcss.tracks.semantic import Semantic
from benchbcss.training import loop
from benchbcss.training.checkpoint import load_checkpoint, save_checkpoint
from benchbcss.training.samples import TrainingData
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Trainer
from benchbcss.weights import Weights
from benchbcss.weights.loading import settle

TILE = 64
ROI = 96
SIZES = ((64, 64), (97, 61), (33, 130), (17, 23))  # a tile, odd, long, smaller than a tile


class Skipped(Exception):
    """The check does not apply to this backend; the message says why."""


@dataclass(frozen=True)
class Check:
    """One promise. Calling it raises AssertionError where it is broken."""

    name: str
    promise: str
    hint: str
    case: Case
    work: Callable[[Case], None]

    def __call__(self) -> None:
        try:
            self.work(self.case)
        except Skipped as reason:
            try:
                import pytest
            except ImportError:
                raise reason from None
            pytest.skip(str(reason))


@dataclass(frozen=True)
class Outcome:
    """'pass', 'FAIL', 'skipped' or 'expected failure', and what was found."""

    name: str
    status: str
    detail: str
    hint: str
    seconds: float


class Case:
    """A backend on a tiny phantom, built anew whenever a check asks for it."""

    def __init__(self, entry: Registered, overrides: Sequence[str] = ()) -> None:
        self.entry = entry
        self._folder = tempfile.TemporaryDirectory(prefix="benchbcss-check-")
        self.root = Path(self._folder.name)
        self.labels = label_map("bcss5")
        self.task = Task(self.labels.class_names, self.labels.mean_classes, 0.3, TILE)
        recipe = resolve(entry.info.recipe, "smoke", tuple(overrides))
        if recipe.view.protocol == "squash" and not any("view.size" in o for o in overrides):
            recipe = resolve(entry.info.recipe, "smoke", (*overrides, f"view.size={2 * TILE}"))
        self.recipe: Recipe = recipe
        self._rois: dict[str, Roi] | None = None
        self._kept: tuple[Backend, nn.Module] | None = None

    @property
    def squash(self) -> int | None:
        return self.recipe.view.size if self.recipe.view.protocol == "squash" else None

    @property
    def tracks(self) -> list[Track]:
        return shared(self.entry.info.tracks)

    def needs(self, kind: type[Track]) -> None:
        """Raises Skipped for a backend without the track."""
        if kind.name not in self.entry.info.tracks:
            raise Skipped(f"it has no {kind.name} track")

    def available(self, made: Backend) -> list[Track]:
        """The tracks that can be measured here: a labeller's weights may be missing."""
        return [track for track in self.tracks if not made.unavailable(track.name)]

    def rois(self) -> list[Roi]:
        """Six ROIs: the first four train, the last two are for testing."""
        if self._rois is None:
            generate(self.root / "data", rois=6, size=ROI, seed=1)
            source = Dataset(self.root / "data", TileStore(self.root / "store"))
            self._rois = source.rois(source.names, self.labels)
        return list(self._rois.values())

    def backend(self, weights: str = "none", evaluating: bool = False) -> tuple[Backend, nn.Module]:
        """A new instance and its network, from the seed 0."""
        from benchbcss.inference.clip import Source

        counts = sum((roi.class_pixels(self.labels) for roi in self.rois()[:4]), np.int64(0))
        device = torch.device("cpu")
        context = Context(
            0,
            device,
            Weights.parse(weights),
            False,
            [int(count) for count in np.asarray(counts)],
            clip=Source(clip_spec(Clip()), device),
            evaluating=evaluating,
        )
        torch.manual_seed(0)
        made = self.entry.load()(self.task, self.recipe.model_dump(), context)
        return made, made.build()

    def data(self, rois: Sequence[Roi] | None = None) -> TrainingData:
        chosen = self.rois()[:4] if rois is None else list(rois)
        held_out = self.rois()[4:5]
        return TrainingData(chosen, self.labels, TILE, self.squash, 0, validation=held_out)

    def truth(self) -> dict[Path, str]:
        """What no backend may read, as in a run."""
        return {self.root / "data": "the data folder", self.root / "store": "the tile store"}

    def fitted(self, *, guarded: bool = False) -> tuple[Backend, nn.Module]:
        """A new instance with whatever it fits by itself, but without the training loop; the same
        again of one that leaves training to another program, which takes long: that is done once,
        and guarded."""
        if self._kept is not None:
            return self._kept
        apart = self.entry.info.trains and self.recipe.train is None
        made, model = self.backend()
        guard = Guard(self.truth() if guarded or apart else {}, outward=False)
        with guard.up("running fit"):
            fitted = made.fit(model, self.data())
        model.eval()
        with guard.up("running after_training"):
            made.after_training(model, self.data())
        if fitted and apart:
            self._kept = made, model
        return made, model

    def predictor(self, made: Backend, model: nn.Module, guard: Guard | None = None) -> Predictor:
        size = self.recipe.view.size if self.squash else 2 * TILE
        device = torch.device("cpu")
        abstains = self.entry.info.abstains
        return Predictor(
            made, model, self.squash, TILE, 16, size, device, guard=guard, abstains=abstains
        )

    def image(self, shape: tuple[int, int] = (ROI, ROI)) -> np.ndarray:
        """A part of a phantom ROI, repeated where it is too small."""
        image = np.array(self.rois()[0].image())
        times = [-(-wanted // have) for wanted, have in zip(shape, image.shape, strict=False)]
        return np.tile(image, (*times, 1))[: shape[0], : shape[1]]

    def trains(self, made: Backend, model: nn.Module) -> Train:
        """Settings of a short training. Raises Skipped where the loop is not used."""
        if not self.entry.info.trains:
            raise Skipped("it is not trained")
        if self.recipe.train is None:
            raise Skipped("it trains by itself, without the harness's loop")
        if made.fit(model, self.data()):
            raise Skipped("it fits by itself, without the harness's loop")
        changed = {"warmup_steps": 0, "early_stopping": None, "batch_size": 2, "accumulate": 1}
        train = self.recipe.train.model_copy(update=changed)
        return train.model_copy(update={"budget": "suite", "unfreeze": train.unfreeze[:1]})

    def batch(self) -> Batch:
        """Two samples with an ignored quarter."""
        data = self.data()
        pairs = [data.sample(0, index) for index in range(2)]
        target = torch.stack([pair[1] for pair in pairs])
        target[:, : target.shape[1] // 2, : target.shape[2] // 2] = IGNORE
        return Batch(torch.stack([pair[0] for pair in pairs]), target, ["a", "b"], 0)

    def terms(self, made: Backend, model: nn.Module, batch: Batch) -> torch.Tensor:
        torch.manual_seed(1)
        terms = made.loss(model, batch)
        assert isinstance(terms, dict), "loss() must return named terms"
        assert terms, "loss() returned no term"
        for name, term in terms.items():
            assert getattr(term, "ndim", None) == 0, f"loss() term '{name}' is not a scalar"
        return torch.stack([term.float() for term in terms.values()]).sum()


def _metadata(case: Case) -> None:
    info = case.entry.info
    assert info.summary.strip(), "BackendInfo.summary is empty"
    missing = case.entry.missing()
    assert not missing, f"it needs {', '.join(missing)}: {case.entry.remedy()}"
    for preset in ("full", "smoke"):
        resolve(info.recipe, preset)  # raises where it is not valid
    cls = case.entry.load()
    for track in case.tracks:
        for method in track.required:
            assert getattr(cls, method) is not getattr(Backend, method), (
                f"the track '{track.name}' is declared, but {cls.__name__} has no {method}()"
            )
    if info.trains and case.recipe.train is None:
        case.fitted()
        assert case._kept is not None, (
            "trains is True, but the recipe has no train section and fit() returns False"
        )


def _builds(case: Case) -> None:
    made, model = case.backend()
    assert isinstance(model, nn.Module), f"build() returned {type(model).__name__}"
    assert made.context.provenance is not None, (
        "build() left no context.provenance saying where the weights came from"
    )


def _evaluates(case: Case) -> None:
    if case.entry.info.floor:
        raise Skipped("it is a floor: it has no weights to evaluate")
    _, model = case.backend()
    if not list(model.parameters()):
        raise Skipped("its network has no parameters")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25)
    path = case.root / "whole.pt"
    torch.save(model.state_dict(), path)
    again, loaded = case.backend(str(path), evaluating=True)
    settled = settle(
        loaded,
        again.context,
        case.entry.info.name,
        made_here=again.made_here,
    )
    assert settled.source.startswith("file: "), (
        f"a file was given, and context.provenance says '{settled.source}'"
    )
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name)), f"{name} is not the file's"


def _seeded(case: Case) -> None:
    first, again = case.backend()[1].state_dict(), case.backend()[1].state_dict()
    for key, value in first.items():
        assert torch.equal(value, again[key]), f"two builds under one seed differ in {key}"


def _groups(case: Case) -> None:
    made, model = case.backend()
    groups = made.parameter_groups(model)
    ids = [id(p) for group in groups.values() for p in group]
    assert len(ids) == len(set(ids)), "a parameter is in two groups"
    in_network = {id(p) for p in model.parameters()}
    assert set(ids) <= in_network, "a group holds a parameter that is not the network's"
    lost = sum(p.requires_grad and id(p) not in set(ids) for p in model.parameters())
    assert not lost, f"{lost} trainable parameter(s) are in no group, so they never learn"


def _labels(case: Case) -> None:
    case.needs(Semantic)
    made, model = case.fitted()
    reason = made.unavailable(Semantic.name)
    if reason:
        raise Skipped(reason)
    predictor = case.predictor(made, model)
    for shape in SIZES:
        labels = predictor.semantic(case.image(shape))
        assert labels.shape == shape, f"an ROI of {shape} came back as {labels.shape}"
        assert labels.dtype == np.uint8, f"labels are {labels.dtype}, not uint8"
        named = labels[labels != IGNORE] if case.entry.info.abstains else labels
        top = int(named.max(initial=0))
        assert top < case.task.num_classes, f"label {top} is unknown"


def _masks(case: Case) -> None:
    case.needs(Prompted)
    made, model = case.fitted()
    allowed = made.strategies or ALL_STRATEGIES
    size = case.predictor(made, model).prompt_size
    box = (size * 0.2, size * 0.2, size * 0.7, size * 0.8)
    prompts = {
        "centroid": Prompt(0, points=((size / 2, size / 2),), point_labels=(1,)),
        "points5": Prompt(
            1,
            points=tuple((size * x, size / 2) for x in (0.1, 0.3, 0.5, 0.7, 0.9)),
            point_labels=(1,) * 5,
        ),
        "box": Prompt(2, box=box),
        "box_neg": Prompt(3, box, ((size * 0.1, size * 0.1),), (0,)),
        "box_neg_outer": Prompt(0, box, ((size * 0.75, size * 0.5),), (0,)),
    }
    chosen = [prompts[name] for name in allowed]
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model.eval()
        encoded = made.encode(model, image)
        logits = made.predict_prompted(model, encoded, chosen)
    shaped = logits.ndim == 3 and len(logits) == len(chosen)
    assert shaped, f"predict_prompted returned {tuple(logits.shape)} for {len(chosen)} prompts"
    assert bool(torch.isfinite(logits).all()), "mask logits are not finite"
    masks = case.predictor(made, model).prompted(
        case.image((97, 61)), _two_classes((97, 61)), [BOX_CLASS]
    )["box-class"]
    assert all(mask.shape == (97, 61) for mask in masks.values())


def _two_classes(shape: tuple[int, int]) -> np.ndarray:
    target = np.full(shape, IGNORE, np.uint8)
    target[5:60, 5:50], target[70:90, 10:40] = 0, 4
    return target


def _deterministic(case: Case) -> None:
    made, model = case.fitted()
    first = _predict(case, made, model)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - a backend may use the global generator
    for name, value in _predict(case, made, model).items():
        assert np.array_equal(value, first[name]), f"two {name} predictions of one image differ"


def _predict(case: Case, made: Backend, model: nn.Module) -> dict[str, np.ndarray]:
    predictor = case.predictor(made, model)
    image, target = case.image(), _two_classes((ROI, ROI))
    return {track.name: track.answer(predictor, image, target) for track in case.available(made)}


def _no_side_effects(case: Case) -> None:
    made, model = case.fitted()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    _predict(case, made, model)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), f"predicting changed {key}"
    assert not model.training, "predicting left the network in training mode"


def _finite(case: Case) -> None:
    made, model = case.backend()
    case.trains(made, model)
    model.train()
    total = case.terms(made, model, case.batch())
    assert bool(torch.isfinite(total)), "the loss of an ordinary batch is not finite"
    total.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads, "the loss reaches no parameter"
    assert all(bool(torch.isfinite(g).all()) for g in grads), "a gradient is not finite"


def _nothing_known(case: Case) -> None:
    made, model = case.backend()
    case.trains(made, model)
    model.train()
    batch = case.batch()
    batch.target[:] = IGNORE
    total = case.terms(made, model, batch)
    assert bool(torch.isfinite(total)), "the loss of a wholly ignored batch is not finite"
    if total.requires_grad:
        total.backward()
    moved = [n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())]
    assert not moved, (
        f"a batch of ignored pixels alone moves {len(moved)} parameter(s), such as {moved[:1]}"
    )


def _ignored_is_no_class(case: Case) -> None:
    made, model = case.backend()
    case.trains(made, model)
    model.eval()  # no dropout, no batch statistics: only the target may make a difference
    batch = case.batch()
    ignored = batch.target == IGNORE
    with torch.no_grad():
        reference = float(case.terms(made, model, batch))
        for label in range(case.task.num_classes):
            other = Batch(
                batch.image, torch.where(ignored, label, batch.target), batch.names, batch.step
            )
            value = float(case.terms(made, model, other))
            name = case.task.class_names[label]
            assert value != reference, f"ignored pixels are trained as '{name}'"


def _round_trip(case: Case) -> None:
    made, model = case.fitted()
    expected = _predict(case, made, model)
    folder = case.root / "saved"
    save_checkpoint(folder, "final", model, None, {})
    again, network = case.backend()
    load_checkpoint(folder, "final", network, None)
    network.eval()
    for name, value in _predict(case, again, network).items():
        same = float((value == expected[name]).mean())
        assert same == 1, (
            f"after saving and loading, {name} predictions differ in {1 - same:.1%} of the pixels: "
            "something learnt is not in the network's parameters or buffers"
        )


class _Stop(Exception):
    pass


def _resume(case: Case) -> None:
    made, model = case.backend()
    settings = case.trains(made, model)

    def train(folder: str, stop: int | None) -> nn.Module:
        made, model = case.backend()
        epochs = []

        def on_epoch(record: dict[str, Any]) -> None:
            epochs.append(record)
            if stop is not None and len(epochs) == stop:
                raise _Stop

        trainer = Trainer(
            made,
            model,
            settings,
            plan(settings, Budget(steps=4), 4),
            Accelerator(cpu=True),
            case.root / folder,
            seed=0,
        )
        trainer.checkpoint_every = 0.0
        loop.train(trainer, case.data(), on_epoch=on_epoch)
        return model

    whole = train("whole", None)
    try:
        train("torn", 2)
    except _Stop:
        pass
    resumed = train("torn", None).state_dict()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed[key]), (
            f"a training that was interrupted and resumed differs in {key}: the backend keeps "
            "state of its own, or draws random numbers that are not torch's"
        )


def _learns(case: Case) -> None:
    made, model = case.backend()
    settings = case.trains(made, model)
    data = case.data(case.rois()[:2])
    pairs = [data.sample(0, index) for index in range(2)]
    batch = Batch(
        torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs]), ["a", "b"], 0
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    rate = max(settings.lr, 5e-4)
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    model.train()
    losses = []
    for step in range(40):
        torch.manual_seed(step)
        optimizer.zero_grad()
        total = torch.stack([t.float() for t in made.loss(model, batch).values()]).sum()
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(total.detach()))
        if step >= 9 and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]):
            return  # a clear fall, which chance does not explain
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    assert last < 0.9 * first, (
        f"40 steps on the same two ROIs took the loss from {first:.3f} to {last:.3f} only"
    )


def _guarded(case: Case) -> None:
    """As in a run: ROIs come from the tile store, and the run's guard is up."""
    roi = case.rois()[4]
    try:
        made, model = case.fitted(guarded=True)
        guard = Guard({case.root: "the workspace", **case.truth()})
        predictor = case.predictor(made, model, guard)
        for track in case.available(made):
            track.answer(predictor, roi.image(), roi.target(case.labels))
    except PluginError as error:
        raise AssertionError(str(error)) from error


CHECKS: tuple[tuple[str, Callable[[Case], None], str, str], ...] = (
    (
        "metadata_is_honest",
        _metadata,
        "tracks, requirements, recipes and training are as declared",
        "compare BackendInfo and the recipe with the class",
    ),
    (
        "builds_and_says_where_weights_came_from",
        _builds,
        "build() returns a module and context.provenance is set",
        "call benchbcss.weights.loading.load_into(network, self.context) in build()",
    ),
    (
        "a_checkpoint_is_evaluated_as_it_is",
        _evaluates,
        "all parameters come from the file that is evaluated",
        "call benchbcss.weights.loading.load_into(network, self.context) in build()",
    ),
    (
        "one_seed_one_network",
        _seeded,
        "two builds under one seed are equal",
        "initialise with torch's generator, which the harness seeds",
    ),
    (
        "parameter_groups_are_disjoint_and_complete",
        _groups,
        "every trainable parameter is in exactly one group",
        "return {'all': list(model.parameters())} unless a recipe needs more",
    ),
    (
        "labels_are_valid_at_odd_and_tiny_sizes",
        _labels,
        "label maps are uint8 0..K-1 for any ROI size",
        "predict() must return [B, K, H, W] for the [B, 3, H, W] it is given",
    ),
    (
        "masks_for_every_kind_of_prompt",
        _masks,
        "one finite mask per prompt, at any ROI size",
        "set `strategies` where some prompts cannot be used",
    ),
    (
        "prediction_is_deterministic",
        _deterministic,
        "one image gives one prediction",
        "leave dropout to model.eval() and draw nothing at random in predict",
    ),
    (
        "prediction_has_no_side_effects",
        _no_side_effects,
        "predicting changes no parameter, no buffer and no mode",
        "do not call model.train() or update buffers in predict",
    ),
    (
        "losses_are_finite",
        _finite,
        "an ordinary batch with ignored pixels gives finite terms and gradients",
        "leave ignored pixels (255) out before dividing or indexing",
    ),
    (
        "ignored_pixels_teach_nothing",
        _nothing_known,
        "a wholly ignored batch gives a finite loss without gradient",
        "mask every term by batch.target != 255; benchbcss.training.losses does",
    ),
    (
        "ignored_pixels_are_no_class",
        _ignored_is_no_class,
        "255 is not trained as one of the classes",
        "do not clamp or remap 255 to a label",
    ),
    (
        "saved_and_loaded_predicts_the_same",
        _round_trip,
        "what was learnt survives the checkpoint",
        "keep it in parameters or register_buffer",
    ),
    (
        "resumed_equals_uninterrupted",
        _resume,
        "an interrupted training ends with the same weights",
        "keep no state outside the network, draw random numbers from torch only",
    ),
    (
        "learns_two_rois",
        _learns,
        "the loss of two ROIs falls within 40 steps",
        "look whether the loss's terms reach the parameters",
    ),
    (
        "ground_truth_is_out_of_reach",
        _guarded,
        "no file of the dataset is opened, and no process or connection while predicting",
        "use what fit() and predict() are given, and read files of your own in build()",
    ),
)


def checks_of(backend: str | Registered, overrides: Sequence[str] = ()) -> list[Check]:
    """The checks of a registered backend; ``overrides`` as with --set. Raises UnknownNameError."""
    entry = registry.load().backend(backend) if isinstance(backend, str) else backend
    case = Case(entry, overrides)
    return [Check(name, promise, hint, case, work) for name, work, promise, hint in CHECKS]


def run_checks(
    backend: str | Registered,
    expected_failures: dict[str, str] | None = None,
    overrides: Sequence[str] = (),
    say: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run them all; none stops the others."""
    expected = expected_failures or {}
    outcomes = []
    for check in checks_of(backend, overrides):
        begun = time.monotonic()
        status, detail = "pass", ""
        try:
            check.work(check.case)
        except Skipped as reason:
            status, detail = "skipped", str(reason)
        except AssertionError as error:
            status, detail = "FAIL", str(error)
        except (Exception, SystemExit) as error:
            known = isinstance(error, PluginError)
            status = "FAIL"
            detail = str(error) if known else f"{type(error).__name__}: {error}"
        if status == "FAIL" and check.name in expected:
            status, detail = "expected failure", expected[check.name]
        seconds = time.monotonic() - begun
        outcomes.append(Outcome(check.name, status, detail, check.hint, round(seconds, 2)))
        say(outcomes[-1])
    return outcomes
