"""``benchbcss data`` and ``suites --validate``, as a user calls them."""

import json
import shutil
import struct
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image
from tests_support import cli, write_folder

OWN = """\
label_map:
  codes: {glass: 0, tumour: 1, rest: 2}
  classes: {tumour: [tumour], rest: [rest]}
  ignore: [glass]
split: splits.csv
mpp: 0.5
"""


@pytest.fixture
def own(tmp_path):
    """Six ROIs of three codes of one's own, and the suite for them."""
    rng = np.random.default_rng(0)
    masks = {f"r{i}.png": rng.choice([0, 1, 2], (40, 48)).astype(np.uint8) for i in range(6)}
    parts = ["train", "train", "train", "val", "test", "test"]
    write_folder(tmp_path / "d", masks, split=dict(zip(masks, parts, strict=True)))
    (tmp_path / "own.yaml").write_text(OWN)
    return tmp_path, masks


def data(tmp_path, *arguments, check=None):
    return cli("data", *arguments, "--workspace", tmp_path / "w", check=check)


def test_a_suite_with_mistakes_is_exit_code_2(tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "summary: x\nlabel_map: bcss5\nsplit: brief\nmpp: -1\nnonsense: 3\n"
    )
    done = cli("suites", "--validate", tmp_path / "bad.yaml", check=2)
    assert len(done.stderr.splitlines()) == 2
    (tmp_path / "own.yaml").write_text(OWN)
    cli("suites", "--validate", tmp_path / "own.yaml", check=0)


def test_verify_and_stats_by_a_suite_of_ones_own(own):
    tmp_path, masks = own
    done = data(tmp_path, "verify", tmp_path / "d", "--suite", tmp_path / "own.yaml", check=0)
    assert "6 of 6 ROIs are sound" in done.stdout
    assert "3 train, 1 val, 2 test; patients are unknown for 6 ROI(s): no claim" in done.stdout
    arguments = ("stats", tmp_path / "d", "--suite", tmp_path / "own.yaml", "--format", "json")
    found = json.loads(data(tmp_path, *arguments, check=0).stdout)
    assert found["mpp"] == 0.5
    for row, code in zip(found["classes"], (1, 2), strict=True):
        assert row["pixels"] == sum(int((mask == code).sum()) for mask in masks.values())
    assert found["ignored"] == sum(int((mask == 0).sum()) for mask in masks.values())


def test_a_suite_and_a_label_map_are_one_too_many(own):
    tmp_path, _ = own
    arguments = ("--suite", tmp_path / "own.yaml", "--label-map", "bcss5")
    done = data(tmp_path, "verify", tmp_path / "d", *arguments, check=2)
    assert "leave out --label-map" in done.stderr


def test_verify_names_every_bad_mask(own):
    tmp_path, masks = own
    for name in ("r1.png", "r4.png"):
        Image.fromarray(masks[name] * 100).save(tmp_path / "d" / "masks" / name)
    done = data(tmp_path, "verify", tmp_path / "d", "--suite", tmp_path / "own.yaml", check=2)
    assert done.stderr.count("100 times a code") == 2
    assert "2 of 6 ROIs cannot be used" in done.stderr


def test_identical_images_in_two_parts_are_an_error(own):
    tmp_path, _ = own
    shutil.copy(tmp_path / "d" / "images" / "r0.png", tmp_path / "d" / "images" / "r5.png")
    done = data(tmp_path, "verify", tmp_path / "d", "--suite", tmp_path / "own.yaml", check=2)
    assert "'r0.png' (train) and 'r5.png' (test) are identical images" in done.stderr
    suite = ("--suite", tmp_path / "own.yaml", "--data", tmp_path / "d")
    done = cli(
        *("run", "floor_majority", *suite, "--dry-run", "--workspace", tmp_path / "w"), check=2
    )
    assert "identical images" in done.stderr


def test_a_run_does_not_claim_what_names_do_not_show(own):
    tmp_path, _ = own
    arguments = ("--data", tmp_path / "d", "--dry-run", "--workspace", tmp_path / "w")
    run = ("run", "floor_majority", "--suite", tmp_path / "own.yaml", *arguments)
    assert "no patient is in two parts" not in cli(*run, check=0).stderr
    (tmp_path / "own.yaml").write_text(OWN + "patient_pattern: 'r(.)'\n")
    assert "no patient is in two parts" in cli(*run, check=0).stderr


