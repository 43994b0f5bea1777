"""The computed memory of a step is what it really takes; the page shows what was computed."""

import json

import pytest
import torch

from benchbcss.contract import Batch
from benchmarks import memory
from benchmarks.live_bytes import LiveBytes


def test_live_bytes_count_what_is_held():
    kept = torch.ones(1000)
    with LiveBytes([kept]) as live:
        doubled = kept * 2
        assert live.now == 4000
        doubled.view(10, 100).add_(1)  # no storage of their own
        kept.add_(1)
        assert live.now == 4000
        del doubled
        assert live.now == 0
        torch.ones(250).sum()
    assert live.peak == 4000


def allocated(made, network, side, count):
    """The most bytes that PyTorch's allocator really gave out in a step, by its own profiler."""
    network.train()
    target = torch.arange(count * side * side).view(count, side, side) % 6
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        batch = Batch(torch.rand(count, 3, side, side), target.clone(), ["a"] * count, 0)
        sum(made.loss(network, batch).values()).backward()
    total = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    return peak


def test_what_is_computed_is_what_is_allocated():
    """But for what kernels need while they run."""
    row = memory.measured("segformer", preset="smoke", tile=128, precisions=["fp32"])
    made, network, _ = memory.built("segformer", "smoke", tile=128)
    step = row["plain"]["fp32"] - row["weights"] - row["optimizer"]
    assert step == pytest.approx(allocated(made, network, 128, row["batch"]), rel=0.1)
    assert row["optimizer"] == 2 * sum(4 * p.numel() for p in network.parameters())
    assert row["checkpointed"]["fp32"] < row["plain"]["fp32"]


def test_the_page_shows_what_was_computed():
    """Of every recipe, but four ablations that take what sam2_v3 does."""
    rows = json.loads(memory.RECORD.read_text(encoding="utf-8"))
    assert memory.table(rows) in memory.PAGE.read_text(encoding="utf-8")
    computed = {key.split()[0] for key in rows}
    same_as_v3 = {name for name in memory.trained() if name.startswith("sam2_v3_no_")}
    assert computed | same_as_v3 == set(memory.trained())


def test_every_full_recipe_that_was_computed_fits_24_gb():
    """As ``train.gradient_checkpointing`` leaves it on such a card."""
    rows = json.loads(memory.RECORD.read_text(encoding="utf-8"))
    for name, row in rows.items():
        peak = row.get("checkpointed", row["plain"])["bf16"]
        assert peak < memory.CARD, f"{name}: {peak / 1e9:.1f} GB"
