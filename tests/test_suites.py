import pytest

from benchbcss import registry
from benchbcss.errors import SuiteError, UnknownNameError
from benchbcss.suites import find_suite, load_suite

SHIPPED = registry.load().suites


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.parametrize("preset", ["full", "smoke"])
def test_every_shipped_suite_is_valid(name, preset):
    suite, used = load_suite(SHIPPED[name].load(), preset)
    assert (suite.name, used) == (name, preset)


def test_the_briefs_criteria():
    suite, _ = load_suite(SHIPPED["bcss5"].load())
    found = {criterion.metric: criterion.at_least for criterion in suite.criteria}
    assert found == {
        "mean_dice": 0.65,
        "dice.blood_vessel": 0.45,
        "clip_accuracy": 0.60,
        "stability": None,
    }
    assert suite.mpp == 0.30


def test_the_fingerprint_follows_numbers_not_words():
    suite, _ = load_suite(SHIPPED["bcss5"].load())
    reworded = suite.model_copy(update={"summary": "other words", "criteria": ()})
    assert reworded.fingerprint() == suite.fingerprint()
    assert suite.model_copy(update={"mpp": 0.25}).fingerprint() != suite.fingerprint()


def test_a_highlight_changes_no_number_and_results_stay_comparable():
    suite, _ = load_suite(SHIPPED["bcss5"].load())
    assert suite.highlight == "blood_vessel"
    assert suite.model_copy(update={"highlight": None}).fingerprint() == suite.fingerprint()
    # As the first edition recorded it, before suites had a highlight.
    known = "ad6abe6b207a1149e3318e9055c5293e501e0f1eed0877208a1b5dc042cdd704"
    assert suite.fingerprint() == known


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_official_suites_light_up_vessels_where_they_are_a_class(name):
    suite, _ = load_suite(SHIPPED[name].load())
    vessels = "blood_vessel" in suite.labels().class_names
    assert suite.highlight == ("blood_vessel" if vessels else None)


def test_misspelt_suites_are_guessed():
    known = {name: entry.load() for name, entry in SHIPPED.items()}
    with pytest.raises(UnknownNameError, match="Did you mean 'bcss5'"):
        find_suite("bcs5", known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label_map: bcss5\nlable: 1\n", "lable: Extra inputs"),
        ("label_map: bcss5\nmpp: -1\n", "mpp: Input should be greater than 0"),
        (
            "label_map: bcss5\ncriteria: [{metric: dice.vessel, at_least: 0.4}]\n",
            "no metric 'dice.vessel'",
        ),
        ("label_map: bcss5\nhighlight: vessel\n", "highlight: there is no class 'vessel'"),
        ("- 1\n", "not a mapping"),
        ("a: [\n", "cannot be read"),
        ("{}\n", "label_map: Field required"),
    ],
)
def test_mistakes_are_explained(tmp_path, text, message):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=message.replace("[", r"\[").replace(".", r"\.")):
        load_suite(path)


def test_a_suite_of_ones_own_names_classes_and_codes(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "label_map:\n  codes: {bg: 0, a: 1, b: 2}\n"
        "  classes: {first: [a], second: [b]}\n  ignore: [bg]\n"
    )
    labels = load_suite(path)[0].labels()
    assert labels.class_names == ("first", "second")
    assert labels.lookup[:3].tolist() == [255, 0, 1]


GOOD = """\
summary: My own data
label_map:
  codes: {glass: 0, tumour: 1, rest: 2}
  classes:
    tumour: [tumour]
    rest: [rest]
  ignore: [glass]
  mean: [tumour]
split: mine.csv
mpp: 0.5
criteria:
  - {metric: dice.tumour, at_least: 0.8}
presets:
  smoke:
    tile: {size: 128, overlap: 32}
"""


def validated(tmp_path, text):
    from benchbcss.suites import mistakes

    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return [line.removeprefix(f"{path}:") for line in mistakes(path)]


def test_a_suite_of_ones_own_is_valid(tmp_path):
    assert validated(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("mpp: 0.5", "mpp: -1", "10: mpp: Input should be greater than 0"),
        ("mpp: 0.5", "mpq: 0.5", "10: mpq: Extra inputs are not permitted"),
        ("size: 128", "size: 8", "15: tile.size: Input should be greater than or equal to 32"),
        ("dice.tumour", "dice.tumor", "12: criteria: there is no metric 'dice.tumor'"),
        ("smoke:", "smok:", "14: presets: there is no 'smok'. Known: full, smoke"),
        ("tumour: [tumour]", "tumour: [tumor]", "2: label_map: "),
        ("mpp: 0.5", "highlight: glass", "10: highlight: there is no class 'glass'. Known: "),
        ("mpp: 0.5", "mpp: [", "12: not YAML: "),
    ],
)
def test_every_mistake_comes_with_its_line(tmp_path, old, new, expected):
    (found,) = validated(tmp_path, GOOD.replace(old, new))
    assert found.startswith(expected)


def test_all_mistakes_come_at_once(tmp_path):
    found = validated(tmp_path, GOOD.replace("mpp: 0.5", "mpp: -1\nspeed: 3"))
    assert [line.split(":")[0] for line in found] == ["10", "11"]


def test_every_shipped_suite_has_no_mistake():
    from benchbcss import registry
    from benchbcss.suites import mistakes

    for entry in registry.load().suites.values():
        assert mistakes(entry.load()) == []
