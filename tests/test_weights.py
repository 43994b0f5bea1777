"""Weights as one value: what a text names, when two are the same, and what is loaded or refused."""

import argparse
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from torch import nn

from benchbcss import registry
from benchbcss.contract import Context, Task
from benchbcss.errors import WeightsError
from benchbcss.recipes import resolve
from benchbcss.weights import AnyWeights, Auto, File, Folder, Hub, Provenance, Random, Weights
from benchbcss.weights.loading import Layout, load_into, report, settle
from benchbcss.weights.reading import read

NAMES = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other")
LIMIT = 600


class Inner(nn.Module):
    """An encoder and a head, with BatchNorm's buffers."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 6, 1)


class Outer(nn.Module):
    """What a plugin makes of it: the network behind its normalisation."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.zeros(3))


LAYOUT = Layout(what="the test's network", parts={"net.encoder.": None})


def network(seed):
    torch.manual_seed(seed)
    made = Outer(Inner())
    with torch.no_grad():
        for tensor in (*made.parameters(), made.net.encoder[1].running_mean):
            tensor.normal_()
    return made


def context(weights, evaluating=True, strict=False):
    given = weights if isinstance(weights, Weights) else Weights.parse(str(weights))
    return Context(0, torch.device("cpu"), given, strict, [1] * 6, evaluating=evaluating)


def evaluated(path, made_here=("mean",), seed=1):
    """A network of another seed, after what the core does with the weights."""
    model, about = network(seed), context(path)
    load_into(model, about, LAYOUT)
    return model, settle(model, about, "mine", made_here=made_here)


# -- the value ---------------------------------------------------------------------------------


def test_what_a_text_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pt").write_bytes(b"x")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(b"y")
    assert Weights.parse("auto") == Auto()
    assert Weights.parse("none") == Random()
    file = Weights.parse("a.pt")
    assert isinstance(file, File)
    assert file.path == str(tmp_path / "a.pt")
    assert isinstance(Weights.parse("m"), Folder)
    assert Weights.parse("a/b") == Hub(id="a/b")
    assert Weights.parse("a/b@v1") == Hub(id="a/b", revision="v1")
    for value in map(Weights.parse, ("auto", "none", "a.pt", "m", "a/b@v1")):
        stored = TypeAdapter(AnyWeights).dump_json(value)
        assert TypeAdapter(AnyWeights).validate_json(stored) == value
        with pytest.raises(ValidationError):
            value.kind = "other"
    with pytest.raises(ValidationError):
        TypeAdapter(AnyWeights).validate_python({"kind": "auto", "path": "a.pt"})


