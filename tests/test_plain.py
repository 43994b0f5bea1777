"""What a plugin says is kept as far as JSON goes, and never costs a run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchbcss.plain import plain


class Unspeakable:
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (True, True),
        (torch.tensor(2), 2),
        (torch.tensor([1.5, float("nan")]), [1.5, None]),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (np.arange(3), [0, 1, 2]),
        (float("inf"), None),
        (np.float64("nan"), None),
        (Path("a/b"), "a/b"),
        ({3: (1, {"x": np.uint8(2)})}, {"3": [1, {"x": 2}]}),
        (None, None),
        (torch.zeros(2, device="meta"), "tensor(..., device='meta', size=(2,))"),
        (Unspeakable(), "a Unspeakable"),
    ],
)
def test_what_json_has(value, kept):
    made = plain({"key": value})
    assert made == {"key": kept}
    assert type(made["key"]) is type(kept)
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_what_is_large_is_said_in_short():
    assert len(plain(np.zeros(10**6))) <= 1000
    assert len(plain(object())) < 100
