"""Small named checks of a backend, on a phantom of 96 px ROIs, on CPU, within a minute or so.

A check raises AssertionError with what is wrong, or Skipped with why it does not apply.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from benchbcss import leaving, registry
from benchbcss.contract import (
    ALL_STRATEGIES,
    BOX_CLASS,
    IGNORE,
    Backend,
    Batch,
    Prompt,
)
from benchbcss.errors import PluginError, explain
from benchbcss.inference.guard import Guard
from benchbcss.inference.process import Settings
from benchbcss.plain import plain
from benchbcss.recipes import resolve
from benchbcss.registry import Registered
from benchbcss.suites import Budget
from benchbcss.testing.case import TILE, Case, Skipped
from benchbcss.tracks.prompted import Prompted
from benchbcss.tracks.semantic import Semantic
from benchbcss.training import loop
from benchbcss.training.checkpoint import load_checkpoint, save_checkpoint
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Trainer, trainable_groups
from benchbcss.weights import Weights
from benchbcss.weights.loading import settle

NO_GRADIENT = "the loss has no gradient: it is detached, or made of plain numbers"
SIZES = ((64, 64), (97, 61), (33, 130), (17, 23))  # a tile, odd, long, smaller than a tile


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


def _metadata(case: Case) -> None:
    info = case.entry.info
    assert info.summary.strip(), "BackendInfo.summary is empty"
    missing = case.entry.missing()
    assert not missing, f"it needs {', '.join(missing)}: {case.entry.remedy()}"
    for preset in ("full", "smoke"):
        resolve(info.recipe, preset)  # raises where it is not valid
    cls = case.entry.load()
    automatic = cls.automatic_weights(resolve(info.recipe, "full").model_dump(mode="json"))
    assert isinstance(automatic, Weights | None), (
        f"automatic_weights() returned a {type(automatic).__name__}, expected benchbcss.weights.Hub"
    )
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
    made, _ = case.backend()
    if case.entry.info.trains and case.recipe.train is not None:
        tracks = sorted(case.entry.info.tracks)
        assert made.validation in tracks, (
            f"validation is '{made.validation}', which is none of its tracks: {', '.join(tracks)}"
        )
    for field, names in (("strategies", made.strategies), ("made_here", made.made_here)):
        assert not isinstance(names, str), f"{field} must hold names, such as ('{names}',)"
    unknown = sorted(set(made.strategies or ()) - set(ALL_STRATEGIES))
    assert not unknown, f"strategies: there is no '{unknown[0]}' ({', '.join(ALL_STRATEGIES)})"
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
    if case.entry.info.trains and case.recipe.train is not None:
        trainable_groups(made, model)  # raises where they are no lists of parameters, or overlap
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
    _predict(case, made, model, 255 - case.image((TILE, TILE)))  # what is kept of it would show
    for name, value in _predict(case, made, model).items():
        assert np.array_equal(value, first[name]), f"two {name} predictions of one image differ"
    if Semantic.name in first and type(made).predict_roi is Backend.predict_roi:
        size = case.squash or TILE
        image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            logits = [made.predict(model, part[None].clone()).clone() for part in image[[0, 1, 0]]]
        assert torch.allclose(logits[0], logits[2], rtol=1e-4, atol=1e-5), (
            "logits of one image differ, once others have been predicted"
        )


def _predict(
    case: Case, made: Backend, model: nn.Module, image: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """By track, of ``image`` uint8 [H, W, 3] or of the one that checks share."""
    predictor = case.predictor(made, model)
    image = case.image() if image is None else image
    target = _two_classes(image.shape[:2])
    return {track.name: track.answer(predictor, image, target) for track in case.available(made)}


def _encoded_apart(case: Case) -> None:
    """Views of an ROI are all encoded before any mask is predicted."""
    case.needs(Prompted)
    made, model = case.fitted()
    if reason := made.unavailable(Prompted.name):
        raise Skipped(reason)
    size = case.predictor(made, model).prompt_size
    box = (size * 0.2, size * 0.2, size * 0.7, size * 0.8)
    points = {"point_labels": (1,), "points": ((size / 2, size / 2),)}
    boxes = made.strategies is None or any("box" in name for name in made.strategies)
    prompts = [Prompt(0, box=box) if boxes else Prompt(0, **points)]  # type: ignore[arg-type]
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    model.eval()
    with torch.inference_mode():
        encoded = made.encode(model, image.clone())
        alone = made.predict_prompted(model, encoded, prompts).clone()
        encoded = made.encode(model, image.clone())
        made.encode(model, 1 - image)
        after = made.predict_prompted(model, encoded, prompts)
    assert torch.equal(alone, after), (
        "masks of an image change once another is encoded: what encode() returns does not stand by "
        "itself"
    )


def _process(case: Case) -> None:
    """Settings that a process has one of, and threads that Python waits for at its end."""
    before, waited_for = Settings.now(), set(leaving.left_over())
    changed: list[str] = []

    def look() -> None:
        changed.extend(before.put_back())
        assert not changed, f"it changes {' and '.join(dict.fromkeys(changed))}"

    try:
        case.entry.load()
        look()
        made, model = case.fitted()
        for guard in case.guards:
            changed += [text for texts in guard.changed.values() for text in texts]
        look()
        if case.entry.info.trains and case.recipe.train is not None:
            model.train()
            case.terms(made, model, case.batch())
            model.eval()
        _predict(case, made, model)
        look()
    finally:
        before.put_back()
    threads = sorted(set(leaving.left_over()) - waited_for)
    assert not threads, f"it leaves a thread running that the process would wait for: {threads[0]}"


def _notes(case: Case) -> None:
    made, model = case.fitted()
    made.context.remarks.clear()
    _predict(case, made, model)
    remarks = [plain(made.context.remarks)] if made.context.remarks else []
    said = made.summary(remarks)
    assert isinstance(said, dict), f"summary() returned {said!r:.60}, expected a dict"
    made.summary([])  # where nothing was remarked


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
    assert total.requires_grad, NO_GRADIENT
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
    again, loaded = case.backend(seed=1)  # all that differs from the other has to come from there
    load_checkpoint(folder, "final", loaded, None)
    loaded.eval()
    for name, value in _predict(case, again, loaded).items():
        same = float((value == expected[name]).mean())
        assert same == 1, (
            f"after saving and loading, {name} predictions differ in {1 - same:.1%} of the pixels: "
            "something learnt, or drawn at random in build(), is not in the network's parameters "
            "or buffers"
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
    losses: list[float] = []
    for step in range(160):
        torch.manual_seed(step)
        optimizer.zero_grad()
        total = loop.total_of(made.loss(model, batch))
        assert total.requires_grad, NO_GRADIENT
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(total.detach()))
        first, last = np.mean(losses[:5]), np.mean(losses[-5:])
        if step >= 9 and last < 0.8 * first:
            return  # a clear fall, which chance does not explain
        if step >= 39 and last < 0.9 * first:
            return
        if step == 39 and not last < 0.98 * first:
            break  # a small network may fall slowly; this one does not
    raise AssertionError(
        f"{len(losses)} steps on the same two ROIs took the loss from {first:.3f} to {last:.3f} "
        "only"
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
        "encodings_stand_by_themselves",
        _encoded_apart,
        "masks do not depend on what was encoded since",
        "let encode() return what predict_prompted() needs, and keep none of it in self",
    ),
    (
        "process_is_left_as_it_was",
        _process,
        "no folder, default of torch or thread is left changed for others",
        "put back what you change, and make threads daemons",
    ),
    (
        "summary_is_a_dict",
        _notes,
        "summary() takes the remarks of any number of ROIs",
        "return {} where there is nothing to say",
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
        "keep it in parameters or register_buffer, and layers in nn.ModuleList, not in a list",
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
        "the loss of two ROIs falls within 40 steps, or slowly within 160",
        "look whether the loss's terms reach the parameters, and whether train.lr suits them",
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
            status, detail = "FAIL", explain(error, check.case.entry.package)
        if status == "FAIL" and check.name in expected:
            status, detail = "expected failure", expected[check.name]
        seconds = time.monotonic() - begun
        outcomes.append(Outcome(check.name, status, detail, check.hint, round(seconds, 2)))
        say(outcomes[-1])
    return outcomes
