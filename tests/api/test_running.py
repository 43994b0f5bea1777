"""``bb.run`` and ``bb.score`` do what the commands do, and say no in the same words."""

import json

import numpy as np
import pytest
from tests_support import cli

import benchbcss as bb
from benchbcss.api import running
from benchbcss.errors import InputError, RunError, UnknownNameError


def common(filled):
    data = filled / "d"
    return {"data": data, "split": str(data / "splits.csv"), "workspace": filled / "w"}


def test_what_is_done_is_kept_by_the_command_too(filled, capfd):
    again = bb.run("floor_majority", preset="smoke", floors=False, device="cpu", **common(filled))
    assert [outcome.status for outcome in again] == ["kept"]
    assert "already done, kept" in capfd.readouterr().err
    assert again.failed == ()
    assert list(again.to_pandas()["status"]) == ["kept"]
    assert "floor_majority seed 0 kept" in repr(again)
    assert again.load()[0].backend == "floor_majority"
    assert {row.backend for row in again.leaderboard().rows} >= {"floor_majority", "good"}
    data = filled / "d"
    done = cli(
        *("run", "floor_majority", "--no-floors", "--preset", "smoke", "--data", data),
        *("--split", data / "splits.csv", "--workspace", filled / "w", "--format", "json"),
        *("--device", "cpu"),
        check=0,
    )
    (outcome,) = json.loads(done.stdout)
    assert outcome["status"] == "kept"
    assert outcome["run"] == str(again[0].run_dir)


def test_quiet_is_quiet(filled, capfd):
    options = {"preset": "smoke", "floors": False, "device": "cpu", "quiet": True}
    bb.run(["floor_majority"], **common(filled), **options)
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""


def test_a_failed_run_is_raised_after_all_have_ended_or_returned(filled, tmp_path):
    where = {**common(filled), "workspace": tmp_path / "w", "quiet": True}
    options = {"preset": "smoke", "floors": False, "device": "cpu", "timeout": 0.001}
    with pytest.raises(RunError, match=r"^1 of 1 runs failed.*floor_majority seed 0: stopped aft"):
        bb.run("floor_majority", **where, **options)
    runs = bb.run("floor_majority", check=False, **where, **options)
    assert [outcome.status for outcome in runs.failed] == ["failed"]
    assert runs.load() == []
    assert len(runs.leaderboard().failures) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backends": ["floor_majorty"]}, "Did you mean 'floor_majority'"),
        ({"backends": []}, "at least one backend"),
        ({"suite": "bcss6"}, "Did you mean 'bcss5'"),
        ({"seeds": 0}, "seeds must be 1 to 1000"),
        ({"seeds": [0, -1]}, "seeds of 0 to"),
        ({"seeds": [1.5]}, r"seeds of 0 to .*; not \[1.5\]"),
        ({"seeds": ["0"]}, "seeds of 0 to"),
        ({"seeds": np.array(3.0)}, "seeds of 0 to"),
        ({"seeds": 1.5}, "seeds of 0 to"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds above 0"),
        ({"jobs": 0}, "jobs must be 1 to 1000"),
        ({"executor": "locl"}, "Did you mean 'local'"),
        ({"settings": {"train.lrr": 1}}, "train.lrr"),
        ({"name": "a b"}, "cannot be a run's name"),
        ({"data": "/nowhere"}, "/nowhere"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(filled, arguments, words):
    options = {"backends": ["unetpp"], "preset": "smoke", "quiet": True, **common(filled)}
    with pytest.raises(InputError, match=words):
        bb.run(**{**options, **arguments})


def test_a_misspelt_argument_is_a_type_error_with_the_near_miss(filled):
    with pytest.raises(TypeError, match=r"run\(\) got an unexpected .*'sed'. Did you mean 'seeds'"):
        bb.run(["unetpp"], sed=3)
    with pytest.raises(TypeError, match="Did you mean 'replace'"):
        bb.score("somewhere", replce=True)


def test_settings_are_values_of_their_type():
    import numpy as np

    from benchbcss.api.running import _yaml
    from benchbcss.overrides import parse

    for value in (1e-4, 3, True, None, "true", "null", [1, 2], {"a": 0.5}, np.int64(3), "x: y"):
        assert parse(f"k.v={_yaml(value)}").value == value
        assert type(parse(f"k.v={_yaml(value)}").value) is type(
            value.item() if hasattr(value, "item") else value
        )


def test_score_gives_the_run_and_keeps_its_rules(filled):
    again = bb.score(filled / "good", preset="smoke", quiet=True, **common(filled))
    assert again.backend == "good"
    with pytest.raises(InputError, match="Other predictions were scored as 'good' already"):
        bb.score(filled / "bad", name="good", preset="smoke", quiet=True, **common(filled))
    with pytest.raises(InputError, match="is a backend that runs here"):
        bb.score(filled / "bad", name="unetpp", quiet=True, **common(filled))
    with pytest.raises(InputError, match="cannot be a row's name"):
        bb.score(filled / "bad", name="a/b", quiet=True, **common(filled))


def test_the_environment_names_workspace_and_data(filled, monkeypatch):
    monkeypatch.setenv("BENCHBCSS_WORKSPACE", str(filled / "w"))
    monkeypatch.setenv("BENCHBCSS_DATA", str(filled / "d"))
    split = str(filled / "d" / "splits.csv")
    runs = bb.run("floor_majority", preset="smoke", floors=False, device="cpu", split=split)
    assert runs[0].status == "kept"
    assert bb.load_run("bad").path.is_relative_to(filled / "w")
    with pytest.raises(UnknownNameError):
        bb.load_run("bad", workspace=filled / "elsewhere")


@pytest.mark.parametrize(
    ("seeds", "meant"),
    [(2, [0, 1]), (np.int64(2), [0, 1]), (np.arange(1, 3), [1, 2]), ([3, np.uint8(3)], [3])],
)
def test_seeds_of_numpy_are_seeds(seeds, meant):
    """In a specification they are Python's: JSON knows no others."""
    taken = running._seeds(seeds)
    assert taken == meant
    assert {type(seed) for seed in taken} == {int}
