"""A worker's start, and its rehearsal."""

import os
import re
import socket
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from benchbcss import registry
from benchbcss.contract import Backend
from benchbcss.errors import PluginError, RecipeError, WeightsError
from benchbcss.recipes import resolve
from benchbcss.registry import Source
from benchbcss.runs import planning, rehearse, setup
from benchbcss.tracks import TRACKS

#: what only some backends, tracks or settings use; each costs a run from a tenth to two seconds
UNUSED = (
    "matplotlib",
    "open_clip",
    "pandas",
    "scipy.ndimage",
    "scipy.stats",
    "sklearn",
    "timm",
    "torch._dynamo",
    "torchvision",
    "transformers",
)


def test_a_worker_imports_only_what_every_run_uses():
    code = (
        "import sys\n"
        "from benchbcss.runs import predict, setup, train, worker\n"
        "from benchbcss.results import evaluate\n"
        f"print(*[name for name in {UNUSED!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("problem", "said"), [("no weights", {"clip_accuracy": "no weights"}), (None, {})]
)
def test_a_rehearsal_says_that_clip_cannot_name_regions(monkeypatch, problem, said):
    """Hours before the run itself would."""
    job = SimpleNamespace(
        tracks=[TRACKS["semantic"], TRACKS["prompted"]],
        labels=SimpleNamespace(mean=("tumor", "stroma")),
        context=SimpleNamespace(clip=SimpleNamespace(problem=lambda classes: problem)),
        provenance=SimpleNamespace(source="random"),
        parameters=SimpleNamespace(total=3),
        not_measured={},
        spec=SimpleNamespace(evaluate="test", recipe=SimpleNamespace(train=None)),
    )
    monkeypatch.setattr(setup, "setup", lambda spec, run_dir: job)
    assert rehearse._answer(None, [0])["not_measured"] == said
    job.tracks.pop()  # nothing names regions there
    assert rehearse._answer(None, [0])["not_measured"] == {}


GROUP = """
from types import SimpleNamespace
import torch.distributed as dist
from benchbcss.runs import setup

setup._accelerator(SimpleNamespace(device="cpu", processes=2))
backend = dist.distributed_c10d._get_default_group()._get_backend(setup.torch.device("cpu"))
print(backend.options._timeout.total_seconds())
"""


def test_processes_wait_for_one_another_longer_than_any_stage_lasts():
    """Asked of the process group itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", GROUP],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [float(text.split()[-1]) for text in said] == [24 * 3600.0] * 2


@pytest.mark.parametrize(("allowed", "threads"), [(1, 1), (2, 2), (3, 3), (64, 3)])
def test_torch_takes_no_more_threads_than_cores(monkeypatch, allowed, threads):
    before = torch.get_num_threads()
    monkeypatch.setattr(setup, "cores", lambda: allowed)
    torch.set_num_threads(3)
    try:
        setup.limit_threads()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (None, "build() returned nothing, expected a torch.nn.Module"),
        (torch.zeros(3), "build() returned a Tensor, expected a torch.nn.Module"),
    ],
)
def test_what_is_built_is_a_network(built, words):
    with pytest.raises(PluginError, match=re.escape(words)):
        setup.network(built)


def test_a_network_that_no_checkpoint_holds_is_refused():
    net = torch.nn.Linear(2, 2)
    assert setup.network(net) is net
    net.state_dict = lambda *_, **__: {"weight": net.weight}
    with pytest.raises(PluginError, match=r"lacks 1 of the parameters that train, such as bias"):
        setup.network(net)
    net.bias.requires_grad_(False)  # what is frozen may be left out
    assert setup.network(net) is net


def learning(doing, error):
    spec = SimpleNamespace(weights=None, data_root="/nowhere/data", store_root="/nowhere/store")
    source = Source("mine", "dist", "1")
    registered = SimpleNamespace(
        info=SimpleNamespace(name="net"), source=source, package=__name__.partition(".")[0]
    )
    with setup._learning(spec, registered, doing):
        raise error


def test_what_a_backend_raises_is_told_with_its_name_and_line():
    words = r"^net \(plugin 'mine' of dist 1\): while running fit it raised KeyError: 'x' "
    with pytest.raises(PluginError, match=words + r"\(\S*test_setup\.py, line \d+\)$"):
        learning("running fit", KeyError("x"))
    with pytest.raises(PluginError, match=r"^net \(plugin 'mine' of dist 1\): one word$"):
        learning("running fit", PluginError("one word"))
    with pytest.raises(WeightsError, match="^as it is$"):
        learning("running build", WeightsError("as it is"))
    with pytest.raises(KeyError):  # most of it is the harness's own
        learning("training", KeyError("x"))


@pytest.mark.parametrize(
    ("by_itself", "tracks", "refused"),
    [
        (False, ["semantic"], False),
        (False, ["semantic", "prompted"], False),
        (False, ["prompted"], True),
        (True, ["semantic", "prompted"], True),
    ],
)
def test_views_that_nothing_would_average_are_refused(by_itself, tracks, refused):
    """They would be in the record of a run that did not use them."""

    class Own(Backend):
        def predict_roi(self, model, image):
            return image[..., 0] * 0

    backend = (Own if by_itself else Backend)(None, {}, None)
    view = SimpleNamespace(tta=True)
    spec = SimpleNamespace(backend="own", recipe=SimpleNamespace(view=view))
    some = [TRACKS[name] for name in tracks]
    with pytest.raises(RecipeError, match="view.tta has no effect") if refused else nullcontext():
        setup._check_views(spec, backend, some)
    view.tta = False
    setup._check_views(spec, backend, some)


@pytest.mark.parametrize(("rois", "said"), [(3, "2 up to 3"), (1, "2, with more training ROIs")])
def test_a_batch_of_few_rois_is_shared_before_anything_is_started(rois, said):
    """A recipe's batch of four is one of three where there are three training ROIs."""
    entry = registry.load().backend("unetpp")
    suite, _ = planning.choose_suite("phantom", None, "smoke")
    split = SimpleNamespace(train=("a", "b", "c", "d")[:rois])
    recipe = resolve(entry.info.recipe, "smoke", ("train.batch_size=4",))
    asked = planning.Asked(processes=2)
    with pytest.raises(RecipeError, match=f"a multiple of {said}"):
        planning._check(entry, recipe, SimpleNamespace(suite=suite, split=split), asked)
    split.train = ("a", "b", "c", "d")
    planning._check(entry, recipe, SimpleNamespace(suite=suite, split=split), asked)
