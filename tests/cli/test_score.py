"""``benchbcss score``: label maps made elsewhere, against independent implementations."""

import json
import zipfile
from pathlib import Path

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
        "--codes raw22",
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
    assert "holds no label map" in cli("score", root / "empty", *common, check=2).stderr
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


def scored(root):
    """The labels of ``case`` scored in this process."""
    from benchbcss.runs import external, planning

    data, workspace = root / "d", root / "w"
    suite, preset = planning.choose_suite(None, data, None)
    prepared = planning.prepare(
        suite,
        preset,
        folder=data,
        split=str(data / "splits.csv"),
        workspace=workspace,
        say=lambda text: None,
    )
    return external.score(
        root / "labels", prepared, name="mine", numbering="labels", workspace=workspace
    )


def test_the_same_predictions_are_scored_again_where_institutes_or_code_changed(case, monkeypatch):
    """What was scored before is set aside: two rows would say different things of one folder."""
    from benchbcss.results import provenance

    root, *_ = case
    first = scored(root)
    assert scored(root).kept
    table = root / "d" / "splits.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(["filename,split,site", *(f"{row},mercy" for row in rows[1:])]))
    second = scored(root)
    assert not second.kept
    assert any("is set aside" in warning for warning in second.warnings)
    assert not first.run_dir.exists()
    spread = json.loads((second.run_dir / "result.json").read_text())["tracks"]["semantic"][
        "spread"
    ]
    assert set(spread["institutes"]) == {"mercy"}
    monkeypatch.setattr(provenance, "core_digest", lambda: "of another edition")
    third = scored(root)
    assert not third.kept
    assert not second.run_dir.exists()


def test_the_institute_of_an_roi_that_is_not_scored_changes_nothing(case):
    root, *_ = case
    table = root / "d" / "splits.csv"
    rows = table.read_text().splitlines()
    sites = ["filename,split,site", *(f"{row},hope" for row in rows[1:])]
    table.write_text("\n".join(sites))
    scored(root)
    sites[-1] = sites[-1].replace("hope", "mercy")  # of validation
    table.write_text("\n".join(sites))
    assert scored(root).kept


def mean(done):
    return json.loads(done.stdout)["tracks"]["semantic"]["headline"]["per_roi"]["mean"]


def packed(path, files, fix=lambda entry: entry, **options):
    with zipfile.ZipFile(path, "w", **options) as handle:
        for name, content in files.items():
            handle.writestr(fix(zipfile.ZipInfo(name)), content)
    return path


def contents(folder, rename=lambda name: name):
    return {rename(path.name): path.read_bytes() for path in sorted(folder.iterdir())}


def test_any_layout_of_the_same_predictions_is_the_same_run(case):
    """Nested, upper case, TIFF, .npy, Windows' and macOS's archives: one digest, one run."""
    import tifffile

    root, common, _, found = case
    first = cli("score", root / "labels", "--name", "one", *common, "--format", "json", check=0)
    for kind in ("nested/a/b", "upper", "tiff", "npy"):
        (root / kind).mkdir(parents=True)
    for index, guess in enumerate(found):
        Image.fromarray(guess).save(root / "nested/a/b" / f"r{index}_pred.png")
        Image.fromarray(guess).save(root / "upper" / f"r{index}.PNG", "PNG")
        tifffile.imwrite(root / "tiff" / f"r{index}.TIF", guess, compression="zlib")
        np.save(root / "npy" / f"r{index}.npy", guess.astype(np.int64)[None])
    files = contents(root / "labels")
    windows = {f"preds\\{name}": content for name, content in files.items()}
    packed(root / "windows.zip", windows)
    packed(root / "MAC.ZIP", {**files, "__MACOSX/._r0.png": b"x", "._r1.png": b"x"})
    for kind in ("nested", "upper", "tiff", "npy", "windows.zip", "MAC.ZIP"):
        done = cli("score", root / kind, "--name", "one", *common, "--format", "json", check=0)
        assert "one: already done, kept" in done.stderr, kind
        assert done.stdout == first.stdout


