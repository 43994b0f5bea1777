"""How many processes read samples, and that what travels between them is small and exact."""

from types import SimpleNamespace

import pytest
import torch
from training_support import samples, train, weights

from benchbcss.errors import PluginError, explain
from benchbcss.recipes import Augment, Blur, Elastic, Scale, Stain
from benchbcss.training import augment, loading
from benchbcss.training.samples import StepDataset, TrainingData, finished_batch
from benchbcss.training.trainer import Trainer

EVERYTHING = Augment(
    flips=True,
    rot90=True,
    rotate=30,
    color_jitter=0.2,
    stain=Stain(alpha=0.2, beta=0.1),
    elastic=Elastic(alpha=30, sigma=4, p=1),
    blur=Blur(sigma=(0.5, 1.5), p=1),
)


@pytest.fixture
def machine(monkeypatch):
    """A machine of 16 cores and so much shared memory; no Slurm."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_NTASKS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def of(cores=16, shared=10**10):
        monkeypatch.setattr("joblib.cpu_count", lambda: cores)
        monkeypatch.setattr(
            loading.shutil, "disk_usage", lambda place: SimpleNamespace(free=shared)
        )

    of()
    return of


def test_without_a_gpu_the_cores_are_training(machine):
    assert loading.workers(None, "cpu", 1, 1) == (0, "")


def test_with_a_gpu_as_many_as_cores_less_one(machine, monkeypatch):
    assert loading.workers(None, "cuda", 1, 1) == (8, "")
    assert loading.workers(None, "cuda", 4, 1) == (3, "")  # four processes share the cores
    machine(cores=1)
    assert loading.workers(None, "cuda", 1, 1) == (0, "")
    machine()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert loading.workers(None, "cuda", 1, 1) == (3, "")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")  # more than the machine has
    assert loading.workers(None, "cuda", 1, 1) == (8, "")


def test_each_task_of_slurm_has_cores_of_its_own(machine, monkeypatch):
    """They are not divided once more by the number of tasks; processes within one task share."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert loading.workers(None, "cuda", 2, 1) == (3, "")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert loading.workers(None, "cuda", 2, 1) == (1, "")


def test_processes_on_other_machines_take_nothing_here(machine, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert loading.workers(None, "cuda", 8, 1) == (7, "")
    machine(shared=100)
    assert loading.workers(None, "cuda", 8, 4)[0] == 100 // (4 * loading.AHEAD * 2)


def test_shared_memory_limits_what_is_chosen_but_not_what_is_asked(machine):
    """64 MB are what Docker gives a container."""
    machine(shared=64 * 10**6)
    number, remark = loading.workers(None, "cuda", 1, 8 * 4 * 1024**2)
    assert (number, "64 MB" in remark, "--shm-size" in remark) == (0, True, True)
    assert loading.workers(None, "cuda", 1, 8 * 4 * 256**2) == (8, "")
    number, remark = loading.workers(2, "cuda", 1, 8 * 4 * 1024**2)
    assert number == 2
    assert "--workers" in remark
    assert loading.workers(2, "cpu", 1, 1) == (2, "")


def test_no_place_for_shared_memory_is_no_limit(machine, monkeypatch):
    def missing(place):
        raise FileNotFoundError

    monkeypatch.setattr(loading.shutil, "disk_usage", missing)
    assert loading.workers(None, "cuda", 1, 10**12) == (8, "")


def test_what_travels_is_bytes_and_gives_the_same_batch(folder, tmp_path):
    data = samples(folder, tmp_path, augment=augment.pipeline(EVERYTHING))
    plain, raw = (StepDataset(data, 2, 0, 6, raw=raw) for raw in (False, True))
    for step in range(6):
        image, target, names = plain[step]
        pixels, classes, same, seeds = raw[step]
        assert pixels.dtype == classes.dtype == torch.uint8
        assert same == names
        again = finished_batch(data, pixels, classes, seeds)
        assert torch.equal(again[0], image)
        assert torch.equal(again[1], target)
        small = pixels.nbytes + classes.nbytes
        assert small == 2 * data.sample_bytes(True)
        assert image.nbytes + target.nbytes == 2 * data.sample_bytes(False) == 5 * small


@pytest.mark.parametrize(("room", "fresh"), [(10**9, 8), (0, 16)], ids=["kept", "no room"])
def test_views_that_come_again_are_made_once(folder, tmp_path, monkeypatch, room, fresh):
    """Whatever is done to a batch, the next one of the same views is as the first."""
    monkeypatch.setattr("benchbcss.training.samples.KEPT_BYTES", room)
    data = samples(folder, tmp_path, augment=augment.pipeline(EVERYTHING), views=2)
    expected = {key: data.sample(*key) for key in [(e, i) for e in range(2) for i in range(4)]}
    made, real = [], TrainingData.sample
    monkeypatch.setattr(
        TrainingData, "sample", lambda self, *key: made.append(key) or real(self, *key)
    )
    batches = StepDataset(data, 4, 0, 4)
    for epoch in range(4):
        image, target, _ = batches[epoch]
        for place, index in enumerate(data.order(epoch)):
            assert torch.equal(image[place], expected[epoch % 2, index][0])
            assert torch.equal(target[place], expected[epoch % 2, index][1])
        image.zero_()
        target.zero_()
    assert len(made) == fresh


def test_views_of_another_size_are_others(folder, tmp_path):
    scales = [Scale(epoch=1, size=48)]
    data = samples(folder, tmp_path, views=1, scales=scales)
    batches = StepDataset(data, 4, 0, 3)
    assert [batches[epoch][0].shape[-1] for epoch in range(3)] == [32, 48, 48]


def test_samples_that_are_always_new_fill_no_memory(folder, tmp_path):
    batches = StepDataset(samples(folder, tmp_path), 4, 0, 3)
    assert not torch.equal(batches[0][0], batches[1][0])
    assert batches._kept == {}


def test_augmented_here_or_there_training_is_the_same(folder, tmp_path, monkeypatch):
    """Also with processes that read."""
    here, history = train(folder, tmp_path, "here", augment=EVERYTHING)
    made = Trainer.__init__

    def there(self, *arguments, **settings):
        made(self, *arguments, **{**settings, "workers": 1})
        self.augment_on_device = True

    monkeypatch.setattr(Trainer, "__init__", there)
    model, again = train(folder, tmp_path, "there", augment=EVERYTHING)
    assert torch.equal(weights(here), weights(model))
    assert [r["loss"] for r in history.records] == [r["loss"] for r in again.records]


def test_a_transform_that_knows_no_device_is_given_the_cpu():
    """And its result goes back; built-in ones stay where the image is."""
    seen = []

    class Foreign:
        def apply(self, image, target, generator):
            seen.append((image.device.type, target.device.type))
            return image, target

    image, target = torch.rand(3, 8, 8), torch.zeros(8, 8, dtype=torch.long)
    steps = augment.pipeline(EVERYTHING).transforms
    assert all(step.any_device for step in steps)
    out = augment.Pipeline([Foreign()])(image, target, torch.Generator())
    assert seen == [("cpu", "cpu")]
    assert torch.equal(out[0], image)


class Damaged(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise PluginError("train.augment.0 (mine) raised KeyError: 'x'")


def test_what_a_process_that_reads_raised_is_told_without_its_traceback():
    loader = torch.utils.data.DataLoader(Damaged(), num_workers=1)
    with pytest.raises(PluginError, match="Original Traceback") as raised:
        next(iter(loader))
    assert explain(raised.value) == "train.augment.0 (mine) raised KeyError: 'x'"
