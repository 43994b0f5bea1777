"""The kit: built-ins pass, and each check finds the fault it is there for."""

import os
import re
import threading

import numpy as np
import pytest
import torch

from benchbcss.contract import Backend, BackendInfo
from benchbcss.kinds import BACKEND
from benchbcss.registry import Registered, Source
from benchbcss.testing import checks, parametrize_with_checks
from benchbcss.testing.checks import CHECKS, run_checks
from benchbcss.training.losses import dense_loss
from benchbcss.weights import Random
from benchbcss.weights.loading import load_into

FLOORS = ["floor_majority", "floor_colour", "floor_box_fill"]
MODELS = [
    "unetpp",
    "transunet",
    "segformer",
    "foundation",
    "mask2former",
    "eomt",
    "sam2_v3",
    "sam2_dense",
    "sam2_lora",
    "sam_zeroshot",
]


@pytest.mark.parametrize("name", FLOORS)
def test_the_floors_keep_the_contract(name):
    outcomes = run_checks(name)
    assert [o.name for o in outcomes if o.status == "FAIL"] == []
    assert len(outcomes) == len(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_models_keep_the_contract(name):
    if name in ("sam2_lora", "foundation"):
        pytest.importorskip("peft")
    failed = {o.name: o.detail for o in run_checks(name) if o.status == "FAIL"}
    assert failed == {}


class Good(Backend):
    """What all the broken ones below are made from."""

    def build(self):
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 6, 1)
        )
        load_into(net, self.context)
        return net

    def loss(self, model, batch):
        return dense_loss(model(batch.image), batch.target, None, {"cross_entropy": 1, "dice": 1})


class NoNote(Good):
    def build(self):
        model = super().build()
        self.context.provenance = None
        return model


class Ignoring(Good):
    """Says that it loaded the file, and did not."""

    def build(self):
        given, self.context.weights = self.context.weights, Random()
        model = super().build()
        self.context.weights = given
        return model


class Unseeded(Good):
    def build(self):
        model = super().build()
        noise = np.random.default_rng().normal(size=8)
        model[0].bias.data = torch.from_numpy(noise).float()
        return model


class Twice(Good):
    def parameter_groups(self, model):
        return {"a": list(model.parameters()), "b": list(model[0].parameters())}


class Forgotten(Good):
    def parameter_groups(self, model):
        return {"a": list(model[0].parameters())}


class OutOfRange(Good):
    def predict_roi(self, model, image):
        return np.full(image.shape[:2], 6, np.uint8)


