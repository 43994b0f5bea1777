"""``rescore --complete``; tests/cli/test_evaluate.py carries the whole of it out."""

from types import SimpleNamespace

from benchbcss import registry
from benchbcss.results import provenance
from benchbcss.runs.complete import changed_since


def test_code_that_is_not_the_runs_any_more_is_noted():
    target = registry.load().backend("floor_majority").target
    same = {
        "plugin": "floors",
        "code_sha256": provenance.code_digest(target),
        "core_sha256": provenance.core_digest(),
    }
    other = "0" * 64
    assert changed_since(SimpleNamespace(**same), target) == []
    before = SimpleNamespace(**{**same, "core_sha256": other})
    assert changed_since(before, target) == ["benchbcss"]
    before = SimpleNamespace(**{**same, "code_sha256": other})
    assert changed_since(before, target) == ["plugin floors"]