def test_a_path_is_no_part_of_the_identity(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("m", "copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"y")
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "a.pt").write_bytes(b"x")
    for texts in (
        ("m", "./m", "m/", str(tmp_path / "m"), "copy/../m", "copy"),
        ("a.pt", "./a.pt", str(tmp_path / "a.pt")),
    ):
        identities = [json.dumps(Weights.parse(text).identity()) for text in texts]
        assert len(set(identities)) == 1, identities
        assert str(tmp_path) not in identities[0]
    identity = Weights.parse("m").identity()
    assert Weights.parse("a/b").identity() != Weights.parse("a/b@v1").identity()
    for file, content in (("model.safetensors", b"z"), ("config.json", b"[]")):
        (tmp_path / "m" / file).write_bytes(content)
        assert Weights.parse("m").identity() != identity
        identity = Weights.parse("m").identity()
    (tmp_path / "m" / "README.md").write_text("changes no number")
    assert Weights.parse("m").identity() == identity


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("best.pt", "best.pt does not exist. Did you mean bset.pt?"),
        ("./none/a.pt", "there is no folder"),
        ("runs/bset", "Did you mean best? For the hub's, write runs/bset@main."),
        ("nothing", "does not exist. Pass a file"),
        ("owner/name@", "does not exist"),
        ("", "holds no weights"),  # the current folder
        ("runs", "holds no weights (.safetensors, .pt, .pth, .bin, .ckpt). Did you mean its best/"),
        ("x" * 5000, "does not exist"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(text, words, tmp_path, monkeypatch):
    (tmp_path / "here" / "runs" / "best").mkdir(parents=True)
    (tmp_path / "here" / "runs" / "best" / "model.safetensors").write_bytes(b"y")
    monkeypatch.chdir(tmp_path / "here")
    if text == "best.pt":
        (tmp_path / "here" / "bset.pt").write_bytes(b"x")
    if text == "":
        monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError) as caught:
        Weights.parse(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < LIMIT


def test_parsing_imports_no_torch(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    code = (
        "import sys; from benchbcss.weights import Weights; "
        f"Weights.parse({str(tmp_path / 'a.pt')!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_specifications_of_the_first_edition_are_lifted(tmp_path):
    assert Weights.lifted("auto", None) == Auto()
    assert Weights.lifted("none", None) == Random()
    assert Weights.lifted("a/b", None) == Hub(id="a/b")
    assert Weights.lifted("x.pt", "ab").identity() == {"kind": "file", "sha256": "ab"}
    assert isinstance(Weights.lifted(str(tmp_path), None), Folder)


def test_a_run_of_the_same_content_is_the_same_run(folder, tmp_path, monkeypatch):
    """A copy elsewhere continues or keeps a run; changed content is another run."""
    from benchbcss.results import store
    from benchbcss.results.spec import RunSpec
    from benchbcss.runs import planning

    suite, preset = planning.choose_suite("bcss5", folder, "smoke")
    prepared = planning.prepare(
        suite,
        preset,
        folder=folder,
        split=str(folder / "splits.csv"),
        workspace=tmp_path / "w",
        say=lambda text: None,
    )

    def spec(weights):
        asked = planning.Asked(weights=str(weights), device="cpu")
        (made,) = planning.specify(prepared, ["unetpp"], asked, tmp_path / "w")
        assert RunSpec.model_validate_json(made.model_dump_json()) == made
        return made

    for name, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / name).write_bytes(content)
    odd = spec("none").model_copy(update={"data_root": os.fsdecode(b"/caf\xe9")})
    (tmp_path / "run").mkdir()
    store.save_spec(tmp_path / "run", odd)
    assert store.load_spec(tmp_path / "run") == odd
    first, copied, other = (spec(tmp_path / name) for name in ("a.pt", "b.pt", "c.pt"))
    assert first.run_id() == copied.run_id() != other.run_id()
    (tmp_path / "a.pt").write_bytes(b"2")
    assert spec(tmp_path / "a.pt").run_id() == other.run_id()
    with pytest.raises(WeightsError, match="changed since the run was planned"):
        load_into(network(0), context(first.weights))
    old = json.loads(first.model_dump_json())
    old["weights"], old["weights_sha256"] = "b.pt", first.weights.sha256
    del old["predictions_sha256"]
    assert RunSpec.model_validate(old).weights.identity() == first.weights.identity()


# -- wrappings ---------------------------------------------------------------------------------


def prefixed(state, *prefixes):
    for prefix in prefixes:
        state = {prefix + name: tensor for name, tensor in state.items()}
    return state


WRAPPINGS = {
    "own": lambda own, bare: own,
    "bare": lambda own, bare: bare,
    "ddp": lambda own, bare: prefixed(own, "module."),
    "ddp of bare": lambda own, bare: prefixed(bare, "module."),
    "compiled": lambda own, bare: prefixed(own, "_orig_mod."),
    "compiled, ddp": lambda own, bare: prefixed(own, "_orig_mod.", "module."),
    "net": lambda own, bare: prefixed(bare, "net."),
    "network": lambda own, bare: {"epoch": 3, "network": bare},
    "lightning": lambda own, bare: {
        "epoch": 1,
        "state_dict": {**prefixed(own, "model."), "criterion.weight": torch.ones(6)},
    },
    "lightning, compiled": lambda own, bare: {"state_dict": prefixed(bare, "_orig_mod.", "net.")},
    "msd": lambda own, bare: {"model_state_dict": own, "epoch": 1},
    "msd, ddp": lambda own, bare: {"model_state_dict": prefixed(bare, "module."), "epoch": 1},
    "meta": lambda own, bare: {"model": bare},
    "ema alone": lambda own, bare: {"ema": {"module": bare}, "updates": 7},
    "model_ema": lambda own, bare: {"model_ema": prefixed(bare, "module.")},
    "deep": lambda own, bare: {"checkpoint": {"state": {"model": bare}}},
    "inner ddp": lambda own, bare: {
        name.replace("encoder.", "encoder.module."): tensor for name, tensor in bare.items()
    },
    "beside an average": lambda own, bare: {
        "ema": {name: tensor + 1 for name, tensor in bare.items()},
        "model": bare,
    },
    "beside an optimiser": lambda own, bare: {
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}},
        "state_dict": bare,
    },
    "trained here": lambda own, bare: {
        **prefixed(own, "model."),
        **{f"average.module.{name}": tensor + 1 for name, tensor in own.items()},
        "average.n_averaged": torch.tensor(3),
        "optimizer.0.exp_avg": torch.ones(4, 3, 3, 3),
    },
}


@pytest.mark.parametrize("kind", WRAPPINGS)
def test_known_wrappings_are_undone(kind, tmp_path):
    source = network(0)
    packed = WRAPPINGS[kind](source.state_dict(), source.net.state_dict())
    torch.save(packed, tmp_path / "a.pt")
    model, said = evaluated(tmp_path / "a.pt")
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert said.source == f"file: {Weights.parse(str(tmp_path / 'a.pt')).sha256[:16]}"
    assert (said.share, said.missing_count) == (1.0, 0)
    assert said.tensors == said.of_tensors == 8
    assert said.parameters == sum(p.numel() for p in source.parameters())


def test_a_folder_holds_a_file_or_shards(tmp_path):
    source = network(0)
    state = source.net.state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    for given in (tmp_path, tmp_path / "weights.safetensors"):
        assert torch.equal(evaluated(given)[0].net.head.weight, source.net.head.weight)
    (tmp_path / "weights.safetensors").unlink()
    names = list(state)
    shards = {"one.safetensors": names[:4], "two.safetensors": names[4:]}
    for file, part in shards.items():
        save_file({name: state[name] for name in part}, tmp_path / file)
    with pytest.raises(WeightsError, match="holds 2 files of weights"):
        evaluated(tmp_path)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(evaluated(tmp_path)[0].net.head.weight, source.net.head.weight)
    other = {"weight_map": {name: f"pytorch_model-{i}.bin" for i, name in enumerate(state)}}
    (tmp_path / "a.bin.index.json").write_text(json.dumps(other))  # its shards were not fetched
    assert torch.equal(evaluated(tmp_path)[0].net.head.weight, source.net.head.weight)
    for file in shards:
        (tmp_path / file).rename(tmp_path / f"not-{file}")
    save_file(state, tmp_path / "model.safetensors")  # fetched instead of the shards
    assert torch.equal(evaluated(tmp_path)[0].net.head.weight, source.net.head.weight)


def test_shards_in_other_folders_are_not_read(tmp_path):
    """A folder's identity is the content of the files in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(network(0).net.state_dict(), tmp_path / "a.safetensors")
    save_file({"head.bias": torch.ones(6)}, folder / "b.safetensors")
    index = {"weight_map": {"head.weight": "../a.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"names the file \.\./a\.safetensors"):
        evaluated(folder)


# -- what cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_numpy_numbers_beside_tensors_are_read(legacy, tmp_path):
    source = network(0)
    beside = {
        "best": np.float64(0.8),
        "step": np.int64(3),
        "last": np.float32(1),
        "good": np.bool_(True),
        "curve": np.arange(3.0),
    }
    path = tmp_path / "a.pt"
    packed = {"model": source.net.state_dict(), **beside}
    torch.save(packed, path, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(evaluated(path)[0].net.head.weight, source.net.head.weight)


class Hostile:
    def __reduce__(self):
        return print, ("this must never run",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("thing", "word"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (Hostile(), "print"),
        (nn.Linear(2, 2), "Linear"),
    ],
)
def test_other_pickled_things_are_named_and_never_run(thing, word, legacy, tmp_path, capsys):
    path = tmp_path / "a.pt"
    packed = {"model": network(0).state_dict(), "best": np.float64(1), "args": thing}
    torch.save(packed, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError) as caught:
        evaluated(path)
    text = str(caught.value)
    assert word in text
    assert "save its tensors alone" in text
    assert "truncated" not in text
    assert len(text) < LIMIT
    assert capsys.readouterr().out == ""


def test_the_command_that_the_message_gives_makes_a_file_that_is_read(tmp_path):
    """Lightning's checkpoints hold a Namespace or an OmegaConf beside plain hyper-parameters."""
    state = network(0).state_dict()
    said = {"encoder_name": "resnet18", "cfg": argparse.Namespace(lr=1)}
    torch.save({"state_dict": state, "hyper_parameters": said}, tmp_path / "last.ckpt")
    with pytest.raises(WeightsError) as caught:
        read(tmp_path / "last.ckpt")
    (command,) = re.findall(r'python -c "(.*)"$', str(caught.value))
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True)
    content = read(tmp_path / "tensors.pt")
    assert content["hyper_parameters"] == {"encoder_name": "resnet18"}
    assert content["state_dict"].keys() == state.keys()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("keep", [0.5, 0.99, 0.0])
