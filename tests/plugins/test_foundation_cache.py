"""A frozen encoder sees each tile and view once, and nothing else about a run changes."""

import shutil

import pytest
import torch
from runs_support import specs
from safetensors.torch import load_file

from benchbcss.progress import SILENT
from benchbcss.results import store
from benchbcss.runs import executors, worker

pytest.importorskip("timm")
pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("benchbcss_hf")

from benchbcss_hf.encoders import TimmVit

FROZEN = (
    "model.adaptation.kind=frozen",
    "train.views=2",
    "train.budget=recipe",
    "train.steps=6",
    "train.validate_every=1",
)


def _settings(more):
    keys = {text.partition("=")[0] for text in more}
    return (*(text for text in FROZEN if text.partition("=")[0] not in keys), *more)


def run(phantom, workspace, *more):
    """(folder, images that the encoder was asked for) of a run in this process."""
    asked = []
    real = TimmVit.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimmVit, "forward", lambda s, x: asked.append(len(x)) or real(s, x))
        (spec,) = specs(phantom, workspace, ["foundation"], overrides=_settings(more))
        run_dir = executors.prepare(spec, executors.Settings(workspace, lambda text: None))
        worker.execute(spec, run_dir, SILENT)
    return run_dir, sum(asked)


def made(run_dir):
    """Everything that training and prediction left: tensors, and the bytes of pictures."""
    weights = load_file(run_dir / "checkpoints" / "final.safetensors")
    pictures = {p.name: p.read_bytes() for p in sorted(run_dir.glob("predictions/*/*.png"))}
    return weights, pictures


def assert_equal(one, other):
    (weights, pictures), (others, theirs) = made(one), made(other)
    assert pictures == theirs
    assert pictures
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.fixture(scope="module")
def runs(phantom, tmp_path_factory):
    """Uncached, the first on a cold cache, a second head on the warm one, and that uncached."""
    place = tmp_path_factory.mktemp("cached")
    second = "model.head.kind=linear"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCHBCSS_EMBEDDINGS", "0")
        uncached = {
            "first": run(phantom, place / "a"),
            "second": run(phantom, place / "a", second),
        }
    cached = {"first": run(phantom, place / "b"), "second": run(phantom, place / "b", second)}
    return place, uncached, cached


def test_a_second_head_on_a_warm_cache_asks_the_encoder_for_nothing(runs):
    place, uncached, cached = runs
    kept = len(list((place / "b" / "embeddings").glob("*/*.emb")))
    assert cached["first"][1] == kept < uncached["first"][1]
    assert cached["second"][1] == 0 < uncached["second"][1]
    record = store.load(cached["second"][0])
    assert record.notes["embeddings"]["computed"] == 0
    assert record.notes["embeddings"]["read"] > 0


@pytest.mark.parametrize("head", ["first", "second"])
def test_it_ends_bitwise_equal_to_the_uncached_run(runs, head):
    _, uncached, cached = runs
    assert_equal(uncached[head][0], cached[head][0])


def test_a_folder_that_is_gone_or_damaged_changes_nothing(runs, phantom, tmp_path):
    place, uncached, _ = runs
    shutil.copytree(place / "b" / "embeddings", tmp_path / "w" / "embeddings")
    entries = sorted((tmp_path / "w" / "embeddings").glob("*/*.emb"))
    for index, path in enumerate(entries):
        if index % 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-3] + b"bad")
    run_dir, asked = run(phantom, tmp_path / "w", "model.head.kind=linear")
    assert asked > 0
    assert_equal(uncached["second"][0], run_dir)


def test_views_are_drawn_once(folder, tmp_path):
    from training_support import samples

    data = samples(folder, tmp_path, views=2, rare_class_probability=0.5)
    free = samples(folder, tmp_path, rare_class_probability=0.5)
    for epoch in range(6):
        image, target = data.sample(epoch, 1)
        expected = free.sample(epoch % 2, 1)
        assert torch.equal(image, expected[0])
        assert torch.equal(target, expected[1])
    assert not torch.equal(data.sample(0, 1)[0], data.sample(1, 1)[0])


def test_only_fixed_views_are_kept_of_training(phantom, tmp_path):
    """Samples that never come again would fill the disk for nothing."""
    run(phantom, tmp_path, "train.views=null")
    entries = list((tmp_path / "embeddings").glob("*/*.emb"))
    (run_dir,) = (path.parent for path in tmp_path.glob("runs/*/*/*/result.json"))
    # validation and test ROIs of 128 px, each a tile of its own
    split = store.load_spec(run_dir).split
    assert len(entries) == len(split.val) + len(split.test)
