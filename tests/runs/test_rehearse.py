"""Weights are checked before anything starts; another problem of one backend stops no other."""

import pytest
from runs_support import specs

from benchbcss.errors import WeightsError
from benchbcss.runs import rehearse

FINE = {"weights": "random", "parameters": 1, "not_measured": {}, "validation": {}}
LACKS = {"problem": "No weights for it. Download them.", "lacks_weights": True}
BROKEN = {"problem": "TypeError: build() takes no argument"}
NO_CLIP = {**FINE, "not_measured": {"clip_accuracy": "no CLIP weights"}}
BACKENDS = ("unetpp", "mask2former", "transunet")


@pytest.fixture
def check(phantom, tmp_path, monkeypatch):
    """What ``require_weights`` says when backends answer so, and whom it asked."""

    def checked(answers, preset="full", seeds=1, here=True):
        asked, said = [], []

        def ask(spec, seeds):
            asked.append(spec.backend)
            return answers.get(spec.backend, FINE)

        monkeypatch.setattr(rehearse, "_ask", ask)
        wanted = [
            spec
            for seed in range(seeds)
            for spec in specs(phantom, tmp_path, BACKENDS, seed=seed, preset=preset)
        ]
        try:
            rehearse.require_weights(wanted, said.append, here=here)
        except WeightsError as error:
            said.append(str(error))
        return asked, said

    return checked


def test_every_backend_without_weights_is_named_and_each_asked_once(check):
    asked, said = check({"unetpp": LACKS, "transunet": LACKS}, seeds=2)
    assert sorted(asked) == sorted(BACKENDS)
    (text,) = said
    assert text.startswith("Nothing was started. ")
    assert "unetpp: No weights for it. Download them." in text
    assert "transunet: No weights" in text
    assert "mask2former" not in text


def test_another_problem_of_one_backend_stops_no_other(check):
    assert check({"unetpp": BROKEN}) == (list(BACKENDS), [])


def test_what_will_not_be_measured_is_said_once(check):
    _, said = check({"mask2former": NO_CLIP}, seeds=3)
    assert said == ["warning: mask2former: clip_accuracy will not be measured: no CLIP weights"]


def test_short_trials_start_without_weights(check):
    assert check({"unetpp": LACKS}, preset="smoke") == ([], [])


def test_weights_that_are_missing_are_told_apart_from_what_is_broken(
    phantom, tmp_path, monkeypatch
):
    (small,) = specs(phantom, tmp_path, ["unetpp"])
    assert "problem" not in rehearse._answer(small, [0])
    (full,) = specs(phantom, tmp_path, ["unetpp"], preset="full")
    assert rehearse._answer(full, [0])["lacks_weights"]  # ImageNet's are not on this machine
    monkeypatch.setattr("benchbcss.runs.setup.TileStore", None)
    assert "lacks_weights" not in rehearse._answer(small, [0])


def test_a_single_run_here_is_not_built_twice(phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(rehearse, "_ask", lambda *given: pytest.fail("it was asked"))
    rehearse.require_weights(specs(phantom, tmp_path, ["unetpp"], preset="full"), print)