def test_only_a_torn_file_is_called_truncated(suffix, keep, tmp_path):
    path = tmp_path / f"a{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(network(0).state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(WeightsError, match="truncated"):
        evaluated(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!doctype html>", "not a file of tensors"),
    ],
)
def test_what_is_no_file_of_tensors(content, words, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        evaluated(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 1}, "holds no state dict"),
        ([torch.ones(2)], "holds a list"),
        ({"student.net.head.weight": torch.ones(6, 4, 1, 1)}, "student.net.head.weight"),
        ({"net.head.weight": torch.ones(9, 4, 1, 1)}, r"\(9, 4, 1, 1\) instead of \(6, 4, 1, 1\)"),
    ],
)
def test_weights_of_another_network_are_refused_in_training_too(content, words, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=words) as caught:
        load_into(network(0), context(tmp_path / "a.pt", evaluating=False), LAYOUT)
    assert len(str(caught.value)) < LIMIT


@pytest.mark.parametrize("evaluating", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value, evaluating, tmp_path):
    """Label maps made from them would be scored as any other."""
    state = network(0).state_dict()
    state["net.head.bias"][2] = value
    torch.save(state, tmp_path / "a.pt")
    model, about = network(1), context(tmp_path / "a.pt", evaluating=evaluating)
    load_into(model, about, LAYOUT)
    with pytest.raises(
        WeightsError, match=r"not finite, in 1 tensor\(s\), such as net\.head\.bias"
    ):
        settle(model, about, "mine", made_here=("mean",))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.complex64])
