"""Two processes at an equal global batch, against one."""

import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from benchbcss.contract import Backend, Context, Task
from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import label_map
from benchbcss.data.store import TileStore
from benchbcss.recipes import Train
from benchbcss.suites import Budget
from benchbcss.training import loop
from benchbcss.training.samples import TrainingData
from benchbcss.training.schedule import plan
from benchbcss.training.trainer import Trainer

folder, out = map(Path, sys.argv[1:3])
budget = Budget.model_validate_json(sys.argv[3])
torch.set_num_threads(1)


class Net(Backend):
    def build(self):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.GroupNorm(2, 8), torch.nn.ReLU(),
            torch.nn.Conv2d(8, 6, 1),
        )

    def loss(self, model, batch):
        terms = torch.nn.functional.cross_entropy(
            model(batch.image), batch.target, ignore_index=255, reduction="none"
        )
        known = (batch.target != 255).flatten(1).sum(1).clamp(min=1)
        return {"ce": (terms.flatten(1).sum(1) / known).mean()}


labels = label_map("bcss5")
source = Dataset(folder, TileStore(out / "store"))
rois = source.rois(source.names[:4], labels)
data = TrainingData(list(rois.values()), labels, 32, None, 7)
recipe = Train.model_validate({"lr": 1e-2, "batch_size": 4, "validate_every": 2})
task = Task(labels.class_names, labels.mean_classes, 0.3, 32)
backend = Net(task, {}, Context(0, torch.device("cpu"), "none", False, [1] * 6))
accelerator = Accelerator(cpu=True)
model = backend.build()
timed = budget.seconds is not None
trainer = Trainer(backend, model, recipe, plan(recipe, budget, len(data)), accelerator, out, seed=7)


def begin():
    trainer._begun -= 0.5 * accelerator.process_index  # their clocks never agree


def validate(net):
    return loop.Validation(float(net[0].weight.abs().sum()), {})


history = loop.train(trainer, data, validate=None if timed else validate, on_start=begin)
assert timed or history.records[-1]["step"] == 12
if timed:
    of_all = accelerator.gather(torch.cat([value.flatten() for value in model.parameters()]))
    apart = of_all.view(accelerator.num_processes, -1).diff(dim=0).abs().max()
    if accelerator.is_main_process:
        print("apart:", float(apart))
if accelerator.is_main_process:
    from benchbcss.training.checkpoint import save_checkpoint
    save_checkpoint(out, "after", model, None, {"world": accelerator.num_processes})
if torch.distributed.is_initialized():  # threads that are left at the end may abort a process
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
LAUNCH += ["--master_port=0", "--rdzv_endpoint=localhost:0", "--rdzv_backend=c10d"]
STEPS = '{"steps": 12}'


def script_in(folder):
    script = folder / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return script


def trained(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(folder, tmp_path):
    script = script_in(tmp_path)
    for name, command in (("one", [sys.executable]), ("two", LAUNCH)):
        trained([*command, str(script), str(folder), str(tmp_path / name), STEPS])
    one, two = (
        load_file(tmp_path / name / "checkpoints" / "after.safetensors") for name in ("one", "two")
    )
    from safetensors import safe_open

    with safe_open(tmp_path / "two" / "checkpoints" / "after.safetensors", "pt") as handle:
        assert handle.metadata()["state"] == '{"world": 2}'
    torch.manual_seed(0)
    start = torch.nn.Conv2d(3, 8, 3, padding=1).weight
    assert not torch.allclose(one["model.0.weight"], start, atol=1e-2)  # it has learnt
    for key, value in one.items():
        assert torch.allclose(two[key], value, atol=1e-4), key


@pytest.mark.slow
def test_processes_whose_clocks_differ_train_one_network(folder, tmp_path):
    """Under a time budget rates follow the clock: that of the first process, in all of them."""
    place = [str(script_in(tmp_path)), str(folder), str(tmp_path / "timed"), '{"seconds": 2}']
    assert "apart: 0.0\n" in trained([*LAUNCH, *place])
