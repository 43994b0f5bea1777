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

folder, out = map(Path, sys.argv[1:])
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
steps = plan(recipe, Budget(steps=12), len(data))
trainer = Trainer(backend, model, recipe, steps, accelerator, out, seed=7)
history = loop.train(
    trainer, data, validate=lambda net: loop.Validation(float(net[0].weight.abs().sum()), {})
)
assert history.records[-1]["step"] == 12
if accelerator.is_main_process:
    from benchbcss.training.checkpoint import save_checkpoint
    save_checkpoint(out, "after", model, None, {"world": accelerator.num_processes})
if torch.distributed.is_initialized():  # threads that are left at the end may abort a process
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(folder, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launch += ["--master_port=0", "--rdzv_endpoint=localhost:0", "--rdzv_backend=c10d"]
    for name, command in (("one", [sys.executable]), ("two", launch)):
        done = subprocess.run(
            [*command, str(script), str(folder), str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
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
