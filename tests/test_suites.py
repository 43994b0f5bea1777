import re

import pytest

from benchbcss import registry
from benchbcss.errors import SuiteError, UnknownNameError
from benchbcss.suites import find_suite, load_suite, mistakes

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


#: computed at commit 4fe665e: results already stored are found by them
FINGERPRINTS = {
    "amgad5/full": "93f5ea77966d2ccb07ffeaca3903db4706401c8e45634dc14f66b3859cb2dd7c",
    "amgad5/smoke": "bbf373cdb956570f2587c85162352f455101fa622d08fcfb6c62d0ffd5976ac5",
    "bcss5-squash1024/full": "bc6b086c1ea30007e0379c4d465453718dc91c163cdfff8f0ce7d7f468e35a10",
    "bcss5-squash1024/smoke": "bc6b086c1ea30007e0379c4d465453718dc91c163cdfff8f0ce7d7f468e35a10",
    "bcss5/full": "ad6abe6b207a1149e3318e9055c5293e501e0f1eed0877208a1b5dc042cdd704",
    "bcss5/smoke": "e9dd3ee423d295662028b6d16610c5ccf06277a93749b1023789d85a8da59952",
    "brief-repro/full": "6b71b0e98d45ee3a177b160ff1d349f140ca689b7a95d39e320e372cad8a6500",
    "brief-repro/smoke": "6b71b0e98d45ee3a177b160ff1d349f140ca689b7a95d39e320e372cad8a6500",
    "phantom/full": "87ff38c8ad4c4c7c2449a4e45a794eeb2b3032b8d761964018cdab9c69fa2df0",
    "phantom/smoke": "618e6b0cd9ccd93efdefd3e959d27a59ca446aea19b7b798b0a4c50866e8120a",
    "tumor-binary/full": "beccf6f67b09882b928da92bc21cea2a00dc16b8b7622c1e579ebc3486c7c9e3",
    "tumor-binary/smoke": "9fb78953b10eefb6ff0fea053f70bc47b8841b0d5a3a82cc5302f84dc6622055",
}


@pytest.mark.parametrize("key", sorted(FINGERPRINTS))
def test_the_fingerprints_of_shipped_suites_stay(key):
    name, preset = key.split("/")
    assert load_suite(SHIPPED[name].load(), preset)[0].fingerprint() == FINGERPRINTS[key]


def prompting(**settings):
    from benchbcss.suites import PromptingSet

    suite, _ = load_suite(SHIPPED["bcss5"].load())
    return suite.model_copy(update={"prompting": PromptingSet.model_validate(settings)})


def test_newer_prompting_settings_count_where_they_are_set():
    prints = [
        prompting(**settings).fingerprint()
        for settings in (
            {},
            {"postprocess": "largest"},
            {"postprocess": "close_fill"},
            {"views": "vote"},
            {"tissue_prompt": "one"},
            {"strategies": ["box", "box_neg_outer"]},
        )
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == FINGERPRINTS["bcss5/full"]
    defaults = {"postprocess": "none", "views": "mean_logits", "tissue_prompt": "per_class"}
    assert prompting(**defaults).fingerprint() == prints[0]


def test_only_largest_is_an_older_name_with_the_same_fingerprint():
    """Computed at commit f8cfb8b, where the setting was ``only_largest``."""
    known = "b889236c9a9a0285a9585a66bb448d4ca583951214684e89d108f1a8b7599cbb"
    for settings in ({"only_largest": True}, {"postprocess": "largest"}):
        suite = prompting(**settings)
        assert suite.prompting.postprocess == "largest"
        assert suite.fingerprint() == known
    assert prompting(only_largest=False).fingerprint() == FINGERPRINTS["bcss5/full"]
    with pytest.raises(ValueError, match="give postprocess alone"):
        prompting(only_largest=True, postprocess="close_fill")


def test_box_neg_outer_is_there_by_name_and_in_no_suite_that_does_not_ask():
    from benchbcss.suites import PromptingSet

    keys = [each.key for each in PromptingSet().all()]
    assert len(keys) == 24
    assert not [key for key in keys if "outer" in key]
    own = PromptingSet(strategies=("box_neg_outer",), headline="box_neg_outer-class")
    assert len(own.all()) == 6
    for name in SHIPPED:
        suite, _ = load_suite(SHIPPED[name].load())
        assert ("box_neg_outer" in suite.prompting.strategies) == (name == "brief-repro")


def test_brief_repro_is_the_authors_procedure():
    """RECIPES, "what is known from the same authors"."""
    suite, _ = load_suite(SHIPPED["brief-repro"].load())
    assert suite.label_map == "brief5"
    assert suite.protocol == "squash1024"
    assert suite.prompting.headline == "box_neg_outer-largest"
    assert suite.prompting.postprocess == "close_fill"
    assert suite.prompting.views == "vote"
    assert suite.prompting.tissue_prompt == "one"
    assert suite.labels().ignore == ()


def test_every_setting_is_either_a_number_or_known_to_be_none():
    from benchbcss.suites import NUMBERS, NUMBERS_IF_SET, Suite

    words = {"summary", "criteria", "floors", "default_preset", "flaws", "highlight", "file"}
    assert set(Suite.model_fields) == {*NUMBERS, *NUMBERS_IF_SET} | words


@pytest.mark.parametrize(
    "changed",
    [
        {"reader": "folders"},
        {"patient_pattern": "(P.)"},
        {"site_pattern": "(S.)"},
        {"colours": {"tumor": "#ff0000"}},
    ],
)
def test_newer_settings_count_where_they_are_set(changed):
    suite, _ = load_suite(SHIPPED["bcss5"].load())
    assert suite.model_copy(update=changed).fingerprint() != suite.fingerprint()


def test_a_suite_survives_json_with_its_colours(tmp_path):
    from benchbcss.suites import Suite

    path = tmp_path / "own.yaml"
    path.write_text(GOOD + "colours: {0: '#000000', tumour: '#FF0000', rest: '00ff00'}\n")
    suite, _ = load_suite(path)
    again = Suite.model_validate_json(suite.model_dump_json())
    assert again.fingerprint() == suite.fingerprint()
    expected = {(0, 0, 0): 0, (255, 0, 0): 1, (0, 255, 0): 2}
    assert suite.reading().colours == again.reading().colours == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("patient_pattern: '('", "16: patient_pattern: "),
        ("colours: {tumour: red}", "16: colours: "),
        ("colours: {tumour: '#000000', rest: '#000000'}", "16: colours: "),
        (
            "colours: {tumor: '#000000'}",
            "16: colours: Suite 'mine', colours: there is no code named",
        ),
        ("reader: foldrs", "16: reader: There is no reader 'foldrs'. Did you mean 'folders'?"),
        ("highlight: tumor", "16: highlight: there is no class 'tumor'. Known: tumour, rest"),
        ("files: {image: x}", "16: files.image: there is no such key (did you mean images?)"),
    ],
)
def test_mistakes_about_files_come_with_their_line(tmp_path, line, expected):
    (found,) = validated(tmp_path, GOOD + line + "\n")
    assert found.startswith(expected)
    with pytest.raises(SuiteError):
        load_suite(tmp_path / "mine.yaml")


