"""What validation in the prompted track computes, with a model that fills boxes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchbcss.contract import Backend, Context, Prompting, Task
from benchbcss.data.labels import label_map
from benchbcss.inference.predictor import Predictor
from benchbcss.results.schema import PromptingUsed
from benchbcss.tracks.prompted import Prompted

LABELS = label_map("brief5")


class Boxes(Backend):
    def encode(self, model, image):
        return image.shape[-1]

    def predict_prompted(self, model, encoded, prompts):
        masks = torch.full((len(prompts), encoded, encoded), -1.0)
        for mask, prompt in zip(masks, prompts, strict=True):
            x0, y0, x1, y1 = (round(edge) for edge in prompt.box)
            mask[y0:y1, x0:x1] = 1
        return masks


def predictor(tissue_prompt):
    task = Task(LABELS.class_names, LABELS.mean_classes, 0.3, 64)
    backend = Boxes(task, {}, Context(0, torch.device("cpu"), "none", False, [1] * 6))
    device = torch.device("cpu")
    return Predictor(
        backend, torch.nn.Identity(), None, 64, 8, 64, device, tissue_prompt=tissue_prompt
    )


def roi(name, codes):
    return SimpleNamespace(
        name=name,
        codes=lambda: codes,
        image=lambda: np.zeros((*codes.shape, 3), np.uint8),
        target=lambda labels: labels.lookup[codes],
    )


def rois():
    """Tumor (1) and stroma (2) beside fat (9), which is tissue but no class of the mean."""
    first = np.zeros((64, 64), np.uint8)
    first[4:20, 4:20], first[30:60, 10:50], first[4:20, 40:60] = 1, 2, 9
    first[8:12, 8:12] = 0
    second = np.zeros((64, 64), np.uint8)
    second[10:40, 10:40] = 9  # no class of the mean, nothing prompted per class
    return [roi("a", first), roi("b", second)]


def dice(pairs):
    hit = sum((true & found).sum() for true, found in pairs)
    return 2 * hit / sum(true.sum() + found.sum() for true, found in pairs)


def box(codes):
    rows, columns = np.nonzero(codes)
    found = np.zeros(codes.shape, bool)
    found[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return found


@pytest.mark.parametrize("key", ["box-largest", "box_neg_outer-largest", "box-class"])
def test_any_tissue_by_one_prompt_is_on_all_codes_above_zero(key):
    """Under any scope: the whole tissue mask, not its largest part."""
    prompting = Prompting.parse(key)
    found = Prompted().validate(predictor("one"), rois(), LABELS, prompting)
    expected = dice([(r.codes() > 0, box(r.codes() > 0)) for r in rois()])
    assert found.any_tissue == pytest.approx(expected)
    usual = Prompted().validate(predictor("per_class"), rois(), LABELS, prompting)
    assert (found.mean, found.per_class) == (usual.mean, usual.per_class)
    assert found.any_tissue != pytest.approx(usual.any_tissue)


def test_any_tissue_per_class_is_the_union_of_the_classes_masks():
    found = Prompted().validate(predictor("per_class"), rois(), LABELS, Prompting("box", "class"))
    first = rois()[0].codes()
    named = (first == 1) | (first == 2)
    assert found.any_tissue == pytest.approx(dice([(named, box(first == 1) | box(first == 2))]))


def test_older_records_say_only_largest():
    common = {"key": "box-class", "version": 2, "strategy": "box", "scope": "class", "tta": False}
    assert PromptingUsed(**common, only_largest=True).postprocess == "largest"
    assert PromptingUsed(**common, only_largest=False).postprocess == "none"
    new = PromptingUsed(**common, only_largest=True, postprocess="largest")
    assert new == PromptingUsed(**common, only_largest=True)
    assert PromptingUsed(**common).views == "mean_logits"