def test_quantised_numbers_are_not_taken_for_weights(dtype, tmp_path):
    state = network(0).state_dict()
    other = {k: (v * 99).to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(other, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"no floating-point numbers.*such as .* \(torch\."):
        evaluated(tmp_path / "a.pt")
    torch.save({k: v.half() for k, v in state.items()}, tmp_path / "b.pt")
    assert evaluated(tmp_path / "b.pt")[1].share == 1


def test_layers_that_the_network_has_not_are_refused(tmp_path):
    """A deeper network's weights fill a shallower one entirely, and are not its weights."""
    state = {**network(0).net.state_dict(), "deeper.weight": torch.ones(4)}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"1 unknown, such as deeper\.weight"):
        evaluated(tmp_path / "a.pt")


# -- nothing is scored that was not loaded -----------------------------------------------------


def partial(source):
    """Weights that lack something, packed in many ways."""
    own, bare = source.state_dict(), source.net.state_dict()
    encoder = source.net.encoder.state_dict()
    return {
        "encoder": encoder,
        "wrapped encoder": {"state_dict": prefixed(encoder, "encoder.", "model.")},
        "no head bias": {k: v for k, v in own.items() if k != "net.head.bias"},
        "no running mean": {k: v for k, v in bare.items() if "running_mean" not in k},
        "head": {"head.weight": bare["head.weight"], "head.bias": bare["head.bias"]},
    }