def test_what_an_archive_cannot_give_is_named_with_what_to_do(case):
    root, common, _, _ = case
    files = contents(root / "labels")

    def spoilt(name, mark, offsets, value, **options):
        blob = bytearray(packed(root / name, files, **options).read_bytes())
        for signature, offset in zip((b"PK\3\4", b"PK\1\2"), offsets, strict=True):
            at = -1
            while (at := blob.find(signature, at + 1)) >= 0:
                blob[at + offset] = value(blob[at + offset])
        (root / name).write_bytes(blob)
        done = cli("score", root / name, *common, check=2)
        assert "4 of 4 predictions" in done.stderr
        assert mark in done.stderr
        assert "Traceback" not in done.stderr

    spoilt("encrypted.zip", "is encrypted. Unpack", (6, 8), lambda flags: flags | 1)
    spoilt("deflate64.zip", "is compressed as Deflate64", (8, 10), lambda method: 9)
    spoilt("strange.zip", "Python does not read", (8, 10), lambda method: 97)
    spoilt("crc.zip", "is damaged in the archive", (14, 16), lambda crc: crc ^ 255)
    blob = packed(root / "short.zip", files).read_bytes()
    (root / "short.zip").write_bytes(blob[: len(blob) // 2])
    done = cli("score", root / "short.zip", *common, check=2)
    assert "is damaged or cut short" in done.stderr
    assert "another kind" in cli("score", _touch(root / "x.7z"), *common, check=2).stderr
    assert "is one file" in cli("score", root / "labels" / "r0.png", *common, check=2).stderr


def _touch(path):
    path.write_bytes(b"not an archive that is read")
    return path


def test_an_archive_writes_nowhere_and_is_bounded(case, monkeypatch):
    from benchbcss.errors import DataError
    from benchbcss.runs.external import reading

    root, _, _, _ = case
    picture = (root / "labels" / "r0.png").read_bytes()
    names = ["../../r0.png", "/r1.png", "C:\\r2.png", f"{'x' * 300}.png"]
    packed(root / "evil.zip", dict.fromkeys(names, picture))
    with reading.opened(root / "evil.zip") as source:
        before = sorted(root.rglob("*"))
        for candidate in source.candidates:
            assert source.values(candidate, (40, 36), None).shape == (40, 36)
        assert sorted(root.rglob("*")) == before
        assert not list(source.scratch.iterdir())
    monkeypatch.setattr(reading, "_limits", lambda: {"entry_bytes": 900_000, "total_bytes": 10**6})
    packed(root / "bomb.zip", {"r0.png": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    packed(root / "many.zip", {f"r{i}.png": picture + bytes(400_000) for i in range(3)})
    for name, readable in (("bomb.zip", 0), ("many.zip", 2)):
        with reading.opened(root / name) as source:
            for candidate in source.candidates[:readable]:
                source.values(candidate, (40, 36), None)
            with pytest.raises(DataError, match="is too large unpacked"):
                source.values(source.candidates[readable], (40, 36), None)


def test_a_picture_of_another_size_is_not_decoded(case):
    """A small file may claim any number of pixels: its header is enough to refuse it."""
    import struct
    import zlib

    from benchbcss.errors import DataError
    from benchbcss.runs.external import reading

    root, _, _, _ = case
    (root / "big").mkdir()
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    crc = struct.pack(">I", zlib.crc32(chunk))
    blob = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(head)) + chunk + crc
    data = b"IDAT" + zlib.compress(bytes(10))
    blob += struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    (root / "big" / "r0.png").write_bytes(blob)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000), }"
    header = header.ljust(117) + b"\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    (root / "big" / "r1.npy").write_bytes(npy)
    with reading.opened(root / "big") as source:
        for candidate, words in zip(
            source.candidates, ("is 60000 x 60000 px", "cannot be read as a NumPy"), strict=True
        ):
            with pytest.raises(DataError, match=words):
                source.values(candidate, (40, 36), None)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((6, 40, 36), np.float32), "the argmax"),
        (np.zeros((40, 36), np.float32), "Save labels as whole numbers"),
        (np.full((40, 36), -1), "has values from -1"),
        (np.array([{}]), "cannot be read as a NumPy array"),
    ],
)
def test_arrays_that_are_no_label_map(array, words, tmp_path):
    from benchbcss.errors import DataError
    from benchbcss.runs.external import reading

    np.save(tmp_path / "r0.npy", array)
    with reading.opened(tmp_path) as source, pytest.raises(DataError, match=words):
        source.values(source.candidates[0], (40, 36), None)


