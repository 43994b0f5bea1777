"""sam2_lora: adapters that start without effect, learn alone with the decoder, and are scored only
with their own weights."""

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Batch, Context, Prompt, Task
from benchbcss.errors import RecipeError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.training.adapters import is_adapter
from benchbcss.weights import Weights
from benchbcss.weights.loading import settle

pytest.importorskip("sam2")
pytest.importorskip("peft")

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
TASK = Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64)


def backend(weights="none", name="sam2_lora", *, evaluating=False, **overrides):
    entry = registry.load().backend(name)
    sets = ("view.size=64", *(f"{key}={value}" for key, value in overrides.items()))
    recipe = resolve(entry.info.recipe, "smoke", sets).model_dump()
    given = Weights.parse(str(weights))
    context = Context(0, torch.device("cpu"), given, False, [9] * 6, evaluating=evaluating)
    torch.manual_seed(0)
    return entry.load()(TASK, recipe, context)


def masks(made, net):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    prompts = [Prompt(0, box=(4.0, 4.0, 40.0, 50.0))]
    with torch.no_grad():
        net.eval()
        return made.predict_prompted(net, made.encode(net, image), prompts)


def batch():
    g = torch.Generator().manual_seed(0)
    target = torch.zeros(1, 64, 64).long()
    target[:, 10:40, 10:50] = 1
    return Batch(torch.rand(1, 3, 64, 64, generator=g), target, ["a"], 0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """SAM2.1 tiny with random weights, and as Meta packs it."""
    made = backend(name="sam2_v3")
    net = made.build()
    path = tmp_path_factory.mktemp("meta") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": net.sam.state_dict()}, path)
    return made, net, path


@pytest.mark.parametrize("dora", [False, True])
def test_metas_weights_load_under_the_adapters_which_start_without_effect(plain, dora):
    theirs, reference, path = plain
    made = backend(path, **{"model.lora.dora": dora})
    net = made.build()
    said = settle(net, made.context, "sam2_lora", made_here=made.made_here)
    assert said.source.startswith("file: ")
    assert 0.9 < said.share < 1
    assert all(is_adapter(name) for name in said.missing)
    atol = 1e-3 if dora else 0  # DoRA divides by a norm and multiplies by it
    assert torch.allclose(masks(made, net), masks(theirs, reference), atol=atol)


def test_adapters_sit_in_every_attention_and_what_else_learns_is_the_decoder(plain):
    made = backend()
    net = made.build()
    groups = made.parameter_groups(net)
    assert sorted(groups) == ["adapters", "decoder"]
    trunk = net.sam.image_encoder.trunk
    blocks = len(trunk.blocks)
    assert len(groups["adapters"]) == blocks * 2 * 2  # qkv and proj, two factors each
    rank = made.recipe["model"]["lora"]["rank"]
    assert all(rank in parameter.shape for parameter in groups["adapters"])
    learning = {id(p) for group in groups.values() for p in group}
    for name, parameter in net.named_parameters():
        assert parameter.requires_grad == (id(parameter) in learning), name
    theirs = backend(name="sam2_v3")
    decoder = theirs.parameter_groups(plain[1])["decoder"]
    assert sum(p.numel() for p in groups["decoder"]) == sum(p.numel() for p in decoder)


def test_a_step_moves_adapters_and_decoder_and_leaves_the_encoder(plain):
    made = backend()
    net = made.build()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    learning = [p for group in made.parameter_groups(net).values() for p in group]
    optimizer = torch.optim.AdamW(learning, lr=1e-3, weight_decay=0.0)
    for step in range(2):  # the first moves one factor alone, the other's gradient being 0
        torch.manual_seed(step)
        optimizer.zero_grad()
        sum(made.loss(net, batch()).values()).backward()
        optimizer.step()
    moved = {name for name, t in net.state_dict().items() if not torch.equal(t, before[name])}
    inside = {name for name in moved if ".image_encoder." in name}
    assert inside
    assert all(is_adapter(name) for name in inside)
    assert any(".lora_A." in name for name in inside)
    assert any(".lora_B." in name for name in inside)
    assert any(".sam_mask_decoder." in name for name in moved)


def test_our_own_checkpoint_is_scored_and_metas_never(plain, tmp_path):
    source = backend().build()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.01)
    torch.save(source.state_dict(), tmp_path / "own.pt")
    made = backend(tmp_path / "own.pt", evaluating=True)
    net = made.build()
    said = settle(net, made.context, "sam2_lora", made_here=made.made_here)
    assert said.share == 1
    for name, tensor in source.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor), name
    made = backend(plain[2], evaluating=True)
    with pytest.raises(WeightsError, match="cannot be evaluated.*lora_"):
        settle(made.build(), made.context, "sam2_lora", made_here=made.made_here)


def test_weights_of_another_network_and_mistakes_are_named(plain, tmp_path):
    state = dict(plain[1].sam.state_dict())
    torch.save({**state, "image_encoder.trunk.extra": torch.ones(1)}, tmp_path / "more.pt")
    with pytest.raises(WeightsError, match="are not of SAM2.1 variant 't'.*extra is unknown"):
        backend(tmp_path / "more.pt").build()
    half = {name: tensor for name, tensor in state.items() if ".blocks.3." not in name}
    torch.save(half, tmp_path / "half.pt")
    with pytest.raises(WeightsError, match=r"are not of SAM2.1 variant 't'.*lacks .*blocks\.3\."):
        backend(tmp_path / "half.pt").build()
    with pytest.raises(WeightsError, match="are not of SAM2.1 variant 's'"):
        backend(plain[2], **{"model.variant": "s"}).build()
    with pytest.raises(RecipeError, match="the adapters do not fit the network"):
        backend(**{"model.lora.layers": "[attn.nothing]"}).build()
    with pytest.raises(RecipeError, match="the adapters do not fit the network"):
        backend(**{"model.lora.rank": 0}).build()
