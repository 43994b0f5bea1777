import numpy as np
import torch

from benchbcss import registry
from benchbcss.contract import Context, Prompt, Task
from benchbcss.data.dataset import Dataset
from benchbcss.data.labels import label_map
from benchbcss.data.store import TileStore
from benchbcss.recipes import resolve
from benchbcss.training.samples import TrainingData

LABELS = label_map("bcss5")
TASK = Task(LABELS.class_names, LABELS.mean_classes, 0.3, 64)


def fitted(name, folder, tmp_path):
    entry = registry.load().backend(name)
    made = entry.load()(
        TASK,
        resolve(entry.info.recipe, "smoke").model_dump(),
        Context(0, torch.device("cpu"), "none", False, [1] * 6),
    )
    source = Dataset(folder, TileStore(tmp_path / "store"))
    rois = source.rois(source.names, LABELS)
    model = made.build()
    assert made.fit(model, TrainingData(list(rois.values()), LABELS, 64, None, 0))
    return made, model, rois


def test_majority_paints_the_most_frequent_class(phantom, tmp_path):
    made, model, rois = fitted("floor_majority", phantom, tmp_path)
    counts = sum(roi.class_pixels(LABELS) for roi in rois.values())
    found = made.predict(model, torch.rand(2, 3, 8, 9)).argmax(1)
    assert (found == int(np.argmax(counts))).all()


def test_colour_sees_single_pixels_and_beats_the_majority(phantom, tmp_path):
    made, model, rois = fitted("floor_colour", phantom, tmp_path)
    roi = next(iter(rois.values()))
    image = torch.from_numpy(np.array(roi.image())).permute(2, 0, 1)[None].float() / 255
    found = made.predict(model, image).argmax(1)
    shuffled = torch.randperm(image.shape[-1])
    assert torch.equal(made.predict(model, image[..., shuffled]).argmax(1), found[..., shuffled])
    target = torch.from_numpy(roi.target(LABELS)).long()
    known = target != 255
    counts = np.bincount(target[known].numpy())
    assert (found[0] == target)[known].float().mean() > counts.max() / counts.sum() * 0.9
    assert len(found.unique()) > 2


def test_box_fill_fills_the_box(phantom, tmp_path):
    made, model, _ = fitted("floor_box_fill", phantom, tmp_path)
    encoded = made.encode(model, torch.zeros(1, 3, 32, 32))
    logits = made.predict_prompted(model, encoded, [Prompt(0, box=(4.0, 8.0, 12.0, 30.0))])
    expected = np.zeros((32, 32), bool)
    expected[8:30, 4:12] = True
    assert ((logits[0] > 0).numpy() == expected).all()