def test_dangling_links_folders_lossy_and_doubled_files_are_listed(case):
    root, common, _, found = case
    folder = root / "labels"
    for name in ("r0.png", "r1.png", "r2.png"):
        (folder / name).unlink()
    (folder / "r0.png").symlink_to("/nowhere/r0.png")
    (folder / "r1.png").mkdir()
    Image.fromarray(found[2]).save(folder / "r2.jpg")
    (folder / "again").mkdir()
    Image.fromarray(found[3]).save(folder / "again" / "r3_mask.tif")
    done = cli("score", folder, *common, check=2)
    for words in (
        "r0.png: is a link to a file that does not exist",
        "r1.png: is a folder",
        "r2.jpg: is lossy (JPG)",
        "r3.png: 2 files: again/r3_mask.tif, r3.png. Keep one",
    ):
        assert words in done.stderr, words


def test_raw_codes_taken_for_labels_are_pointed_out(tmp_path):
    """Codes 1 to 4 are labels too, shifted by one; nothing is changed by itself."""
    rng = np.random.default_rng(0)
    masks = {f"r{i}.png": rng.integers(1, 5, (40, 36)).astype(np.uint8) for i in range(4)}
    parts = dict(zip(masks, ("train", "val", "test", "test"), strict=True))
    data = write_folder(tmp_path / "d", masks, split=parts)
    common = ["--data", data, "--split", data / "splits.csv", "--workspace", tmp_path / "w"]
    common += ["--format", "json"]
    done = cli("score", data / "masks", "--name", "raw", *common, check=0)
    assert mean(done) < 0.3
    assert "read with --labels codes (--codes raw22)" in done.stderr
    assert "Dice of 1.000" in done.stderr
    done = cli("score", data / "masks", "--name", "raw", "--labels", "codes", *common, check=2)
    assert "Pass --replace" in done.stderr
    words = ("--labels", "codes", "--replace")
    done = cli("score", data / "masks", "--name", "raw", *words, *common, check=0)
    assert mean(done) == 1
    assert "mean pooled Dice" not in done.stderr
    rows = cli("leaderboard", "--workspace", tmp_path / "w", "--format", "csv", check=0).stdout
    assert rows.count("raw,") >= 1
    folders = filter(Path.is_dir, (tmp_path / "w/runs/bcss5/raw").iterdir())
    runs = sorted(path.name for path in folders)
    assert [name.startswith(".") for name in runs] == [True, False]
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for name, mask in masks.items():
        Image.fromarray(np.array([0, 1, 0, 2, 3], np.uint8)[mask]).save(swapped / name)
    done = cli("score", swapped, *common, check=0)
    assert "with other classes for its values" in done.stderr
    assert "0: stroma, 1: tumor" in done.stderr