@pytest.mark.parametrize("kind", partial(network(0)))
def test_partial_weights_train_and_are_never_scored(kind, tmp_path):
    source = network(0)
    torch.save(partial(source)[kind], tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="cannot be evaluated") as caught:
        evaluated(tmp_path / "a.pt")
    assert len(str(caught.value)) < LIMIT
    model, about = network(1), context(tmp_path / "a.pt", evaluating=False)
    load_into(model, about, LAYOUT)
    said = settle(model, about, "mine", made_here=("mean",))
    assert said.missing_count == said.of_tensors - said.tensors > 0
    assert all(name in model.state_dict() for name in said.missing)
    assert 0 < said.share <= 1
    assert Provenance(**said.model_dump()) == said
    if kind == "encoder":
        assert said.missing == ("net.head.weight", "net.head.bias")
        assert said.record()["wrapping"] == "as net.encoder."
        assert said.share == pytest.approx((4 * 27 + 4 + 8) / (4 * 27 + 4 + 8 + 24 + 6))


def test_names_and_paths_of_any_length_leave_the_message_short(tmp_path):
    long = tmp_path / ("f" * 200) / ("d" * 200)
    long.mkdir(parents=True)
    model = nn.ModuleDict({"x" * 300 + str(i): nn.Linear(2, 2) for i in range(9)})
    torch.save({f"{'x' * 300}0.weight": torch.ones(2, 2)}, long / ("a" * 200 + ".pt"))
    about = context(long / ("a" * 200 + ".pt"))
    load_into(model, about)
    with pytest.raises(WeightsError) as caught:
        settle(model, about, "mine")
    assert len(str(caught.value)) < LIMIT


def test_the_core_finds_out_by_itself(tmp_path):
    """Backends that load without the helper, or change what was loaded."""
    source = network(0)
    torch.save({"wrapped": source.state_dict()}, tmp_path / "a.pt")

    def settled(model, about):
        return settle(model, about, "mine", made_here=("mean",))

    ignoring = network(1)  # loads nothing and says nothing
    with pytest.raises(WeightsError, match="no weights to evaluate"):
        settled(ignoring, context(tmp_path / "a.pt"))
    silent = network(1)  # loads all by itself and says nothing
    silent.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True)["wrapped"])
    assert settled(silent, context(tmp_path / "a.pt")).share == 1
    half = network(1)
    half.net.encoder.load_state_dict(source.net.encoder.state_dict())
    with pytest.raises(WeightsError, match=r"such as net\.head\.weight"):
        settled(half, context(tmp_path / "a.pt"))
    changed, about = network(1), context(tmp_path / "a.pt")  # loads, then makes its head anew
    load_into(changed, about, LAYOUT)
    nn.init.normal_(changed.net.head.weight)
    with pytest.raises(WeightsError, match=r"such as net\.head\.weight"):
        settled(changed, about)
    replaced, about = network(1), context(tmp_path / "a.pt")
    load_into(replaced, about, LAYOUT)
    replaced.net.head = nn.Conv2d(4, 6, 1)
    with pytest.raises(WeightsError, match=r"such as net\.head\.weight"):
        settled(replaced, about)
    inner, about = network(1), context(tmp_path / "a.pt")  # loads, then wraps: that is all there
    load_into(inner, about, LAYOUT)
    assert settle(nn.Sequential(inner), about, "mine", made_here=("0.mean",)).share == 1
    boasting, about = network(1), context(Hub(id="a/b"))  # says nothing about a hub's weights
    with pytest.raises(WeightsError, match="does not say which weights it loaded"):
        settled(boasting, about)
    report(boasting, about, "pretrained: a/b")
    assert settled(boasting, about).source == "pretrained: a/b"


def test_training_from_weights_of_which_nothing_came_is_refused(tmp_path):
    """A library that loads by itself may only warn of names that it does not know."""
    torch.save(network(0).state_dict(), tmp_path / "a.pt")
    for weights, source in ((tmp_path / "a.pt", "file: 0"), ("auto", "pretrained: owner/name")):
        model, about = network(1), context(weights, evaluating=False)
        report(model, about, source, ["mean"])  # a buffer is no learnt weight
        with pytest.raises(WeightsError, match="Nothing of the weights .* is in 'mine'"):
            settle(model, about, "mine", made_here=("mean",))
    model, about = network(1), context("auto", evaluating=False)
    report(model, about, "our own start", ())
    assert settle(model, about, "mine").share == 0


