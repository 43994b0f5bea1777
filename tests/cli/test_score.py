"""``benchbcss score``: label maps made elsewhere, against independent implementations."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics
from tests_support import cli, write_folder

NAMES = ["tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "other"]
CODES = {1: 0, 2: 1, 3: 2, 4: 3, 18: 4, 9: 5, 6: 5, 0: 255, 7: 255}


@pytest.fixture
def case(tmp_path):
    """Four test ROIs with ignored pixels; predictions in labels and the same in BCSS codes."""
    rng = np.random.default_rng(5)
    codes = np.array(list(CODES), np.uint8)
    masks = {f"r{i}.png": codes[rng.integers(0, 9, (40, 36))] for i in range(6)}
    for mask in list(masks.values())[:4]:
        mask[mask == 18] = 2  # vessels in some ROIs only
    parts = ["test", "test", "test", "test", "train", "val"]
    data = write_folder(tmp_path / "d", masks, split=dict(zip(masks, parts, strict=True)))
    masks["r3.png"][5:9, 5:9] = 18
    Image.fromarray(masks["r3.png"]).save(data / "masks" / "r3.png")
    target = {n: np.vectorize(CODES.get)(m).astype(np.uint8) for n, m in masks.items()}
    found = {}
    for name in list(masks)[:4]:
        guess = np.where(target[name] == 255, 0, target[name]).astype(np.uint8)
        flip = rng.random(guess.shape) < 0.4
        guess[flip] = rng.integers(0, 6, int(flip.sum()))
        found[name] = guess
    raw = np.array([1, 2, 3, 4, 18, 9], np.uint8)
    for folder, table in (("labels", np.arange(6, dtype=np.uint8)), ("raw", raw)):
        (tmp_path / folder).mkdir()
        for name, guess in found.items():
            Image.fromarray(table[guess]).save(tmp_path / folder / name)
    common = ["--data", data, "--split", data / "splits.csv", "--workspace", tmp_path / "w"]
    return tmp_path, common, [target[n] for n in found], list(found.values())


def test_every_count_based_metric_equals_scikit_learns(case):
    root, common, targets, found = case
    done = cli("score", root / "labels", "--name", "mine", *common, "--format", "json", check=0)
    section = json.loads(done.stdout)["tracks"]["semantic"]
    known = [t != 255 for t in targets]
    true = np.concatenate([t[k] for t, k in zip(targets, known, strict=True)])
    guess = np.concatenate([f[k] for f, k in zip(found, known, strict=True)])
    assert section["confusion"]["counts"] == metrics.confusion_matrix(true, guess).tolist()
    options = {"labels": range(6), "average": None, "zero_division": 0}
    pooled = section["per_class"]["pooled"]
    for name, oracle in (
        ("dice", metrics.f1_score),
        ("iou", metrics.jaccard_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        expected = oracle(true, guess, **options)
        assert [pooled[name][c] for c in NAMES] == pytest.approx(expected, abs=1e-9)
        rows = []
        for t, f, k in zip(targets, found, known, strict=True):
            values = oracle(t[k], f[k], **options)
            rows.append(np.where([(t == label).any() for label in range(6)], values, np.nan))
        per_roi = section["per_class"]["per_roi"][name]
        assert [per_roi[c] for c in NAMES] == pytest.approx(np.nanmean(rows, 0), abs=1e-9)
    assert section["headline"]["pooled"]["mean"] == pytest.approx(
        metrics.f1_score(true, guess, **options)[:5].mean(), abs=1e-9
    )
    assert set(section["objects"]) == set(NAMES[:5])
    assert section["boundary"]["tolerance_um"] == 5
    assert set(section["without_border"]["pooled"]["dice"]) == set(NAMES[:5])


def test_codes_folders_and_archives_give_the_same_numbers(case):
    root, common, _, _ = case
    archive = root / "packed.zip"
    with zipfile.ZipFile(archive, "w") as handle:
        for path in sorted((root / "raw").iterdir()):
            handle.write(path, f"deep/down/{path.name}")
    tracks = []
    for args in (
        (root / "labels",),
        (root / "raw", "--codes", "raw22"),
        (archive, "--codes", "raw22"),
    ):
        done = cli("score", *args, *common, "--format", "json", check=0)
        tracks.append(json.loads(done.stdout)["tracks"])
    assert tracks[0] == tracks[1] == tracks[2]
    rows = cli("leaderboard", "--workspace", root / "w", "--format", "csv", check=0).stdout
    assert {"labels", "raw", "packed"} <= set(rows.replace("\n", ",").split(","))
    before = json.loads(next(root.glob("w/runs/bcss5/raw/*/result.json")).read_text())["tracks"]
    cli("rescore", "--workspace", root / "w", check=0)
    after = json.loads(next(root.glob("w/runs/bcss5/raw/*/result.json")).read_text())["tracks"]
    assert after == before


def test_every_unusable_file_is_reported_at_once(case):
    root, common, _, found = case
    (root / "labels" / "r0.png").unlink()
    Image.fromarray(found[1][:-1]).save(root / "labels" / "r1.png")
    Image.fromarray(found[2] + 9).save(root / "labels" / "r2.png")
    (root / "labels" / "r3.png").write_bytes(b"no picture")
    Image.fromarray(found[0]).save(root / "labels" / "stranger.png")
    done = cli("score", root / "labels", *common, check=2)
    assert "4 of 4 predictions" in done.stderr
    for words in (
        "r0.png: missing",
        "r1.png: is 36 x 39 px, its mask is 36 x 40",
        "pass --codes raw22",
        "r3.png: ",
    ):
        assert words in done.stderr
    assert not (root / "w" / "runs").exists()


def test_strangers_are_a_warning_and_mistakes_are_explained(case):
    root, common, _, found = case
    Image.fromarray(found[0]).save(root / "labels" / "stranger.png")
    assert "1 file(s) belong to no test ROI: stranger.png" in (
        cli("score", root / "labels", *common, check=0).stderr
    )
    Image.fromarray(np.full((40, 36), 77, np.uint8)).save(root / "raw" / "r0.png")
    done = cli("score", root / "raw", "--codes", "raw22", *common, check=2)
    assert "r0.png: value 77 (1440 pixels) is no code of the dataset" in done.stderr
    assert "does not exist" in cli("score", root / "none", *common, check=2).stderr
    (root / "x.zip").write_bytes(b"no archive")
    assert "neither a folder nor a .zip" in cli("score", root / "x.zip", *common, check=2).stderr
    (root / "empty").mkdir()
    assert "holds no PNG" in cli("score", root / "empty", *common, check=2).stderr
    done = cli("score", root / "labels", "--name", "../x", *common, check=2)
    assert "cannot be a row's name" in done.stderr
    done = cli("score", root / "labels", "--name", "floor_majority", *common, check=2)
    assert "is a backend that runs here" in done.stderr
    done = cli("score", root / "labels", "--suite", "brief-repro", *common, check=2)
    assert "has no semantic track" in done.stderr


@pytest.mark.parametrize(
    ("suite", "codes"), [("bcss5", "labels"), ("amgad5", "raw22"), ("tumor-binary", "raw22")]
)
def test_abstaining_is_a_miss_in_every_suite(case, suite, codes):
    """By 255 in labels, by the codes 0, 7 and 15 in BCSS codes; also where the last class is the
    truth, which an ignored code once counted as."""
    from benchbcss.data.labels import label_map

    root, common, _, _ = case
    labels = label_map(suite.replace("-", "_"))
    (root / "silent").mkdir()
    rng = np.random.default_rng(3)
    counts = np.zeros((len(labels.classes), len(labels.classes) + 1), np.int64)
    for index in range(4):
        truth = np.array(Image.open(root / "d" / "masks" / f"r{index}.png"))
        target = labels.lookup[truth]
        silent = (rng.random(truth.shape) < 0.3) & (target != 255)
        if codes == "raw22":
            picture = np.where(silent, rng.choice([0, 7, 15], truth.shape), truth)
        else:
            picture = np.where(silent, 255, np.where(target == 255, 0, target))
        Image.fromarray(picture.astype(np.uint8)).save(root / "silent" / f"r{index}.png")
        for label in range(len(labels.classes)):
            counts[label, label] += ((target == label) & ~silent).sum()
            counts[label, -1] += ((target == label) & silent).sum()
    options = ["--suite", suite, "--codes", codes, *common]
    done = cli("score", root / "silent", *options, "--format", "json", check=0)
    assert "given no class, which counts as a miss" in done.stderr
    section = json.loads(done.stdout)["tracks"]["semantic"]
    assert section["confusion"]["counts"] == counts.tolist()
    for label, name in enumerate(labels.class_names):
        hit, missed = int(counts[label, label]), int(counts[label, -1])
        pooled = {key: part[name] for key, part in section["per_class"]["pooled"].items()}
        assert pooled["precision"] == 1
        assert pooled["recall"] == pytest.approx(hit / (hit + missed))
        assert pooled["dice"] == pytest.approx(2 * hit / (2 * hit + missed))
    assert "given no class" in section["confusion"]["most_confused"][0]
    (record,) = root.glob(f"w/runs/{suite}/silent/*/result.json")
    before = record.read_text()
    cli("rescore", "--workspace", root / "w", check=0)
    assert record.read_text() == before
    from benchbcss.results import evaluate, store

    old = store.load(record.parent)
    assert evaluate.from_tables(store.load_spec(record.parent), record.parent, old) == old.tracks
