"""Stored specifications: they stay what they were when settings are added."""

import json
from pathlib import Path

import pytest

from benchbcss.recipes import Validating
from benchbcss.results import store

RUNS = Path(__file__).parents[2] / "leaderboard" / "results" / "runs"
STORED = sorted(path.parent for path in RUNS.glob("*/*/*/spec.json"))


def limited(spec, **limit):
    train = spec.recipe.train.model_copy(update={"validation": Validating(**limit)})
    return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"train": train})})


@pytest.mark.parametrize("run_dir", STORED, ids=lambda path: path.parent.name)
def test_a_stored_specification_keeps_its_fingerprint(run_dir):
    """One that is older than the limit on validation had none."""
    spec = store.load_spec(run_dir)
    assert spec.run_id() == run_dir.name
    again = type(spec).model_validate_json(spec.model_dump_json())
    assert again.fingerprint() == spec.fingerprint()
    train = json.loads((run_dir / "spec.json").read_text())["recipe"]["train"]
    if train is not None and "validation" not in train:
        assert spec.recipe.train.validation.share == 1


def test_a_limit_on_validation_makes_another_run():
    spec = next(s for s in map(store.load_spec, STORED) if s.recipe.train is not None)
    prints = [limited(spec, **limit).fingerprint() for limit in ({"share": 0.25}, {"share": 0.5})]
    prints += [limited(spec, best=2).fingerprint(), limited(spec, share=1).fingerprint()]
    assert len(set(prints)) == 4
    assert limited(spec, share=1, best=2).fingerprint() == prints[-1]  # it chooses nothing then


def test_a_scale_that_no_suite_may_have_now_is_still_read(tmp_path):
    """Else what was computed by it could be neither shown nor gone on with."""
    content = json.loads((STORED[0] / "spec.json").read_text())
    content["suite"]["mpp"] = 250
    (tmp_path / "spec.json").write_text(json.dumps(content))
    assert store.load_spec(tmp_path).suite.mpp == 250