def test_misspelt_suites_are_guessed():
    known = {name: entry.load() for name, entry in SHIPPED.items()}
    with pytest.raises(UnknownNameError, match="Did you mean 'bcss5'"):
        find_suite("bcs5", known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label_map: bcss5\nlable: 1\n", "lable: there is no such key (did you mean label_map?)"),
        ("label_map: bcss5\nmpp: -1\n", "mpp: Input should be greater than 0"),
        ("label_map: bcss5\nmpp: 250\n", "mpp: expected um per pixel, from 0.01 to 100: 250 nano"),
        ("label_map: bcss5\nmpp: 2.5e-4\n", "100: 0.00025 millimetres are 0.25"),
        (
            "label_map: bcss5\ncriteria: [{metric: dice.vessel, at_least: 0.4}]\n",
            "no metric 'dice.vessel'",
        ),
        (
            "label_map: bcss5\ncriteria: [{metric: mean_dice}]\n",
            "mean_dice is better higher: give its bound as at_least.",
        ),
        (
            "label_map: bcss5\ncriteria: [{metric: mean_dice, at_least: 0.5, at_most: 0.9}]\n",
            "mean_dice is better higher: give its bound as at_least.",
        ),
        (
            "label_map: bcss5\ncriteria: [{metric: stability, at_least: 1}]\n",
            "stability is judged without a bound: leave it out.",
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
    with pytest.raises(SuiteError, match=re.escape(message)):
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
        ("mpp: 0.5", "mpq: 0.5", "10: mpq: there is no such key (did you mean mpp?)"),
        ("size: 128", "size: 8", "15: tile.size: Input should be greater than or equal to 32"),
        (
            "dice.tumour",
            "dice.tumor",
            "12: criteria: There is no metric 'dice.tumor'. Did you mean 'dice.tumour'?",
        ),
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


def test_a_setting_that_is_written_twice_is_named_with_its_lines(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("label_map: bcss5\nmpp: 0.3\nsplit: brief\nmpp: 0.5\n")
    (mistake,) = mistakes(path)
    assert mistake.endswith(
        "own.yaml:4: not YAML: 'mpp' is written twice, in line 2 and line 4. Keep one"
    )
    with pytest.raises(SuiteError, match="'mpp' is written twice, in line 2 and line 4. Keep one"):
        load_suite(path)


OWN = """\
label_map:
  codes: {glass: 0, tumour: 1, rest: 2}
  classes: {tumour: [tumour], rest: [rest]}
  ignore: [glass]
split: splits.csv
"""


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        (
            "{glass: 0, tumour: 1, rest: 2}",
            "{0: glass, 1: tumour}",
            "2: label_map.codes: .*'glass: 0'",
        ),
        ("{glass: 0, tumour", "{no: 0, tumour", "2: label_map.codes: .*name False.*in quotes"),
        ("classes: {tumour", "classes: {1", "3: label_map.classes: .*name 1 .*in quotes"),
        (
            "tumour: [tumour]",
            "tumour: tumour",
            "3: label_map.classes.tumour: Input should be a val",
        ),
        ("ignore: [glass]", "mean: [rest, rest]\n  ignore: [glass]", "'rest' is in 'mean' twice"),
        ("rest: [rest]", "Tumour: [rest]", "'tumour' and 'Tumour' differ in capitals"),
        ("split:", "tile: {size: 128}\nsplit:", "5: tile: .*128 px cannot overlap by 256"),
        (
            "split:",
            "colours:\n  tumour: #ff0000\nsplit:",
            "5: colours: .*tumour has no colour.*quotes",
        ),
    ],
)
def test_mistakes_of_those_who_write_their_first_suite(tmp_path, old, new, mistake):
    """One mistake, in its line, that says what to write."""
    (tmp_path / "own.yaml").write_text(OWN)
    assert mistakes(tmp_path / "own.yaml") == []
    (tmp_path / "own.yaml").write_text(OWN.replace(old, new))
    (said,) = mistakes(tmp_path / "own.yaml")
    assert re.search(mistake, said), said
    with pytest.raises(SuiteError):
        load_suite(tmp_path / "own.yaml")
