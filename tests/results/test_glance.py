"""A glance has what the record has: kept fields at once, the others from the record itself."""

import json
from pathlib import Path

import pytest
from board_support import result as made_up
from pydantic import BaseModel

from benchbcss.results import store
from benchbcss.results.glance import (
    KEPT,
    SHARED,
    Part,
    Shape,
    Tables,
    decoder,
    encode,
    renumbered,
    shape_of,
)
from benchbcss.results.migrate import lift
from benchbcss.results.schema import RunResult

RECORDS = sorted(Path(__file__).parents[2].glob("leaderboard/results/runs/*/*/*/result.json"))
SHAPE = shape_of(RunResult)


def glance_of(record, whole=None):
    """Through text, as the index keeps it; what is left out is read from ``record``."""
    tables = Tables()
    content = json.loads(json.dumps([encode(SHAPE, record, tables), tables.values]))
    return decoder(SHAPE, content[1])(content[0], whole or (lambda: record))


def assert_same(seen, record, where="record"):
    """Of all that the record has, field by field."""
    if isinstance(record, BaseModel):
        for name in type(record).model_fields:
            assert_same(getattr(seen, name), getattr(record, name), f"{where}.{name}")
    elif isinstance(record, dict):
        assert list(seen) == list(record), where
        for key in record:
            assert_same(seen[key], record[key], f"{where}[{key!r}]")
    elif isinstance(record, (list, tuple)):
        assert len(seen) == len(record), where
        for place, item in enumerate(record):
            assert_same(seen[place], item, f"{where}[{place}]")
    else:
        assert (type(seen), seen) == (type(record), record), where


def test_there_are_records_to_look_at():
    assert len(RECORDS) > 50


def test_every_field_of_every_record_of_the_leaderboard():
    for path in RECORDS:
        record = store.load(path.parent)
        seen = glance_of(record)
        assert_same(seen, record, path.parent.name)
        for name, track in record.tracks.items():
            for fact in ("other_promptings", "foreign_metrics"):
                assert vars(seen.tracks[name])[fact] == getattr(track, fact)


HOSTILE = {
    "names that are those of Python": {"name": "__class__", "recipe": {"keys": {"_whole": 1}}},
    "numbers on the edge": {"mpp": 5e-324, "seed": 10**30, "recipe": {"a": -0.0, "b": 1e308}},
    "text of any kind": {"name": "\ud800\x00\u2028=\"'\\", "backend": "", "created": "never"},
    "empty parts": {"not_measured": {}, "recipe": {}, "tracks": {}},
    "a class called as a field": {
        "tracks": {
            "semantic": {
                **made_up("a")["tracks"]["semantic"],
                "classes": ["headline", "get", ""],
                "rois_with_class": {"headline": 0, "": 3},
            }
        }
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_field_of_hostile_records(name):
    record = RunResult.model_validate(lift({**made_up("a"), **HOSTILE[name]}))
    assert_same(glance_of(record), record)


def test_a_shape_comes_back_from_json():
    assert Shape.from_json(json.loads(json.dumps(SHAPE))) == SHAPE


def test_what_is_kept_needs_no_record():
    record = store.load(RECORDS[0].parent)
    tables = Tables()
    values = encode(SHAPE, record, tables)
    seen = decoder(SHAPE, tables.values)(values, None)
    for name in KEPT["RunResult"]:
        getattr(seen, name)
    with pytest.raises(AttributeError):
        _ = seen.cost
    (track, *_) = seen.tracks.values()
    assert not {"confusion", "objects", "by_roi", "spread", "others"} & set(vars(track))


def test_what_is_left_out_is_asked_of_the_record():
    record = store.load(RECORDS[0].parent)
    asked = []

    def whole():
        asked.append(1)
        return record

    seen = glance_of(record, whole)
    name = next(iter(record.tracks))
    assert seen.tracks[name].headline.per_roi.mean == record.tracks[name].headline.per_roi.mean
    assert seen.training.monitor == record.training.monitor
    assert not asked
    assert seen.tracks[name].by_roi is record.tracks[name].by_roi
    assert seen.training.steps == record.training.steps
    assert len(asked) == 2
    with pytest.raises(AttributeError):
        _ = seen.no_such_field


def test_what_records_share_is_kept_once():
    """Also after those that came first are gone, which leave nothing behind."""
    records = [store.load(path.parent) for path in RECORDS]
    tables = Tables()
    kept = [encode(SHAPE, record, tables) for record in records]
    for values in tables.values.values():
        texts = [json.dumps(value) for value in values]
        assert len(set(texts)) == len(texts)
    assert len(tables.values["TrackResult.rois_with_class"]) < 5

    later, some = Tables(), list(zip(kept, records, strict=True))[40:]
    moved = [
        renumbered(SHAPE, values, lambda name, n: later.number(name, tables.values[name][n]))
        for values, _ in some
    ]
    seen = decoder(SHAPE, later.values)
    for values, (_, record) in zip(moved, some, strict=True):
        assert_same(seen(values, lambda record=record: record), record)
    afresh = Tables()
    assert moved == [encode(SHAPE, record, afresh) for _, record in some]
    assert later.values == afresh.values


def test_what_is_shared_is_whole():
    """There is no one record that could be asked for more of it."""

    def shapes(name, shape):
        yield name, shape
        for _, field, _, inner in shape.parts:
            yield from shapes(field, inner)

    tables = [table for _, shape in shapes("", SHAPE) for _, table in shape.shared]
    assert {table.partition(".")[0] for table in tables} == set(SHARED)
    for _, shape in shapes("", SHAPE):
        places = {place for place, _ in shape.shared}
        assert all(part[3].whole for part in shape.parts if part[0] in places)


def test_no_name_of_a_field_is_one_that_python_looks_for():
    def names(shape):
        yield from shape.fields
        for *_, inner in shape.parts:
            yield from names(inner)

    assert not [name for name in names(SHAPE) if name.startswith("_") or hasattr(Part, name)]