class OnlyMultiplesOf32(Good):
    def predict_roi(self, model, image):
        height, width = (side // 32 * 32 for side in image.shape[:2])
        return np.zeros((height, width), np.uint8)


class Dropping(Good):
    def predict(self, model, image):
        return torch.nn.functional.dropout(model(image), 0.5)


class Counting(Good):
    def build(self):
        model = super().build()
        model.register_buffer("calls", torch.zeros(()))
        return model

    def predict(self, model, image):
        model.calls += 1
        return model(image)


class Overflowing(Good):
    def loss(self, model, batch):
        return {"log": torch.log(model(batch.image).sum() * 0)}


class Background(Good):
    """The classic: everything that is not the class is background, ignored or not."""

    def loss(self, model, batch):
        logits = model(batch.image)
        truth = torch.nn.functional.one_hot(batch.target.clamp(max=6), 7)[..., :6]
        return {
            "bce": torch.nn.functional.binary_cross_entropy_with_logits(
                logits, truth.movedim(-1, 1).float()
            )
        }


class Clamped(Good):
    def loss(self, model, batch):
        target = batch.target.clamp(max=5)
        return {"ce": torch.nn.functional.cross_entropy(model(batch.image), target)}


class Outside(Good):
    """Keeps what it learnt in the object, where no checkpoint finds it."""

    def after_training(self, model, samples):
        self.shift = 1 + len(list(samples.rois()))

    def predict(self, model, image):
        logits = model(image).clone()
        logits[:, 3] += 100.0 * getattr(self, "shift", 0)
        return logits


class Forgetful(Good):
    """A loss that depends on how often it was called in this process."""

    calls = 0

    def loss(self, model, batch):
        self.calls += 1
        terms = super().loss(model, batch)
        return {name: term * (1 + 0.5 * self.calls) for name, term in terms.items()}


class Detached(Good):
    """Its terms never reach the parameters."""

    def loss(self, model, batch):
        terms = super().loss(model, batch)
        nothing = sum(p.sum() for p in model.parameters()) * 0
        return {name: term.detach() + nothing for name, term in terms.items()}


class Alternating(Good):
    """What it answers depends on how often it was asked."""

    asked = 0

    def predict(self, model, image):
        self.asked += 1
        return model(image) * (1 if self.asked % 2 else -1)


class Drifting(Good):
    """Normalises by what it saw before."""

    mean = 0.5

    def predict(self, model, image):
        before, self.mean = self.mean, image.mean()
        return model(image - before)


class Unlisted(Good):
    """Layers in a plain list are no part of the network."""

    def build(self):
        model = super().build()
        model.further = [torch.nn.Conv2d(6, 6, 3, padding=1)]
        return model

    def predict(self, model, image):
        return 100 * model.further[0](model(image))


class Lacking(Good):
    def build(self):
        model = super().build()
        whole = model.state_dict
        model.state_dict = lambda *a, **k: {n: t for n, t in whole().items() if n != "0.bias"}
        return model


class Nothing(Good):
    def build(self):
        super().build()


class Wandering(Good):
    def build(self):
        os.chdir("/")
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return super().build()


class Threaded(Good):
    release = threading.Event()

    def predict(self, model, image):
        threading.Thread(target=self.release.wait, args=(60,), name="mine").start()
        return model(image)


class Speechless(Good):
    def summary(self, remarks):
        pass


class Surprised(Good):
    def summary(self, remarks):
        return {"first": remarks[0]["share"]}


class Misvalidated(Good):
    validation = "prompted"


class Spelled(Good):
    strategies = "box"


class Plain(Good):
    def loss(self, model, batch):
        return {name: float(term) for name, term in super().loss(model, batch).items()}


class Graphless(Good):
    def loss(self, model, batch):
        return {name: term.detach() for name, term in super().loss(model, batch).items()}


class Hubless(Good):
    @classmethod
    def automatic_weights(cls, recipe):
        return "timm/resnet18"


class Whole(Good):
    """Integers are no logits."""

    def predict(self, model, image):
        return (100 * model(image)).long()


class Remembering(Good):
    """The classic of wrapped predictors: the image is kept in the object."""

    def encode(self, model, image):
        self.image = image

    def predict_prompted(self, model, encoded, prompts):
        return model(self.image)[:, 0].expand(len(prompts), -1, -1)


class Raising(Good):
    def build(self):
        return self.recipe["model"]["widht"]


class Peeking(Good):
    """Looks for the masks beside what it is given."""

    def after_training(self, model, samples):

        self.data = samples

    def predict_roi(self, model, image):
        roi = self.data.training[0]
        return np.minimum(roi.target(self.data.labels), 5)[: image.shape[0], : image.shape[1]]


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """Registers a class of this module, as a plugin's entry point would."""
    import sys

    package = tmp_path / "kit_case"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "case.yaml").write_text("name: case\ntrain: {lr: 1.0e-2, batch_size: 2}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("kit_case", None)

    load = Registered.load

    def make(cls, **options):
        info = BackendInfo(
            name="case",
            summary="s",
            recipe="kit_case:case.yaml",
            **{"tracks": {"semantic"}, **options},
        )
        made = BACKEND.entry(Source("kit", "kit", "1"), info, f"{__name__}:Unused")
        monkeypatch.setattr(Registered, "load", lambda self: cls if self is made else load(self))
        return made

    return make


def test_a_good_one_passes(entry):
    assert {o.name for o in run_checks(entry(Good)) if o.status == "FAIL"} == set()


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    [
        (NoNote, "builds_and_says_where_weights_came_from", "no context.provenance"),
        (Ignoring, "a_checkpoint_is_evaluated_as_it_is", "starts from random"),
        (Unseeded, "one_seed_one_network", "0.bias"),
        (Twice, "parameter_groups_are_disjoint_and_complete", "two groups"),
        (Forgotten, "parameter_groups_are_disjoint_and_complete", "never learn"),
        (OutOfRange, "labels_are_valid_at_odd_and_tiny_sizes", "label 6"),
        (OnlyMultiplesOf32, "labels_are_valid_at_odd_and_tiny_sizes", "expected uint8"),
        (Dropping, "prediction_is_deterministic", "differ"),
        (Counting, "prediction_has_no_side_effects", "calls"),
        (Overflowing, "losses_are_finite", "not finite"),
        (Background, "ignored_pixels_teach_nothing", "moves"),
        (Clamped, "ignored_pixels_are_no_class", "trained as 'other'"),
        (Outside, "saved_and_loaded_predicts_the_same", "not in the network"),
        (Forgetful, "resumed_equals_uninterrupted", "differs in"),
        (Detached, "learns_two_rois", "only"),
        (Peeking, "ground_truth_is_out_of_reach", "running predict_roi it tried to open"),
        (Alternating, "prediction_is_deterministic", "differ"),
        (Drifting, "prediction_is_deterministic", "once others have been predicted"),
        (Unlisted, "saved_and_loaded_predicts_the_same", "drawn at random in build()"),
        (Lacking, "builds_and_says_where_weights_came_from", "such as 0.bias"),
        (Nothing, "builds_and_says_where_weights_came_from", "build() returned nothing"),
        (Wandering, "process_is_left_as_it_was", "the working directory, to / and torch's"),
        (Wandering, "process_is_left_as_it_was", "computes gradients, to False"),
        (Threaded, "process_is_left_as_it_was", "a thread running .* would wait for: mine"),
        (Speechless, "summary_is_a_dict", "returned None, expected a dict"),
        (Surprised, "summary_is_a_dict", "IndexError: .*test_checks.py, line"),
        (Misvalidated, "builds_and_says_where_weights_came_from", "none of its tracks: semantic"),
        (Spelled, "builds_and_says_where_weights_came_from", "such as ('box',)"),
        (Plain, "losses_are_finite", "is a float, expected a tensor"),
        (Graphless, "losses_are_finite", "has no gradient"),
        (Hubless, "metadata_is_honest", "returned a str, expected benchbcss.weights.Hub"),
        (Whole, "labels_are_valid_at_odd_and_tiny_sizes", "int64, expected logits as float"),
        (Remembering, "encodings_stand_by_themselves", "does not stand by itself"),
        (Raising, "one_seed_one_network", "KeyError: 'widht' .*test_checks.py, line"),
    ],
)
def test_every_fault_is_found_by_its_check(entry, monkeypatch, cls, check, words):
    monkeypatch.setattr(checks, "CHECKS", [one for one in CHECKS if one[0] == check])
    Threaded.release.clear()
    tracks = {"prompted"} if cls is Remembering else {"semantic"}
    try:
        outcomes = run_checks(entry(cls, tracks=tracks))
    finally:
        Threaded.release.set()
    failed = {o.name: o for o in outcomes if o.status == "FAIL"}
    assert check in failed
    detail = failed[check].detail
    assert words in detail or re.search(words, detail), detail
    assert failed[check].hint
    assert torch.get_default_dtype() == torch.float32, "what it changes is put back"
    assert torch.is_grad_enabled()


