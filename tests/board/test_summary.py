import pytest
from board_support import criteria, result, write

from benchbcss.board import model, summary


@pytest.fixture
def table(tmp_path):
    """A table of rows: (backend, mean) or (backend, mean, what its record holds besides)."""

    def make(*rows, **over):
        for backend, mean, *more in rows:
            content = result(backend, mean, **(more[0] if more else {}), **over)
            write(tmp_path, content)
        return model.load(tmp_path).tables[0]

    return make


def by_roi(values):
    """What three ROIs, equally weighted, add to the mean of ``values``."""
    mean = sum(values) / len(values)
    return {
        "roi": [f"r{i}" for i in range(len(values))],
        "contribution": [value / len(values) for value in values],
        "influence": [(value - mean) / (len(values) - 1) for value in values],
        "share": [1 / len(values)] * len(values),
    }


def with_rois(backend, values, **over):
    content = result(backend, sum(values) / len(values), **over)
    content["tracks"]["semantic"]["by_roi"] = by_roi(values)
    return content


def board(tmp_path, *contents):
    for content in contents:
        write(tmp_path, content)
    return model.load(tmp_path).tables[0]


WAVE = [0.01 * (i % 5) for i in range(20)]


def test_a_certain_lead(tmp_path):
    found = board(
        tmp_path,
        with_rois("good", [0.7 + w for w in WAVE]),
        with_rois("bad", [0.5 - w for w in WAVE]),
    )
    text = summary.sentence(found)
    assert "good is best of 2 models on 45 test ROIs: mean Dice 0.720 [0.62, 0.82]" in text
    assert "0.240 above bad, and the difference is significant" in text


def test_a_shared_rank(tmp_path):
    found = board(
        tmp_path,
        with_rois("one", [0.7 + w for w in WAVE]),
        with_rois("two", [0.6995 + w for w in reversed(WAVE)]),
        with_rois("bad", [0.3 - 3 * w for w in WAVE]),
    )
    assert [row.rank_text for row in found.rows] == ["1-2", "1-2", "3"]
    text = summary.sentence(found)
    assert text.startswith("one and two share rank 1 of 3 models on 45 test ROIs: one leads with")
    assert "but the difference is not significant" in text


def test_the_gap_of_a_shared_rank_is_to_a_model_that_shares_it(tmp_path):
    """The second by score is significantly worse; the third, which varies more, is not."""
    found = board(
        tmp_path,
        with_rois("one", [0.7 + w for w in WAVE]),
        with_rois("two", [0.6 + w for w in reversed(WAVE)]),
        with_rois("wild", [0.2 if i % 2 else 0.9 for i in range(20)]),
    )
    assert [row.backend for row in found.rows] == ["one", "two", "wild"]
    assert [row.tied[0] for row in found.rows] == [1, 2, 1]
    text = summary.sentence(found)
    assert text.startswith("one and wild share rank 1 of 3 models")
    assert "0.170 above wild, but the difference is not significant" in text


def test_models_of_the_same_mean_are_level(tmp_path):
    """The ablations of one recipe may score the same to the last digit: none leads."""
    values = [0.7 + w for w in WAVE]
    found = board(tmp_path, with_rois("one", values), with_rois("two", values))
    said = "one and two share rank 1 of 2 models on 45 test ROIs: they have the same mean Dice"
    assert summary.sentence(found).startswith(f"{said} 0.720;")


def test_level_models_share_rank_1_with_one_below(tmp_path):
    values = [0.7 + w for w in WAVE]
    below = [0.6995 + w for w in reversed(WAVE)]
    found = board(
        tmp_path, *(with_rois(n, v) for n, v in (("a", values), ("b", values), ("c", below)))
    )
    text = summary.sentence(found)
    assert text.startswith("a, b and c share rank 1 of 3 models on 45 test ROIs: a and b have the")
    assert "0.720, and the difference to the others is not significant;" in text


def test_level_models_that_were_not_tested(table):
    text = summary.sentence(table(("a", 0.6), ("b", 0.6)))
    assert text.startswith("a and b lead 2 models on 45 test ROIs: the same mean Dice 0.600; not")


