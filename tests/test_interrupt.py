"""A request to stop: when it is obeyed, and that a stopped training continues as if it had not."""

import os
import signal
import threading

import pytest
import torch
from training_support import Tiny, train, weights

from benchbcss import interrupt
from benchbcss.training.loop import Validation


@pytest.fixture(autouse=True)
def listening():
    """Signals are obeyed in this process, and nothing is asked before and after."""
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    interrupt._asked.clear()
    interrupt.listen()
    yield
    interrupt._asked.clear()
    for number, handler in zip(interrupt.SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_request_is_obeyed_at_once(number):
    with pytest.raises(interrupt.StopRequested):
        signal.raise_signal(number)
    assert interrupt.asked()


def test_no_handler_of_a_plugin_swallows_it():
    swallowed = []

    def plugin():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:
            swallowed.append(error)

    with pytest.raises(interrupt.StopRequested):
        plugin()
    assert not swallowed


@interrupt.deferred()
def work(signals, outcome):
    """Code that gets ``signals`` from a timer and then ends with ``outcome``."""
    for number in signals:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
        timer.start()
        timer.join()
    outcome.append(interrupt.asked())
    if "error" in outcome:
        raise ValueError("its own")


def test_a_deferred_request_is_obeyed_at_the_end():
    outcome = []
    with pytest.raises(interrupt.StopRequested):
        work([signal.SIGUSR2, signal.SIGTERM], outcome)
    assert outcome == [True]


def test_without_a_request_nothing_is_raised():
    outcome = []
    work([], outcome)
    assert outcome == [False]


def test_an_error_of_the_code_itself_is_not_hidden_by_a_request():
    with pytest.raises(ValueError, match="its own"):
        work([signal.SIGUSR2], ["error"])


class Asked(Tiny):
    """Gets a request in the loss of one step; every step draws from the generator."""

    at: int | None = None
    steps = 0

    def loss(self, model, batch):
        if type(self).at is not None and batch.step == type(self).at:
            type(self).at = None
            os.kill(os.getpid(), signal.SIGUSR2)
        type(self).steps += 1
        return super().loss(model, batch)


def validated(model):
    return Validation(float(model[0].weight.detach().abs().mean()), {})


def comparable(history):
    """Everything that training recorded but its seconds."""
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in history.records]
    return records, history.start, history.best, history.best_step, history.stopped


@pytest.mark.parametrize("at", range(8))
def test_a_training_stopped_at_any_step_continues_exactly(folder, tmp_path, at):
    """Epochs have two steps: within one, at its end, at the last. The step in which the request
    comes is finished, saved and not repeated."""
    options = {"steps": 8, "validate": validated}
    whole, undisturbed = train(folder, tmp_path, "whole", **options)
    Asked.at, Asked.steps = at, 0
    with pytest.raises(interrupt.StopRequested), interrupt.deferred():
        train(folder, tmp_path, "stopped", backend=Asked, **options)
    interrupt._asked.clear()
    resumed, history = train(folder, tmp_path, "stopped", backend=Asked, **options)
    assert Asked.steps == 8
    assert torch.equal(weights(whole), weights(resumed))
    assert comparable(history) == comparable(undisturbed)
    log = (tmp_path / "stopped" / "epochs.jsonl").read_text().splitlines()
    assert len(log) == 4