class OfAnotherProgram(Good):
    """Trains by itself; counts how often, and looks where it may not when it is told to."""

    fits = 0
    place = None

    def fit(self, model, samples):
        type(self).fits += 1
        if self.place is not None:
            (self.place(samples)).read_bytes()
        return True


def test_a_long_training_is_done_once_and_guarded(entry, tmp_path, monkeypatch):
    (tmp_path / "kit_case" / "case.yaml").write_text("name: case\n")
    monkeypatch.setattr(OfAnotherProgram, "fits", 0)
    statuses = {o.name: o.status for o in run_checks(entry(OfAnotherProgram))}
    assert statuses["ground_truth_is_out_of_reach"] == "pass"
    assert statuses["losses_are_finite"] == "skipped"
    assert "FAIL" not in statuses.values()
    assert OfAnotherProgram.fits == 1
    mask = staticmethod(lambda samples: samples.training[0].mask_entry.array)
    monkeypatch.setattr(OfAnotherProgram, "place", mask)
    failed = {o.name: o for o in run_checks(entry(OfAnotherProgram)) if o.status == "FAIL"}
    detail = failed["ground_truth_is_out_of_reach"].detail
    assert "while running fit it tried to open" in detail


def test_dishonest_metadata(entry):
    failed = {o.name for o in run_checks(entry(Good, tracks={"prompted"})) if o.status == "FAIL"}
    assert "metadata_is_honest" in failed
    failed = {o.name: o.detail for o in run_checks(entry(Good, requires=("no_such_thing",)))}
    assert "it needs no_such_thing" in failed["metadata_is_honest"]


def test_expected_failures_are_named_with_their_reason(entry):
    outcomes = run_checks(entry(Clamped), {"ignored_pixels_are_no_class": "known, see #7"})
    found = {o.name: o for o in outcomes}["ignored_pixels_are_no_class"]
    assert (found.status, found.detail) == ("expected failure", "known, see #7")


@parametrize_with_checks("floor_majority")
def test_as_an_author_would_write_it(check):
    check()


def test_expectations_of_no_check_are_refused():
    with pytest.raises(ValueError, match="no check of 'floor_majority'"):
        parametrize_with_checks("floor_majority", {"flies": "because"})