def test_blocks_of_a_variant_of_another_depth_are_refused(tmp_path):
    """Names and shapes agree as far as there are any."""

    def deep(number):
        return nn.ModuleDict(
            {
                "blocks": nn.ModuleList(nn.Linear(3, 3) for _ in range(number)),
                "heads": nn.ModuleList([nn.Linear(3, 2), nn.Conv2d(3, 2, 1)]),
            }
        )

    def settled(model, state):
        torch.save(state, tmp_path / "a.pt")
        about = context(tmp_path / "a.pt", evaluating=False)
        load_into(model, about)
        return settle(model, about, "mine")

    state = deep(3).state_dict()
    with pytest.raises(WeightsError, match=r"of the 5 blocks of blocks, 2 did not .* number 3"):
        settled(deep(5), state)
    settled(deep(3), {k: v for k, v in state.items() if k != "blocks.2.bias"})  # a part of one
    settled(deep(3), {k: v for k, v in state.items() if "heads.0" not in k})  # no like blocks


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A folder of the hub's cache that holds one commit of owner/name, and that commit."""
    from huggingface_hub import constants

    commit = "0123456789" * 4
    place = tmp_path / "hub" / "models--owner--name"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots" / commit).mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return place / "snapshots" / commit, commit


def test_the_record_says_which_commit_of_a_repository_was_loaded(cached):
    folder, commit = cached
    save_file(network(0).state_dict(), folder / "model.safetensors")
    model, about = network(1), context("owner/name", evaluating=False)
    load_into(model, about, LAYOUT)
    assert settle(model, about, "mine", made_here=("mean",)).record()["revision"] == commit
    model, about = network(1), context(folder / "model.safetensors", evaluating=False)
    load_into(model, about, LAYOUT)
    assert "revision" not in settle(model, about, "mine").record()  # its content is recorded


def test_transformers_knows_the_commit_that_it_loaded(cached):
    from transformers import AutoModel, ViTConfig, ViTModel

    from benchbcss.weights.pretrained import encoder

    folder, commit = cached
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "image_size": 32}
    ViTModel(ViTConfig(**sizes, num_attention_heads=1)).save_pretrained(folder)
    model, lacking = encoder(AutoModel.from_pretrained, Hub(id="owner/name"))
    assert not lacking
    about = context("owner/name", evaluating=False)
    report(nn.Sequential(model), about, "pretrained: owner/name")
    assert settle(nn.Sequential(model), about, "mine").revision == commit


def test_only_buffers_can_be_made_here(tmp_path):
    state = network(0).state_dict()
    torch.save({k: v for k, v in state.items() if "head" not in k}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"net\.head\.weight"):
        evaluated(tmp_path / "a.pt", made_here=("mean", "net"))
    torch.save({k: v for k, v in state.items() if k != "mean"}, tmp_path / "b.pt")
    with pytest.raises(WeightsError, match=r"such as mean.*made_here"):
        evaluated(tmp_path / "b.pt", made_here=())
    assert evaluated(tmp_path / "b.pt")[1].missing_count == 0


def test_a_model_that_never_trains_is_held_to_what_it_was_given(tmp_path):
    """``run`` of a zero-shot model scores its weights as ``evaluate`` does."""
    torch.save(network(0).net.encoder.state_dict(), tmp_path / "a.pt")
    model, about = network(1), context(tmp_path / "a.pt", evaluating=False)
    load_into(model, about, LAYOUT)
    with pytest.raises(WeightsError, match="cannot be evaluated"):
        settle(model, about, "mine", made_here=("mean",), trains=False)
    for start in ("auto", "none"):
        model, about = network(1), context(start, evaluating=False)
        load_into(model, about, LAYOUT)
        assert settle(model, about, "mine", trains=False).source == "random"


def test_random_starts_are_said_to_be_random():
    model, about = network(0), context("none")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_into(model, about, LAYOUT)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert settle(model, about, "mine").source == "random"
    somewhere = Layout(pretrained=Hub(id="owner/nothing"))
    about = context("auto", evaluating=False)
    assert "(pretrained weights owner/nothing were not" in load_into(model, about, somewhere).source
    about = context("auto")
    load_into(model, about, LAYOUT)
    with pytest.raises(WeightsError, match="There are no weights to evaluate"):
        settle(model, about, "mine")
    with pytest.raises(WeightsError, match="owner/nothing are not available"):
        load_into(model, context("auto", strict=True), somewhere)
    with pytest.raises(WeightsError, match="owner/other are not available"):
        load_into(model, context("owner/other@v1"), somewhere)


