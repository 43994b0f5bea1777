"""What a file gets wrong is said in its writer's words, with the key that was probably meant."""

import pytest
from pydantic import ValidationError, field_validator

from benchbcss.mistakes import explain, keys_at
from benchbcss.recipes import Recipe, Strict
from benchbcss.suites import Suite


class Even(Strict):
    number: int

    @field_validator("number")
    @classmethod
    def _is_even(cls, value):
        if value % 2:
            raise ValueError(f"{value} is odd")
        return value


def said(model, content):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(content)
    return explain(caught.value, model)


SUITE = {"name": "own", "label_map": "bcss5"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"mpq": 0.5}, "mpq: there is no such key (did you mean mpp?)"),
        ({"tile": {"sise": 64}}, "tile.sise: there is no such key (did you mean size?)"),
        ({"tile": {"zzz": 1}}, "tile.zzz: there is no such key (known: accumulate, overlap, size)"),
        (
            {"criteria": [{"metric": "mean_dice", "at_leest": 0.5}]},
            "criteria.0.at_leest: there is no such key (did you mean at_least?)",
        ),
        ({"label_map": {"clases": {}}}, "label_map.clases: there is no such key (did you mean"),
        ({"(note)": 1}, "(note): there is no such key"),  # which is no tag of a union's branch
        ({"tile": {"(x)": 1}}, "tile.(x): there is no such key (known: accumulate, "),
        ({"zzz": 1}, "zzz: there is no such key"),  # and more keys than anybody reads
    ],
)
def test_an_unknown_key_of_a_suite_gets_the_one_that_was_meant(content, message):
    found = [part for part in said(Suite, SUITE | content).split("; ") if "no such key" in part]
    assert found[0].startswith(message)
    assert "known" in message or "known" not in found[0]


def test_an_unknown_key_of_a_recipe_too():
    content = {"name": "x", "train": {"lr": 1e-3, "batch_size": 2, "warmup": 3}}
    assert (
        said(Recipe, content) == "train.warmup: there is no such key (did you mean warmup_steps?)"
    )


def test_what_a_check_of_ours_raises_is_said_as_it_is():
    assert said(Even, {"number": 3}) == "number: 3 is odd"
    assert said(Even, {"number": 3, "namber": 1}).split("; ") == [
        "number: 3 is odd",
        "namber: there is no such key (did you mean number?)",
    ]


def test_without_a_model_there_is_no_guess():
    with pytest.raises(ValidationError) as caught:
        Even.model_validate({"number": 2, "namber": 1})
    assert explain(caught.value) == "namber: there is no such key"


def test_keys_are_those_of_every_branch():
    assert keys_at(Suite, ("tile",)) == ["accumulate", "overlap", "size"]
    assert "metric" in keys_at(Suite, ("criteria", 0))
    assert "classes" in keys_at(Suite, ("label_map",))
    assert keys_at(Suite, ("mpp",)) == []