def test_best_of_all_is_only_who_is_told_from_all(tmp_path):
    """With sign flips, A may be told from B and B from C, but A not from C."""
    waves = (WAVE, WAVE[::-1], WAVE[3:] + WAVE[:3])
    values = [[0.7 - i / 10 + w for w in wave] for i, wave in enumerate(waves)]
    found = board(tmp_path, *(with_rois("abc"[i], part) for i, part in enumerate(values)))
    assert "a is best of 3 models" in summary.sentence(found)
    for row, tied in zip(found.rows, [(1, 2), (2, 2), (2, 3)], strict=True):
        row.tied = tied
    text = summary.sentence(found)
    assert "best" not in text
    assert "that difference is significant, but 1 further down cannot be told from it" in text


def test_what_cannot_be_tested_is_not_called_insignificant(tmp_path):
    """A class in a single ROI: without that ROI, there is no mean to compare."""
    contents = [
        with_rois("one", [0.8 + w for w in WAVE]),
        with_rois("two", [0.2 - w for w in WAVE]),
    ]
    for content in contents:
        track = content["tracks"]["semantic"]
        track["by_roi"]["influence"][0] = None
        track["rois_with_class"]["necrosis"] = 1
    text = summary.sentence(board(tmp_path, *contents))
    assert "but the difference cannot be tested: only one ROI has necrosis" in text


def test_no_mean_is_no_lead(tmp_path):
    found = board(tmp_path, *(with_rois(name, [0.5] * 20) for name in "ab"))
    for row in found.rows:
        part = row.scores.headline.per_roi.model_copy(update={"mean": None, "mean_reason": "why"})
        headline = row.scores.headline.model_copy(update={"per_roi": part})
        row.scores = row.scores.model_copy(update={"headline": headline})
    text = summary.sentence(found)
    assert text.startswith("None of 2 models on 45 test ROIs has a mean Dice: why")


def test_older_records_say_that_certainty_is_not_known(table):
    text = summary.sentence(table(("a", 0.6), ("b", 0.5)))
    assert "a leads 2 models on 45 test ROIs: mean Dice 0.600 [0.50, 0.70], 0.100 above b" in text
    assert "not known whether that is certain (records of an older edition" in text


def test_too_many_results_say_so(table):
    text = summary.sentence(table(*((f"b{i}", 0.3 + i / 1000) for i in range(41))))
    assert "of more than 40 results none are tested: benchbcss compare" in text


def test_one_model_and_none(table):
    assert summary.sentence(table(("a", 0.6))).startswith("a is the only ranked model: mean Dice")


def test_only_floors(table):
    assert summary.sentence(table(("f", 0.3, {"floor": True}))) == "No model yet, only baselines."


def test_models_that_stand_apart_are_not_passed_over(tmp_path):
    floors = [result(name, 0.2, floor=True) for name in ("majority", "colour")]
    found = board(tmp_path, *floors, result("net", 0.7, preset="smoke"))
    said = "Only baselines can be compared here: every model stands apart."
    assert summary.sentence(found) == said


OURS = {"name": "theirs", "fingerprint": "a" * 64}


def judged(backend, mean, half, bounds):
    content = result(backend, mean, half=half, suite=OURS)
    content["tracks"]["semantic"]["criteria"] = criteria(**bounds)
    return content


def test_criteria_are_answered(tmp_path):
    bounds = {"mean_dice": 0.65, "dice.tumor": 0.45}
    found = board(tmp_path, judged("a", 0.8, 0.05, bounds), judged("b", 0.6, 0.1, bounds))
    assert summary.sentence(found).endswith("; a meets both criteria.")


def test_who_was_not_trained_meets_what_applies(tmp_path):
    """It is not said to meet all where training cannot have been stable."""
    stable = {"metric": "stability", "label": "stable training", "status": "pass", "reason": "r"}
    contents = [judged(name, 0.8, 0.05, {"mean_dice": 0.65}) for name in ("net", "own")]
    for content in contents:
        content["tracks"]["semantic"]["criteria"].append(stable)
    contents[0]["stability"] = {"status": "stable", "reason": "r"}
    contents[1]["evaluated"] = True
    assert summary.sentence(board(tmp_path, *contents)).endswith(
        "; net meets both criteria; own (evaluated) meets every criterion that applies."
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [("no learning", "training shows no learning: a"), ("collapsed", "training collapsed: a")],
)
def test_training_that_went_wrong_is_a_sentence(tmp_path, status, said):
    content = judged("a", 0.8, 0.05, {"mean_dice": 0.65})
    content["tracks"]["semantic"]["criteria"].append(
        {"metric": "stability", "label": "stable training", "status": "fail", "reason": "r"}
    )
    content["stability"] = {"status": status, "reason": "r"}
    assert said in summary.warnings(board(tmp_path, content))


