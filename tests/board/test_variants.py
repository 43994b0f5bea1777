from board_support import result, write

from benchbcss.board import model
from benchbcss.board.variants import differences


def names(workspace):
    return [row.name for row in model.load(workspace).tables[0].rows]


def test_what_differs_is_named_by_the_shortest_path():

    def recipe(lr):
        return {"train": {"epochs": 30, "optimizer": {"lr": lr}, "scheduler": {"lr": 0.1}}}

    assert differences([recipe(5e-4), recipe(1e-4)]) == ["optimizer.lr=5e-4", "optimizer.lr=1e-4"]
    assert differences([{"a": {"lr": 0.05}}, {"a": {"lr": 1}}]) == ["lr=0.05", "lr=1"]
    texts = differences([{"a": {"x": None}}, {"a": {"x": True}}, {}])
    assert texts == ["x=none", "x=true", "x=none"]


def test_a_section_that_one_lacks():
    texts = differences([{"train": None, "a": 1}, {"train": {"lr": 2}, "a": 1}])
    assert texts == ["lr=none", "lr=2"]
    assert differences([{"train": None}, {"train": {}}]) == ["train=none", "train={}"]


def test_many_differences_are_cut():
    many = {f"k{i}": 0 for i in range(6)}
    texts = differences([many, dict.fromkeys(many, 1)])
    assert texts[0] == "k0=0 k1=0 k2=0 ..."


def test_an_ending_that_another_setting_has_too_is_not_enough():
    first = {"head": {"lr": 1}, "lr": 5}
    assert differences([first, {**first, "lr": 6}]) == ["lr=5", "lr=6"]
    assert differences([first, {**first, "head": {"lr": 2}}]) == ["head.lr=1", "head.lr=2"]


def test_runs_of_one_backend_and_seed_say_what_differs(tmp_path):
    recipe = {"train": {"lr": 5e-4, "epochs": 3}, "summary": "one text", "tracker": "none"}
    changed = {"train": {"lr": 1e-4, "epochs": 3}, "summary": "another", "tracker": "tensorboard"}
    write(tmp_path, result("a", 0.6, recipe=recipe), "seed0-123456789abc")
    write(tmp_path, result("a", 0.5, recipe=changed), "seed0-fedcba987654")
    write(tmp_path, result("b", 0.4, recipe=recipe), "seed0-000000000000")
    assert names(tmp_path) == ["a lr=5e-4", "a lr=1e-4", "b"]


def test_weights_are_a_difference(tmp_path):
    for number, requested in enumerate(("none", "file:/somewhere/best.pt")):
        weights = {"provenance": "p", "requested": requested}
        write(tmp_path, result("a", 0.6 - number / 10, weights=weights), f"seed0-{number}")
    assert names(tmp_path) == ["a weights=none", "a weights=best.pt"]


def test_seeds_alone_are_no_variants(tmp_path):
    write(tmp_path, result("a", 0.6), "seed0-1")
    write(tmp_path, result("a", 0.5, seed=1), "seed1-2")
    assert names(tmp_path) == ["a", "a s1"]


def test_runs_of_the_same_settings_are_told_apart_by_their_fingerprint(tmp_path):
    write(tmp_path, result("a", 0.6), "seed0-123456789abc")
    write(tmp_path, result("a", 0.5), "seed0-fedcba987654")
    assert names(tmp_path) == ["a #123456", "a #fedcba"]
    third = result("a", 0.4, recipe={"lr": 1})
    write(tmp_path, third, "seed0-777777777777")
    assert names(tmp_path) == ["a lr=none #123456", "a lr=none #fedcba", "a lr=1"]


def test_no_two_rows_have_one_name(tmp_path):
    """What was named 's1' is not seed 1, and neither is a backend that is called so."""
    write(tmp_path, result("net", 0.5, seed=1), run="seed1-aaaaaa")
    write(tmp_path, result("net", 0.6, name="s1"), run="s1-seed0-bbbbbb")
    write(tmp_path, result("net s1", 0.7), run="seed0-cccccc")
    assert sorted(names(tmp_path)) == [f"net s1 #{letter * 6}" for letter in "abc"]
