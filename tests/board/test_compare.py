import json

import numpy as np
import pytest
from PIL import Image
from tests_support import cli, write_folder

from benchbcss.board.compare import Entry, compare, holm
from benchbcss.scoring.metrics import Triple

CLASSES = ["tumor", "stroma"]
BOTH = ["per_roi", "pooled"]


def entry(name, shift, noise_seed, rois=45, seeds=1, sd=0.02):
    """Counts whose per-ROI Dice is a common level per ROI, plus ``shift`` and own noise."""
    level = np.random.default_rng(0).uniform(0.3, 0.6, (rois, 2))
    triples = []
    for seed in range(seeds):
        noise = np.random.default_rng(noise_seed + seed).normal(0, sd, (rois, 2))
        true = np.full((rois, 2), 100_000, np.int64)
        hit = np.round(true * np.clip(level + shift + noise, 0, 1)).astype(np.int64)
        triples.append(Triple(hit, true, true))
    return Entry(name, tuple(range(seeds)), tuple(triples))


def test_a_real_difference_is_found_and_bounded():
    found = compare([entry("a", 0.05, 1), entry("b", 0.0, 2)], CLASSES, BOTH)
    (pair,) = found["pairs"]
    low, high = pair["per_roi"]["mean_interval"]
    assert 0 < low < 0.05 < high + 0.02
    assert pair["per_roi"]["mean"] == pytest.approx(0.05, abs=0.01)
    assert pair["verdict"] == "a"
    assert pair["p_holm"] < 0.01
    assert [b["rank_interval"] for b in found["backends"]] == [[1, 1], [2, 2]]
    assert found["wins"][0][1] + found["wins"][1][0] == 45


def test_pairing_sees_what_separate_intervals_cannot():
    """ROIs differ by far more than the models; the paired difference is sharp all the same."""
    a, b = entry("a", 0.02, 1), entry("b", 0.0, 2)
    spread = [np.ptp(np.quantile(e.draws("per_roi"), [0.025, 0.975], axis=0)) for e in (a, b)]
    (pair,) = compare([a, b], CLASSES, BOTH)["pairs"]
    low, high = pair["per_roi"]["mean_interval"]
    assert high - low < 0.6 * min(spread)
    assert pair["verdict"] == "a"


def test_runs_that_differ_by_noise_tie():
    """Under no difference at all, at most about one pair in twenty is called one."""
    verdicts = [
        compare([entry("a", 0, 10 * k), entry("b", 0, 10 * k + 5)], CLASSES, ["per_roi"])["pairs"][
            0
        ]["verdict"]
        for k in range(1, 61)
    ]
    assert verdicts.count("tie") >= 54


def test_seeds_are_averaged_and_their_spread_stands_apart():
    found = compare(
        [entry("a", 0.0, 1, seeds=3), entry("b", 0.0, 50, seeds=1)], CLASSES, "prompted"
    )
    first, second = found["backends"]
    assert first["seeds"] == [0, 1, 2]
    assert first["seed_sd"] > 0
    assert second["seed_sd"] is None


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("seed", range(3))
def test_sign_flips_equal_scipys_permutation_test(seed):
    from scipy import stats

    from benchbcss.board.compare import _sign_flip

    differences = np.random.default_rng(seed).normal(0.02, 0.05, 12)
    exact = stats.permutation_test(
        (differences, np.zeros(12)), lambda x, y: np.mean(x - y), permutation_type="samples"
    ).pvalue
    assert _sign_flip(differences) == pytest.approx(exact, abs=0.015)


# -- the command, on predictions made elsewhere ----------------------------------------------


@pytest.fixture
def scored(tmp_path):
    """Twelve test ROIs, and three sets of predictions: good, good with other noise, bad."""
    rng = np.random.default_rng(0)
    codes = np.array([1, 2, 3, 4, 18, 9], np.uint8)
    masks = {f"roi{i:02}.png": codes[rng.integers(0, 6, (64, 48))] for i in range(14)}
    parts = ["train", "val", *["test"] * 12]
    data = write_folder(tmp_path / "d", masks, split=dict(zip(masks, parts, strict=True)))
    label = {int(code): index for index, code in enumerate(codes)}
    for number, (name, wrong) in enumerate((("good", 0.2), ("also", 0.2), ("bad", 0.5))):
        noise = np.random.default_rng(number + 1)
        (tmp_path / name).mkdir()
        for roi, mask in masks.items():
            found = np.vectorize(label.get)(mask).astype(np.uint8)
            flip = noise.random(found.shape) < wrong
            found[flip] = noise.integers(0, 6, int(flip.sum()))
            Image.fromarray(found).save(tmp_path / name / roi)
        cli(
            *("score", tmp_path / name, "--data", data, "--split", data / "splits.csv"),
            *("--workspace", tmp_path / "w"),
            check=0,
        )
    return tmp_path / "w"


def test_the_command(scored):
    done = cli("compare", "good", "also", "bad", "--workspace", scored, "--format", "json", check=0)
    found = json.loads(done.stdout)
    verdicts = {(p["a"], p["b"]): p["verdict"] for p in found["pairs"]}
    assert verdicts == {("good", "also"): "tie", ("good", "bad"): "good", ("also", "bad"): "also"}
    text = cli("compare", "good", "bad", "--workspace", scored, check=0).stdout
    assert "good - bad" in text
    assert "in how many ROIs" in text


def test_what_does_not_compare_is_refused_with_the_field(scored):
    path = next(scored.glob("runs/bcss5/bad/*/result.json"))
    content = json.loads(path.read_text())
    content["split"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(content))
    done = cli("compare", "good", "bad", "--workspace", scored, check=2)
    assert "bad cannot be compared with the others: split differs" in done.stderr
    done = cli("compare", "good", "godo", "--workspace", scored, check=2)
    assert "Did you mean 'good'" in done.stderr
    assert "two different" in cli("compare", "good", "good", "--workspace", scored, check=2).stderr
