import json
import shutil

import numpy as np
import pytest
from board_support import result, write
from PIL import Image
from tests_support import cli, write_folder

from benchbcss.board import compare as comparing
from benchbcss.board import model
from benchbcss.errors import InputError, UnknownNameError

# -- the command, on predictions made elsewhere ----------------------------------------------


@pytest.fixture
def scored(made, tmp_path):
    """A workspace of its own."""
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twelve test ROIs, and three sets of predictions: good, good with other noise, bad."""
    tmp_path = tmp_path_factory.mktemp("compared")
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
    assert list(found["estimands"]) == ["per_roi", "pooled"]
    for part in found["estimands"].values():
        verdicts = {(p["a"], p["b"]): p["verdict"] for p in part["pairs"]}
        expected = {("good", "also"): "tie", ("good", "bad"): "good", ("also", "bad"): "also"}
        assert verdicts == expected
        ranks = {row["name"]: row["rank_text"] for row in part["standings"]}
        assert ranks == {"good": "1-2", "also": "1-2", "bad": "3"}
        for pair in part["pairs"]:  # one test gives both
            excludes = pair["mean"]["low"] > 0 or pair["mean"]["high"] < 0
            assert excludes == (pair["mean"]["p"] < 0.05)
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


# -- variants -------------------------------------------------------------------------------


def again(run, folder, **changes):
    """A copy of a run as another one, with another ``recipe``, ``name``, ``seed`` ..."""
    target = run.with_name(folder)
    shutil.copytree(run, target)
    content = json.loads((target / "result.json").read_text())
    content["recipe"].update(changes.pop("recipe", {}))
    (target / "result.json").write_text(json.dumps({**content, **changes}))


@pytest.fixture
def variants(scored):
    """Of 'good': two learning rates with two seeds each, a named run, and one that was evaluated.
    The runs hold the same numbers but for those copied from 'bad'."""
    good, bad = (next(scored.glob(f"runs/bcss5/{name}/[!.]*")) for name in ("good", "bad"))
    for seed in (0, 1):
        again(good, f"seed{seed}-aaaaaaaaaaa{seed}", recipe={"lr": 1e-4}, seed=seed)
        again(good, f"seed{seed}-bbbbbbbbbbb{seed}", recipe={"lr": 5e-4}, seed=seed)
    again(good, "slow-seed0-cccccccccccc", name="slow")
    again(good, "seed0-dddddddddddd", evaluated=True)
    shutil.rmtree(good)
    shutil.copytree(bad, good.with_name("renamed"))
    content = json.loads((good.with_name("renamed") / "result.json").read_text())
    (good.with_name("renamed") / "result.json").write_text(
        json.dumps({**content, "backend": "good", "name": "noisy"})
    )
    return model.load(scored)


def chosen(board, *names):
    _, found = comparing.choose(board, names)
    return {label: [row.seed for row in rows] for label, rows in found.items()}


def test_names_that_the_board_shows(variants):
    names = {row.name for row in variants.rows}
    assert {"good lr=1e-4", "good s1 lr=5e-4", "good slow", "good lr=none (evaluated)"} <= names
    assert chosen(variants, "good lr=1e-4", "good (lr=5e-4)") == {
        "good lr=1e-4": [0, 1],
        "good lr=5e-4": [0, 1],
    }
    assert chosen(variants, "lr=1e-4", "slow", "also") == {
        "good lr=1e-4": [0, 1],
        "good slow": [0],
        "also": [0],
    }
    assert chosen(variants, "good s1 lr=1e-4", "good slow") == {
        "good s1 lr=1e-4": [1],
        "good slow": [0],
    }
    assert chosen(variants, "seed1-bbbbbbbbbbb1", "good lr=none (evaluated)") == {
        "good lr=5e-4": [1],
        "good lr=none (evaluated)": [0],
    }


def test_every_row_of_a_board_can_be_compared_by_its_name(variants):
    for row in variants.rows:
        if row.name != "also":
            found = chosen(variants, row.name, "also")
            assert any(row.seed in seeds for seeds in found.values())


def test_a_backend_that_means_several_lists_them(variants):
    with pytest.raises(InputError, match="'good' means 5 results here: .*'good lr=1e-4'"):
        comparing.choose(variants, ["good", "also"])
    with pytest.raises(InputError, match="at least two different"):
        comparing.choose(variants, ["good slow", "slow"])
    with pytest.raises(UnknownNameError, match="Did you mean 'good lr=1e-4'"):
        comparing.choose(variants, ["good lr=1e-3", "also"])


def test_what_is_compared_is_what_was_named(variants):
    part = comparing.of_names(variants, ["slow", "noisy", "good lr=1e-4"])
    pairs = {(p.a, p.b): p for p in part.estimands["per_roi"].pairs}
    assert pairs["good slow", "good noisy"].verdict == "good slow"
    same = pairs["good slow", "good lr=1e-4"]  # copies of one run
    assert (same.mean.point, same.verdict) == (0, "tie")
    assert part.seeds == {"good slow": (0,), "good noisy": (0,), "good lr=1e-4": (0, 1)}


def test_a_plain_run_is_the_backend_beside_a_named_one(scored):
    good = next(scored.glob("runs/bcss5/good/[!.]*"))
    again(good, "slow-seed0-cccccccccccc", name="slow")
    board = model.load(scored)
    assert chosen(board, "good", "slow") == {"good": [0], "good slow": [0]}


def test_a_name_as_it_is_listed_means_one_result(tmp_path):
    """What was named 'evaluated' and what was evaluated differ by parentheses alone."""
    write(tmp_path, result("net", 0.5))
    write(tmp_path, result("net", 0.6, evaluated=True), run="evaluated-x")
    write(tmp_path, result("net", 0.7, name="evaluated"), run="evaluated-seed0-x")
    board = model.load(tmp_path)
    labels = ["net", "net (evaluated)", "net evaluated"]
    _, chosen = comparing.choose(board, labels)
    assert [[row.scores.headline.per_roi.mean for row in rows] for rows in chosen.values()] == [
        [0.5],
        [0.6],
        [0.7],
    ]


def test_trained_and_evaluated_are_not_two_seeds_of_one(scored):
    good = next(scored.glob("runs/bcss5/good/[!.]*"))
    again(good, "seed0-dddddddddddd", evaluated=True)
    assert chosen(model.load(scored), "good", "also") == {"good": [0], "also": [0]}


def test_the_command_takes_variants(variants, scored):
    text = cli("compare", "slow", "noisy", "--workspace", scored, check=0).stdout
    assert "good slow - good noisy" in text


def test_the_command_of_a_message_can_be_pasted(tmp_path):
    folder = tmp_path / "a folder & more"
    for name in ("one", "two"):
        write(folder, result(name, 0.5))
    with pytest.raises(InputError) as failure:
        comparing.of_names(model.load(folder), ["one", "two"])
    run = folder / "runs" / "bcss5" / "one" / "seed0-x"
    assert str(failure.value).endswith(f"benchbcss rescore '{run}'")