# -- the plugins -------------------------------------------------------------------------------

ENCODERS = {
    "unetpp": "net.encoder.",
    "transunet": "vit.",
    "segformer": "net.segformer.",
    "mask2former": "net.model.pixel_level_module.encoder.",
    "eomt": "net.layers.",
    "sam2_v3": "sam.image_encoder.",
    "sam2_dense": "sam.image_encoder.",
}
#: their files keep the encoder's place in the names
IN_PLACE = ("mask2former", "eomt", "sam2_v3", "sam2_dense")


def plugin(name, weights, evaluating=True):
    entry = registry.load().backend(name)
    sets = ("view.size=64",) if name == "sam2_v3" else ()
    recipe = resolve(entry.info.recipe, "smoke", sets).model_dump()
    about = context(weights, evaluating)
    about.class_pixels = [900, 800, 300, 300, 50, 400]
    torch.manual_seed(0)
    made = entry.load()(Task(NAMES, (0, 1, 2, 3, 4), 0.3, 64), recipe, about)
    model = made.build()
    return model, settle(model, about, name, made_here=made.made_here)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_plugin_scores_its_whole_network_and_never_an_encoder(name, tmp_path):
    if name.startswith("sam2"):
        pytest.importorskip("sam2")
    source, start = plugin(name, "none")
    assert start.source == "random"
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.01)
    state = source.state_dict()
    inner = {k.partition(".")[2]: v for k, v in state.items() if k.startswith(("net.", "sam."))}
    torch.save({"state_dict": prefixed(state, "model."), "epoch": 1}, tmp_path / "whole.ckpt")
    model, said = plugin(name, tmp_path / "whole.ckpt")
    assert said.share == 1
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
    around = ("net.", "sam.", "mean", "std", "probe.")
    if inner and all(key.startswith(around) for key in state):
        # the bare network, without what the plugin puts around it
        torch.save({"model": inner}, tmp_path / "bare.pt")
        assert plugin(name, tmp_path / "bare.pt")[1].share == 1

    inside = ENCODERS[name]
    encoder = {k[len(inside) :]: v for k, v in state.items() if k.startswith(inside)}
    if name in (
        "mask2former",
        "eomt",
        "sam2_v3",
        "sam2_dense",
    ):  # their files keep the encoder's place in the names
        encoder = {k: v for k, v in state.items() if k.startswith(inside)}
    torch.save(encoder, tmp_path / "encoder.pt")
    with pytest.raises(WeightsError, match="cannot be evaluated") as caught:
        plugin(name, tmp_path / "encoder.pt")
    assert len(str(caught.value)) < LIMIT
    model, said = plugin(name, tmp_path / "encoder.pt", evaluating=False)
    assert 0 < said.share < 1
    assert not any(missing.startswith(inside) for missing in said.missing)
    for key, value in model.state_dict().items():
        if key.startswith(inside):
            assert torch.equal(value, state[key]), key


def test_timms_encoder_is_loaded_as_timm_loads_it(tmp_path):
    """Another tile, so other position embeddings; our loader also drops a classifier."""
    import timm

    pytest.importorskip("benchbcss_transunet")
    from benchbcss_transunet.weights import load_encoder

    small = {"embed_dim": 192, "depth": 1, "num_heads": 3, "dynamic_img_size": True}
    torch.manual_seed(0)
    published = timm.create_model("vit_base_r50_s16_224", num_classes=0, img_size=128, **small)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    overlay = {"pretrained_cfg_overlay": {"file": str(tmp_path / "model.safetensors")}}
    made = []
    for options in ({}, {"pretrained": True, **overlay}):
        torch.manual_seed(1)
        vit = timm.create_model(
            "vit_base_r50_s16_224", num_classes=0, img_size=64, **small, **options
        )
        made.append((vit.state_dict(), torch.rand(1)))  # the decoder's values come next
        if not options:
            classifier = {"head.weight": torch.ones(1000, 192), "head.bias": torch.ones(1000)}
            load_encoder(vit, {**published.state_dict(), **classifier})
    (ours, first), (theirs, second) = made
    assert first == second
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key
    assert not torch.equal(ours["pos_embed"], published.state_dict()["pos_embed"])
