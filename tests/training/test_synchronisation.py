"""How often a training step waits for its device."""

from collections import Counter

import pytest
import torch
from training_support import Tiny, train
from waits_support import Waits

from benchbcss.training.losses import cross_entropy


class Wordy(Tiny):
    """The same loss in ten terms."""

    def loss(self, model, batch):
        whole = cross_entropy(model(batch.image), batch.target)
        return {f"term{index}": whole / 10 for index in range(10)}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_fetches_all_numbers_at_once(folder, tmp_path, monkeypatch, accumulate):
    """Whatever the number of terms and of micro-batches."""
    fetched, real = Counter(), torch.Tensor.tolist

    def counted(tensor):
        fetched["tolist"] += 1
        return real(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    counts = {}
    for backend in (Tiny, Wordy):
        for steps in (4, 8):
            fetched.clear()
            with Waits() as waits:
                run = f"{backend.__name__}{steps}"
                train(folder, tmp_path, run, steps, backend, accumulate=accumulate)
            counts[backend, steps] = len(waits.names) + fetched["tolist"]
    per_step = (counts[Tiny, 8] - counts[Tiny, 4]) / 4
    assert counts[Wordy, 8] == counts[Tiny, 8]
    # one per step; the generator's drawing of a sample and an epoch's check of weights are the rest
    assert per_step >= 1, "the counter sees nothing"
    assert fetched["tolist"] == 8
