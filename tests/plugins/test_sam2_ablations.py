"""Each ablation of sam2_v3 is v3 with one idea switched off, and nothing else."""

import pytest

from benchbcss import registry
from benchbcss.recipes import resolve

pytest.importorskip("benchbcss_sam2")
from benchbcss_sam2 import ABLATIONS

FROZEN = ({"encoder_stages12": 0.0, "encoder_stages34": 0.0, "encoder_neck": 0.0},)
OFF = {
    "class_weights": (("loss", "class_weights"), None),
    "stain": (("train", "augment", "stain"), None),
    "elastic": (("train", "augment", "elastic"), None),
    "early_stopping": (("train", "early_stopping"), None),
    "unfreezing": (("train", "unfreeze"), ({"epoch": 0, "lr": FROZEN[0]},)),
}


def flat(value, path=()):
    """{path: leaf}; sequences are leaves."""
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key, inner in value.items() for k, v in flat(inner, (*path, key)).items()}


def test_every_idea_has_its_row():
    assert set(OFF) == set(ABLATIONS)
    rows = {name for name in registry.load().backends if name.startswith("sam2_v3_no_")}
    assert rows == {f"sam2_v3_no_{idea}" for idea in ABLATIONS}


@pytest.mark.parametrize("idea", ABLATIONS)
def test_one_idea_is_off_and_all_else_is_v3s(idea):
    name = f"sam2_v3_no_{idea}"
    entries = registry.load().backends
    assert entries[name].target == entries["sam2_v3"].target
    v3 = resolve("benchbcss_sam2:sam2_v3.yaml", "full").model_dump()
    ours = resolve(entries[name].info.recipe, "full").model_dump()
    assert ours.pop("name") == name
    for recipe in (v3, ours):
        for key in ("name", "summary", "sources"):
            recipe.pop(key, None)
    path, off = OFF[idea]
    value, before = ours, v3
    for key in path:
        value, before = value[key], before[key]
    assert value == off
    assert before != off
    left, right = flat(v3), flat(ours)
    different = {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}
    assert different
    assert all(key[: len(path)] == path for key in different)