def test_grey_pngs_of_four_bits_hold_codes(tmp_path):
    """Code 1 is stored as 1; Pillow gives 17."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    y, x = np.mgrid[:96, :128]
    codes = np.where((x + 2 * y) % 57 < 23, 0, 1).astype(np.uint8)
    write_folder(tmp_path / "d", {f"r{i}.png": codes for i in range(6)})
    rows = b"".join(b"\0" + ((row[0::2] << 4) | row[1::2]).tobytes() for row in codes)
    header = struct.pack(">IIBBBBB", 128, 96, 4, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    for path in (tmp_path / "d" / "masks").iterdir():
        path.write_bytes(png)
    done = data(tmp_path, "stats", tmp_path / "d", "--format", "json", check=0)
    pixels = {row["class"]: row["pixels"] for row in json.loads(done.stdout)["classes"]}
    assert pixels == {**dict.fromkeys(pixels, 0), "tumor": 43632}


def test_names_of_another_unicode_form_are_met(own):
    tmp_path, _ = own
    for folder in ("images", "masks"):
        for path in (tmp_path / "d" / folder).iterdir():
            path.rename(path.with_name(unicodedata.normalize("NFD", f"é{path.name}")))
    names = [f"ér{i}.png" for i in range(6)]
    parts = ["train", "train", "train", "val", "test", "test"]
    rows = "".join(f"{name},{part}\n" for name, part in zip(names, parts, strict=True))
    split = unicodedata.normalize("NFC", "filename,split\n" + rows)
    (tmp_path / "d" / "splits.csv").write_text(split, encoding="utf-8")
    done = data(tmp_path, "verify", tmp_path / "d", "--suite", tmp_path / "own.yaml", check=0)
    assert "3 train, 1 val, 2 test" in done.stdout


def test_prepare_from_folder_to_a_row(tmp_path):
    """Two commands from TIFF pairs nobody described to a scored row."""
    rng = np.random.default_rng(0)
    for i in range(8):
        codes = np.kron(rng.integers(0, 3, (4, 5)), np.ones((16, 16))).astype(np.uint8)
        image = np.stack([codes * 80, 255 - codes * 80, codes * 20], 2)
        (tmp_path / "toy").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "toy" / f"P{i // 2}_{i}.TIF")
        Image.fromarray(codes).save(tmp_path / "toy" / f"P{i // 2}_{i}_mask.tif")
    arguments = ("prepare", tmp_path / "toy", "--patient-pattern", r"^(P\d)_")
    assert "code 2" in data(tmp_path, *arguments, check=0).stdout
    suite = tmp_path / "toy" / "toy.yaml"
    cli("suites", "--validate", suite, check=0)
    data(tmp_path, "verify", tmp_path / "toy", "--suite", suite, check=0)
    run = ("run", "floor_colour", "--suite", suite, "--data", tmp_path / "toy", "--no-floors")
    done = cli(
        *run, "--preset", "smoke", "--workspace", tmp_path / "w", "--format", "json", check=0
    )
    assert "no patient is in two parts" in done.stderr
    (result,) = (tmp_path / "w" / "runs" / "toy" / "floor_colour").glob("*/result.json")
    semantic = json.loads(result.read_text())["tracks"]["semantic"]
    assert semantic["headline"]["per_roi"]["mean"] > 0.95


def test_glas_as_released_becomes_a_correct_row(tmp_path):
    """BMP pairs of odd sizes that number glands, parts in names, patients in Grade.csv: prepare and
    score. The Dice is that of gland against the rest, whatever numbers the prediction gives."""
    rng = np.random.default_rng(0)
    (tmp_path / "glas").mkdir()
    (tmp_path / "out").mkdir()
    grades, dice = ["name, patient ID, grade (GlaS)"], []
    for index in range(8):
        name = f"train_{index}" if index < 5 else f"testA_{index}"
        mask = np.zeros((52 + index, 77), np.uint8)
        for number in range(1, 5 + index % 3):
            row, column = (number - 1) // 4 * 22, (number - 1) % 4 * 19
            mask[row + 2 : row + 18, column + 3 : column + 17] = number
        rgb = rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(tmp_path / "glas" / f"{name}.bmp")
        Image.fromarray(mask).save(tmp_path / "glas" / f"{name}_anno.bmp")
        grades.append(f"{name}, {index}, benign")
        if index >= 5:
            predicted = np.roll(mask, 5, axis=1) * 7
            Image.fromarray(predicted).save(tmp_path / "out" / f"{name}.png")
            one, other = mask > 0, predicted > 0
            dice.append(2 * (one & other).sum() / (one.sum() + other.sum()))
    (tmp_path / "glas" / "Grade.csv").write_text("\n".join(grades) + "\n")
    data(tmp_path, "prepare", tmp_path / "glas", check=0)
    suite = tmp_path / "glas" / "glas.yaml"
    words = ["score", tmp_path / "out", "--labels", "codes", "--suite", suite]
    words += ["--data", tmp_path / "glas", "--workspace", tmp_path / "w", "--format", "json"]
    scored = json.loads(cli(*words, check=0).stdout)
    headline = scored["tracks"]["semantic"]["headline"]["per_roi"]
    assert headline["dice"] == pytest.approx({"foreground": np.mean(dice)})


def test_a_splits_ending_may_be_in_capitals(own):
    """As Windows writes it: a suite's split lies beside the data all the same."""
    tmp_path, _ = own
    (tmp_path / "d" / "splits.csv").rename(tmp_path / "d" / "Splits.CSV")
    (tmp_path / "own.YAML").write_text(OWN.replace("splits.csv", "Splits.CSV"))
    suite = ("--suite", tmp_path / "own.YAML")
    assert "3 train" in data(tmp_path, "verify", tmp_path / "d", *suite, check=0).stdout
    where = ("--data", tmp_path / "d", "--dry-run", "--workspace", tmp_path / "w")
    done = cli("run", "floor_majority", *suite, *where, check=0)
    assert "codes of BCSS" not in done.stderr
    split = ("--split", tmp_path / "d" / "Splits.CSV")  # and the default suite
    done = cli("run", "floor_majority", *split, *where, check=0)
    assert "warning: the masks are read with the codes of BCSS" in done.stderr
