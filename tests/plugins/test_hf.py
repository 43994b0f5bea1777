"""hf_semantic: any transformers network, its classes mapped to the suite's by name or by a file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tests_support import cli

from benchbcss import registry
from benchbcss.contract import Context, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import Weights
from benchbcss.weights.loading import settle

pytest.importorskip("transformers")
pytest.importorskip("benchbcss_hf")

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64)
TINY = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "decoder_hidden_size": 32,
}
COMMIT = "1" * 40
SOURCE = Path(__file__).parents[2] / "plugins" / "hf"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the installed distribution does not name the plugin yet, another one does."""
    if "hf_semantic" in registry.load().backends:
        yield None
        return
    folder = tmp_path_factory.mktemp("site")
    info = folder / "hf-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[benchbcss]\nhf = benchbcss_hf\n")
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(folder))
    registry.load.cache_clear()
    yield f"{folder}{os.pathsep}{SOURCE}"
    patch.undo()
    registry.load.cache_clear()


def network(names, seed=0):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(seed)
    config = SegformerConfig(**TINY, id2label=dict(enumerate(names)))
    config.label2id = {name: index for index, name in enumerate(names)}
    return SegformerForSemanticSegmentation(config).eval()


def saved(folder, names, **preprocessing):
    made = network(names)
    made.save_pretrained(folder)
    if preprocessing:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return made


def built(site, weights, *, evaluating=True, **model):
    recipe = resolve("benchbcss_hf:hf_semantic.yaml", "smoke").model_dump()
    recipe["model"] |= model
    device = torch.device("cpu")
    given = Weights.parse(str(weights))
    context = Context(0, device, given, False, [9] * 6, evaluating=evaluating)
    made = registry.load().backend("hf_semantic").load()(TASK, recipe, context)
    torch.manual_seed(7)
    net = made.build()
    said = settle(net, context, "hf_semantic", made_here=made.made_here)
    return made, net.eval(), said


def test_a_folder_is_scored_with_its_own_classes_order_and_preprocessing(site, tmp_path):
    """Argmax and probabilities equal those of transformers, class by class."""
    names = ["background", "Stroma", "TUMOR", "blood vessel", "other", "necrosis", "lymphocyte"]
    mean, std = [0.7, 0.6, 0.5], [0.1, 0.2, 0.3]
    theirs = saved(
        tmp_path, names, do_normalize=True, image_mean=mean, image_std=std, do_rescale=True
    )
    made, net, said = built(site, tmp_path)
    assert said.share == 1
    assert said.source.startswith("file: ")
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    shape = (1, 3, 1, 1)
    with torch.no_grad():
        scaled = (image - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
        logits = theirs(pixel_values=scaled).logits
        logits = torch.nn.functional.interpolate(logits, (64, 96), mode="bilinear")
        ours = made.predict(net, image)
    order = [2, 1, 6, 5, 3, 4]
    assert torch.allclose(ours.exp(), logits.softmax(1)[:, order], atol=1e-6)


@pytest.mark.parametrize("absent", [False, True])
def test_a_normalisation_that_cannot_be_looked_up_is_said(
    site, tmp_path, monkeypatch, capsys, absent
):
    """A repository whose weights alone are in the cache of a machine without network."""
    from huggingface_hub import constants

    from benchbcss.weights import Hub

    cached = tmp_path / "hub" / "models--me--net"
    known = cached / ".no_exist" / COMMIT
    for folder in (cached / "refs", cached / "snapshots" / COMMIT, known):
        folder.mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    if absent:  # as the hub said when it was asked
        (known / "preprocessor_config.json").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    saved(tmp_path / "folder", NAMES)
    made, _, _ = built(site, tmp_path / "folder")
    how = made._preprocessing(Hub(id="me/net", revision=None))
    assert how.mean == tuple(made.recipe["model"]["normalisation"]["mean"])
    said = capsys.readouterr().err
    assert (
        "warning: the recipe's normalisation is used: preprocessor_config.json" in said
    ) != absent
    assert ("hf download me/net preprocessor_config.json;" in said) != absent
    assert ("preprocessing" in made.context.notes) != absent


def test_channels_and_scale_are_the_checkpoints(site, tmp_path):
    theirs = saved(tmp_path, NAMES, do_flip_channel_order=True, do_rescale=False)
    made, net, _ = built(site, tmp_path)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = theirs(pixel_values=image.flip(1) * 255).logits
        logits = torch.nn.functional.interpolate(logits, (32, 32), mode="bilinear")
        assert torch.allclose(made.predict(net, image), logits, atol=1e-5)


def test_a_class_map_merges_outputs_and_leaves_out_the_rest(site, tmp_path):
    theirs = saved(tmp_path, ["wall", "sky", "tree", "road"])
    given = {"wall": "tumor", "2": "tumor", "Sky": "stroma", "road": None}
    made, net, said = built(site, tmp_path, class_map=given)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    recipe = made.recipe["model"]["normalisation"]
    shape = (1, 3, 1, 1)
    with torch.no_grad():
        ours = made.predict(net, image)
        scaled = image - torch.tensor(recipe["mean"]).view(shape)
        logits = theirs(pixel_values=scaled / torch.tensor(recipe["std"]).view(shape)).logits
        logits = torch.nn.functional.interpolate(logits, (32, 32), mode="bilinear")
    shares = logits.softmax(1)
    assert torch.allclose(ours[:, 0].exp(), shares[:, 0] + shares[:, 2], atol=1e-6)
    assert torch.allclose(ours[:, 1].exp(), shares[:, 1], atol=1e-6)
    assert set(ours.argmax(1).unique().tolist()) <= {0, 1}
    assert torch.isfinite(ours).all()
    assert said.share == 1


def test_classes_that_do_not_fit_are_refused_with_both_lists(site, tmp_path):
    saved(tmp_path, ["wall", "sky"])
    with pytest.raises(WeightsError) as caught:
        built(site, tmp_path)
    text = str(caught.value)
    assert "0 wall, 1 sky | the suite's: tumor, stroma, lymphocyte" in text
    assert "--set model.class_map=FILE" in text
    assert len(text) < 600
    with pytest.raises(WeightsError, match="names 'wal', which .* Did you mean 'wall'"):
        built(site, tmp_path, class_map={"wal": "tumor"})


def test_training_from_other_classes_gets_a_new_head(site, tmp_path):
    theirs = saved(tmp_path, ["wall", "sky"])
    made, net, said = built(site, tmp_path, evaluating=False)
    assert 0 < said.share < 1
    assert all("classifier" in name for name in said.missing)
    state = theirs.state_dict()
    for name, tensor in net.net.state_dict().items():
        if "classifier" not in name:
            assert torch.equal(tensor, state[name]), name
    assert made.predict(net, torch.rand(1, 3, 40, 70)).shape == (1, 6, 40, 70)


def test_other_networks_and_settings_are_named(site, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=32)
    ViTForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="are of a vit, which"):
        built(site, tmp_path)
    with pytest.raises(WeightsError, match="owner/nothing are not available"):
        built(site, "owner/nothing")
    with pytest.raises(RecipeError, match="SegformerConfig has no hiden_sizes"):
        built(site, "none", config={"model_type": "segformer", "hiden_sizes": [8, 16, 24, 32]})
    with pytest.raises(RecipeError, match="model.config does not make a network"):
        built(site, "none", evaluating=False, config={"model_type": "nothing"})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        built(site, tmp_path)


