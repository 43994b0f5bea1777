"""Hostile and broken input, by seeded mutation: our errors or a valid result, and never a hang."""

import io
import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from benchbcss.data.images import decode_image, decode_mask
from benchbcss.data.splits import load_split
from benchbcss.errors import BenchError
from benchbcss.io import Coded, read_table, write_table
from benchbcss.recipes import resolve
from benchbcss.results import store
from benchbcss.suites import load_suite, mistakes

FIXTURE = Path(__file__).parent / "results" / "fixtures" / "semantic-schema3.json"
SUITE = """
summary: tiny
label_map: bcss5
split: splits.csv
mpp: 0.3
tile: {size: 64, overlap: 16}
tracks: [semantic]
prompting: {strategies: [box], scopes: [class], tta: [false], headline: box-class}
budget: {epochs: null, steps: 4}
default_preset: smoke
presets: {smoke: {budget: {steps: 2}}, full: {}}
criteria:
  - {metric: dice.tumor, at_least: 0.5}
"""
VALUES = [
    *(None, True, -1, 0, 10**30, 1e308, float("inf"), float("nan"), "", "x" * 10_000, "\x1b[2J"),
    *([], [1], {}, {"a": 1}, [[]], "../..", "1e400", "=1+1", "2001-99-99", "*", "&a", "!!python/x"),
]


def mutated(data, rng):
    """Bytes flipped, cut, doubled, or replaced by nonsense."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = data[place : place + rng.randrange(40)]
        elif kind == 3:
            data[place : place + rng.randrange(20)] = rng.randbytes(rng.randrange(20))
        else:
            data[place:place] = rng.choice([b"\x00", b"\xff\xfe", b"[" * 50, b"{", b": ", b"\n\n"])
    return bytes(data)


def replaced(content, rng):
    """Plain data with one part, anywhere, replaced by a value of ``VALUES``."""
    places = list(_places(content))
    holder, key = rng.choice(places)
    holder[key] = rng.choice(VALUES)
    return content


def _places(content):
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def quickly(run):
    """What ``run`` returns, or None where it raises one of our errors; it does not hang."""
    begun = time.monotonic()
    result, reason = None, "none"
    try:
        result = run()
    except BenchError as error:
        reason = str(error)
    assert reason
    assert time.monotonic() - begun < 20  # the machine may be busy
    return result


@pytest.fixture
def rng(request):
    return random.Random(request.node.name)


def test_suites_as_bytes(tmp_path, rng):
    path = tmp_path / "s.yaml"
    for _ in range(150):
        path.write_bytes(mutated(SUITE.encode(), rng))
        suite = quickly(lambda: load_suite(path))
        found = mistakes(path)
        assert suite is not None or found, path.read_bytes()


def test_suites_as_values(tmp_path, rng):
    path = tmp_path / "s.yaml"
    for _ in range(150):
        content = replaced(yaml.safe_load(SUITE), rng)
        path.write_text(yaml.safe_dump(content))
        loaded = quickly(lambda: load_suite(path))
        if loaded is None:
            assert mistakes(path), content
        else:
            json.dumps(loaded[0].model_dump(mode="json"), allow_nan=False)


@pytest.mark.parametrize("text", ["[" * 5_000, "a: &a [*a, *a]", "? {a: b}\n: c", "a: !!set {b}"])
def test_yaml_that_is_nested_without_end(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    assert quickly(lambda: load_suite(path)) is None
    assert mistakes(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_what_is_no_file_is_no_suite(path):
    assert quickly(lambda: load_suite(Path(path))) is None
    assert mistakes(Path(path))


def test_overrides(rng):
    keys = ["train.lr", "train.steps", "train.augment", "model.encoder", "view", "name", "train"]
    for _ in range(150):
        value = rng.choice([str(v) for v in VALUES] + [".inf", "[" * 3000, "{a: b", "1e999"])
        text = f"{rng.choice(keys)}={value}"
        recipe = quickly(
            lambda text=text: resolve("benchbcss_unetpp:unetpp.yaml", "smoke", (text,))
        )
        if recipe is not None and text.startswith("train"):
            json.dumps(recipe.model_dump(mode="json")["train"], allow_nan=False)


def test_splits(tmp_path, rng):
    names = tuple(f"TCGA-A{i}-A0SK-DX1_xmin{i}_ymin1_MPP-0.2500.png" for i in range(6))
    parts = ["train", "train", "val", "val", "test", "test"]
    good = "filename,split\n" + "".join(f"{a},{b}\n" for a, b in zip(names, parts, strict=True))
    path = tmp_path / "splits.csv"
    for _ in range(150):
        path.write_bytes(mutated(good.encode(), rng))
        split = quickly(lambda: load_split(str(path), names, lambda n: n[:12], lambda n: n[5:7]))
        if split is not None:
            assert {*split.train, *split.val, *split.test} <= set(names)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow, of broken tags
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_masks_and_images(tmp_path, rng, form):
    path = tmp_path / f"m.{form.lower()}"
    for mode, shape, decode in (("L", (40, 30), decode_mask), ("RGB", (40, 30, 3), decode_image)):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(0).integers(0, 6, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode).save(buffer, form)
        for _ in range(60):
            path.write_bytes(mutated(buffer.getvalue(), rng))
            quickly(lambda decode=decode: decode(path))


def test_records(tmp_path, rng):
    good = FIXTURE.read_bytes()
    for number in range(200):
        content = mutated(good, rng) if number % 2 else None
        if content is None:
            content = json.dumps(replaced(json.loads(good), rng)).encode("utf-8", "surrogatepass")
        (tmp_path / "result.json").write_bytes(content)
        result = quickly(lambda: store.load(tmp_path))
        if result is not None:
            json.dumps(result.model_dump(mode="json"), allow_nan=False)


def test_tables(tmp_path, rng):
    path = tmp_path / "t.parquet"
    write_table(path, {"n": np.arange(9), "roi": Coded(np.zeros(9, int), ("a",))})
    good = path.read_bytes()
    for _ in range(150):
        path.write_bytes(mutated(good, rng))
        quickly(lambda: read_table(path))