def test_numberings_of_others(case):
    """nnU-Net's dataset.json, Hugging Face's id2label, a table, a colour code: the same run."""
    root, common, _, found = case
    first = cli("score", root / "labels", "--name", "x", *common, "--format", "json", check=0)
    shifted, colours = root / "shifted", root / "colours"
    shifted.mkdir()
    colours.mkdir()
    palette = np.random.default_rng(0).permutation(256)[:18].astype(np.uint8).reshape(6, 3)
    for index, guess in enumerate(found):
        Image.fromarray(guess + np.uint8(1)).save(shifted / f"r{index}.png")
        Image.fromarray(palette[guess]).save(colours / f"r{index}.png")
    titles = [name.replace("_", " ").title() for name in NAMES]
    numbered = {"background": 0, **{title: i + 1 for i, title in enumerate(titles)}}
    (shifted / "dataset.json").write_text(json.dumps({"labels": numbered, "file_ending": ".png"}))
    hub = {"id2label": {str(i + 1): title for i, title in enumerate(titles)}}
    (root / "config.json").write_text(json.dumps(hub))
    lines = [f"{i + 1};{name}" for i, name in enumerate(NAMES)]
    (root / "map.csv").write_text("Value;Class\n" + "\n".join(lines), encoding="utf-8-sig")
    lines = [f'"#{bytes(palette[i]).hex()}": {name}' for i, name in enumerate(NAMES)]
    (root / "colours.yaml").write_text("\n".join(lines))
    (root / "reverse.yaml").write_text("\n".join(f"{n}: {i + 1}" for i, n in enumerate(NAMES)))
    for folder, numbering in (
        (shifted, "nnunet"),
        (shifted, root / "config.json"),
        (shifted, root / "map.csv"),
        (shifted, root / "reverse.yaml"),
        (colours, root / "colours.yaml"),
    ):
        words = ("--name", "x", "--labels", numbering)
        done = cli("score", folder, *words, *common, "--format", "json", check=0)
        assert "already done, kept" in done.stderr, numbering
        assert done.stdout == first.stdout
    done = cli("score", colours, *common, check=2)
    assert "is in colour. Say what its colours are with --labels FILE" in done.stderr
    (shifted / "dataset.json").unlink()
    done = cli("score", shifted, "--labels", "nnunet", *common, check=2)
    assert "There is no dataset.json beside" in done.stderr
    done = cli("score", shifted, "--labels", "none.yaml", *common, check=2)
    assert "there is no such file" in done.stderr
    (root / "typo.yaml").write_text("1: tumour\n2: stroma")
    done = cli("score", shifted, "--labels", root / "typo.yaml", *common, check=2)
    assert "Did you mean 'tumor'" in done.stderr


def test_a_dataset_of_upper_case_extensions_is_scored_by_its_own_names(tmp_path):
    """Windows' .PNG: what ``verify`` accepts is scored, from a folder and from an archive."""
    rng, dice = np.random.default_rng(0), []
    for folder in ("d/images", "d/masks", "p"):
        (tmp_path / folder).mkdir(parents=True)
    for index in range(3):
        mask = rng.choice([1, 2], (40, 44)).astype(np.uint8)
        guess = np.where(rng.random(mask.shape) < 0.8, mask - 1, 0).astype(np.uint8)
        rgb = rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)
        for array, path in ((rgb, "d/images"), (mask, "d/masks"), (guess, "p")):
            if path != "p" or index:
                Image.fromarray(array).save(tmp_path / path / f"R{index}.PNG")
        if index:
            pairs = [(mask == label + 1, guess == label) for label in (0, 1)]
            dice.append([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs])
    (tmp_path / "s.csv").write_text("filename,split\nR0,train\nR1,test\nR2,test\n")
    packed(tmp_path / "p.zip", contents(tmp_path / "p", lambda name: f"p/{name}"))
    common = ["--data", tmp_path / "d", "--split", tmp_path / "s.csv", "--format", "json"]
    common += ["--workspace", tmp_path / "w", "--name", "up"]
    for given in ("p", "p.zip"):
        scored = json.loads(cli("score", tmp_path / given, *common, check=0).stdout)
        values = scored["tracks"]["semantic"]["headline"]["per_roi"]["dice"]
        assert [values["tumor"], values["stroma"]] == pytest.approx(np.mean(dice, 0).tolist())