def test_our_own_checkpoint_comes_back(site, tmp_path):
    from benchbcss.training.checkpoint import save_checkpoint

    _, source, said = built(site, "none", evaluating=False)
    assert said.source == "random"
    save_checkpoint(tmp_path, "final", source, None, {})
    _, net, said = built(site, tmp_path / "checkpoints" / "final.safetensors")
    assert said.share == 1
    for name, tensor in source.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)


@pytest.mark.slow
def test_it_keeps_the_contract(site):
    done = cli("check", "hf_semantic", site=site, check=0)
    assert "hf_semantic keeps the contract" in done.stderr


@pytest.mark.slow
def test_a_segformer_folder_becomes_a_row(site, phantom, tmp_path):
    """Two commands: evaluate with a class map in a file, and the leaderboard. The map is part of
    what the run is: another one is another run."""
    saved(tmp_path / "net", ["epithelium", "stroma", "lymphocyte", "necrosis", "blood vessel"])
    (tmp_path / "map.yaml").write_text(
        "epithelium: tumor\nstroma: stroma\nlymphocyte: lymphocyte\nnecrosis: necrosis\n"
        "blood vessel: blood_vessel\n"
    )
    common = ["--data", phantom, "--workspace", tmp_path / "w"]
    words = ["evaluate", "hf_semantic", "--weights", tmp_path / "net", *common]
    done = cli(*words, site=site, check=1)
    assert "epithelium" in done.stderr
    words += ["--set", f"model.class_map={tmp_path / 'map.yaml'}"]
    cli(*words, site=site, check=0)
    (path,) = (tmp_path / "w").glob("runs/phantom/hf_semantic/*/result.json")
    result = json.loads(path.read_text())
    assert result["weights"]["loaded"]["share"] == 1
    counts = np.array(result["tracks"]["semantic"]["confusion"]["counts"])
    assert counts[:, 5].sum() == 0
    assert "already done" in cli(*words, site=site, check=0).stderr
    with open(tmp_path / "map.yaml", "a") as handle:
        handle.write("# the same\n")
    assert "already done" in cli(*words, site=site, check=0).stderr
    (tmp_path / "map.yaml").write_text("epithelium: stroma\nstroma: tumor\n")
    assert "already done" not in cli(*words, "--dry-run", site=site, check=0).stderr
    (tmp_path / "map.yaml").write_text("epithelium: tumour\n")
    done = cli(*words, site=site, check=2)
    assert "Did you mean 'tumor'" in done.stderr
    board = cli("leaderboard", "--workspace", tmp_path / "w", site=site, check=0)
    assert "hf_semantic" in board.stdout