def test_nobody_meets_them(tmp_path):
    bounds = {"mean_dice": 0.65, "dice.tumor": 0.95}
    found = board(tmp_path, judged("a", 0.7, 0.1, bounds))
    assert summary.sentence(found).endswith(
        "; no model meets both criteria (a: 1 failed, 1 undecided)."
    )


def test_names_are_few():
    class Named:
        def __init__(self, name):
            self.name = name

    rows = [Named(letter) for letter in "abcdefg"]
    assert summary.names(rows[:1]) == "a"
    assert summary.names(rows[:4]) == "a, b, c and d"
    assert summary.names(rows) == "a, b, c and 4 more"
    assert summary.names(rows, every=True) == "a, b, c, d, e, f and g"


def test_what_all_rows_share(table):
    split = {"fingerprint": "c" * 64, "name": "brief", "scored": "val"}
    data = {"fingerprint": "d" * 64, "phantom": True}
    text = summary.about(table(("a", 0.5), split=split, data=data))
    for words in ("preset full", "split brief", "45 validation ROIs", "synthetic images"):
        assert words in text


def test_warnings_are_a_line_for_each_kind(table):
    chosen = {"monitor": "any_tissue_dice"}
    stability = {"status": "collapsed", "reason": "fell"}
    found = table(
        *((f"m{i}", 0.2, {"training": chosen, "stability": stability}) for i in range(6)),
        ("f", 0.3, {"floor": True}),
        ("other", 0.2, {"preset": "smoke"}),
    )
    texts = summary.warnings(found)
    assert "not above the floor f (0.300): m0, m1, m2 and 3 more" in texts
    assert "weights chosen by any-tissue Dice, which misleads: m0, m1, m2 and 3 more" in texts
    assert "1 not comparable, by preset: other" in texts
    assert any("m0, m1, m2, m3, m4 and m5" in text for text in summary.warnings(found, every=True))


def test_no_gap_is_said_to_be_nothing(tmp_path):
    write(tmp_path, result("a", 0.5002))
    write(tmp_path, result("b", 0.5))
    assert "less than 0.001 above b" in summary.sentence(model.load(tmp_path).tables[0])


def test_rows_whose_pretraining_saw_tcga_are_named(table):
    def weights(overlap):
        return {"weights": {"provenance": "pretrained: a/b", "tcga_overlap": overlap}}

    found = table(("seen", 0.6, weights("yes")), ("clean", 0.5, weights("no")), ("silent", 0.4))
    lines = [line for line in summary.warnings(found) if "TCGA" in line]
    assert lines == ["pretrained on TCGA slides, from which BCSS was taken: seen"]


def test_an_undecided_mean_on_few_rois_says_why(table):
    """Of an interval far below the bound nothing else would explain it."""
    assert "too few" not in "\n".join(summary.warnings(table(("c", 0.2), ("d", 0.1))))
    few = {"rois": 9}
    text = "\n".join(summary.warnings(table(("a", 0.2, few), ("b", 0.1, few))))
    assert "too few ROIs to decide: a verdict needs effectively 10, the mean rests on 9.0" in text


def test_so_few_rois_that_no_difference_can_be_significant(tmp_path):
    """Ten ROIs give p >= 2 / 1024; times 28 pairs that is above 0.05, times 15 it is not."""
    for models, said in ((8, True), (6, False)):
        contents = [
            with_rois(f"m{place}", [0.1 * place + w for w in WAVE[:10]], rois=10)
            for place in range(models)
        ]
        found = board(tmp_path / str(models), *contents)
        lines = [line for line in summary.warnings(found) if "cannot tell" in line]
        assert bool(lines) is said
        assert found.rows[0].tied == ((1, models) if said else (1, 1))
        if said:
            assert "10 ROIs cannot tell 8 models apart" in lines[0]
            assert "adjusted for 28 pairs, no p-value is below 0.055" in lines[0]
