import io
import json
import os
import re
import time

import pytest
from board_support import EXPORTERS, criteria, fail, headline, result, shown, write

from benchbcss.board import model
from benchbcss.board.cells import Grid
from benchbcss.board.exporters.layout import lay_out, wrap

#: a plugin's error, as torch words it
LONG = "RuntimeError: Error(s) in loading state_dict:\n" + "\n".join(
    f"\tMissing key encoder.layers.{i}.self_attention.in_proj_weight" for i in range(900)
)


@pytest.fixture
def columns(monkeypatch):
    return lambda width: monkeypatch.setenv("COLUMNS", str(width))


@pytest.fixture(autouse=True)
def eighty(columns):
    columns(80)


@pytest.fixture
def full(tmp_path):
    """A board of everything that can be on one."""
    recipe = {"train": {"lr": 5e-4}}
    write(tmp_path, result("transunet", 0.61, recipe=recipe), "seed0-111111111111")
    write(tmp_path, result("transunet", 0.52, recipe={"train": {"lr": 1e-4}}), "seed0-222222222222")
    write(tmp_path, result("a_backend_of_a_rather_long_name", 0.55, seed=11))
    write(tmp_path, result("floor_colour", 0.3, floor=True))
    write(tmp_path, result("sam2_v3", 0.7, track="prompted"))
    write(tmp_path, result("apart", 0.7, preset="smoke"))
    write(
        tmp_path, result("half", not_measured={"prompted": "CLIP weights " + "are not here " * 9})
    )
    fail(tmp_path, "broken", LONG, when=time.time())
    return model.load(tmp_path)


def rows(text):
    """{first word of the model's name: words} of the lines of standings."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 2 and (words[0] in ("floor", "-") or words[0].strip("-0123456789") == ""):
            found[words[1]] = words
    return found


#: lines that are copied, never wrapped
WHOLE = ("  log of the first: ", "  dismiss it: ")


@pytest.mark.parametrize("width", [60, 80, 100, 137, 200, 300])
@pytest.mark.parametrize("sections", [(), model.SECTIONS])
def test_no_line_is_wider_than_asked(full, columns, width, sections):
    columns(width)
    lines = shown(full, "table", *sections).splitlines()
    wide = [line for line in lines if len(line) > width and not line.startswith(WHOLE)]
    assert wide == []


def test_one_line_a_model_at_80_columns(full):
    text = shown(full)
    found = rows(text)
    assert re.search(r"^1 +transunet lr=5e-4 +0\.610 ", text, re.M)
    assert re.search(r"^3 +transunet lr=1e-4 +0\.520 ", text, re.M)
    assert found["floor_colour"][:3] == ["floor", "floor_colour", "0.300"]
    assert "a_backend_of_a_rather_long_name s11" in text
    assert len(text.splitlines()) < 45


def test_the_interval_and_the_number_of_rois_stand_beside_the_mean(full):
    assert rows(shown(full))["floor_colour"][2:] == ["0.300", "[0.20,", "0.40]", "45"]


def test_an_interval_holds_its_mean_as_shown(tmp_path):
    """0.098 beside [0.10, 0.11] would look wrong: two digits are too few there."""
    narrow = result("narrow", 0.098)
    narrow["tracks"]["semantic"]["headline"]["per_roi"]["mean_interval"] = [0.0975, 0.105]
    write(tmp_path, narrow)
    write(tmp_path, result("wide", 0.5))
    board = model.load(tmp_path)
    for name in ("table", "md", "latex"):
        assert "[0.098, 0.105]" in shown(board, name)
    assert rows(shown(board))["wide"][2:4] == ["0.500", "[0.40,"]


def test_wide_terminals_show_more_columns_and_whole_ones(full, columns):
    def header(width):
        columns(width)
        return next(line for line in shown(full).splitlines() if line.startswith("rank"))

    assert "lymphocyte" not in header(80)
    titles = ("tumor", "stroma", "lymphocyte", "necrosis", "blood_vessel", "tissue Dice", "view")
    assert all(title in header(250) for title in titles)
    for width in range(60, 250, 7):
        known = {"rank", "model", "mean", "Dice", "95", "%", "interval", *"1234", "ROIs", "region"}
        known |= {"acc.", "tissue", "(pooled)", *titles}
        assert set(header(width).split()) <= known


def test_names_are_cut_only_where_nothing_else_fits(full, columns):
    columns(60)
    text = shown(full)
    assert "a_backend_of_a_rather_long_name" not in text.split("criteria:")[0].split("rank ")[1]
    assert "…" in text


class Colourful(io.StringIO):
    def isatty(self):
        return True


class Ascii(io.StringIO):
    encoding = "ascii"


def test_marks_have_a_legend_and_fall_back_to_ascii(tmp_path):
    write(tmp_path, result("a", 0.9, suite={"name": "theirs", "fingerprint": "a" * 64}, half=0.04))
    board = model.load(tmp_path)
    text = shown(board)
    assert "criteria: 1 mean_dice >= 0.65" in text
    assert "✓ pass, ✗ fail, ? undecided, – not measured, · not applicable" in " ".join(text.split())
    assert "✓" in next(line for line in text.splitlines() if line.startswith("1 "))
    stream = Ascii()
    EXPORTERS["table"](board, stream)
    stream.getvalue().encode("ascii")
    assert "+ pass, x fail, ? undecided, - not measured, . not applicable" in " ".join(
        stream.getvalue().split()
    )


def test_a_failure_is_one_line_with_its_log_and_how_to_dismiss_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = fail(tmp_path, "broken", LONG, run="seed0-aaaa", when=20.0)
    for number in range(9):
        fail(tmp_path, "older", "out of memory", run=f"seed{number}-b", when=10.0 - number)
    text = shown(model.load(tmp_path))
    failures = text.split("failed, newest first:\n")[1].splitlines()
    assert failures[0].startswith("  broken seed0-aaaa: RuntimeError: Error(s) in loading state_d")
    assert failures[1] == "  older seed0-b: out of memory"
    assert failures[5] == "  and 5 more: --details"
    assert failures[6] == f"  log of the first: {run.relative_to(tmp_path) / 'log.txt'}"
    assert failures[7] == "  dismiss it: benchbcss runs rm seed0-aaaa --workspace ."
    monkeypatch.setenv("BENCHBCSS_WORKSPACE", str(tmp_path))  # then it is found without
    assert "  dismiss it: benchbcss runs rm seed0-aaaa\n" in shown(model.load(tmp_path))
    assert text.count("Missing key") == 1  # of 900
    details = shown(model.load(tmp_path), "table", "details")
    assert details.count("older seed") == 9
    assert len(details) < 3000


def test_running_and_interrupted_runs_are_listed(tmp_path):
    for name, age in (("busy", 0), ("gone", 9999)):
        run = tmp_path / "runs" / "bcss5" / name / "seed0-x"
        run.mkdir(parents=True)
        status = {"stage": "training", "step": 120, "time": time.time() - age, "pid": 1}
        (run / "status.json").write_text(json.dumps(status))
    text = shown(model.load(tmp_path))
    assert "running: busy seed0-x: training, step 120\n" in text
    assert "interrupted: gone seed0-x: training, step 120\n" in text
    assert "the same command continues what was interrupted" in text


def test_no_message_commands_the_terminal(tmp_path):
    write(tmp_path, result("a", not_measured={"prompted": "\x1b[31mred\x07"}))
    fail(tmp_path, "broken", "\x1b]0;title\x07 and \x1b[2J", when=1.0)
    assert "\x1b" not in shown(model.load(tmp_path), "table", *model.SECTIONS)


def test_what_a_run_cost_and_where_its_weights_came_from(tmp_path, columns):
    columns(170)
    write(
        tmp_path,
        result(
            "a",
            training={"budget": "suite", "steps": 300, "batch_size": 2},
            parameters={"total": 26_100_000, "trainable": 1_000},
            cost={"device": "H100", "precision": "bf16", "train_seconds": 61.4}
            | {"inference_seconds": {"semantic": 3.0, "prompted": 4.0}, "peak_gpu_bytes": 4e9},
        ),
    )
    board = model.load(tmp_path)
    assert "what it cost" not in shown(board)
    line = shown(board, "table", "costs").split("what it cost")[1]
    for text in ("random", "suite", "300 x 2", "26.1 M", "61", " 7 ", "H100 bf16", "4.0"):
        assert text in line


def test_weights_chosen_by_the_misleading_metric_are_named(tmp_path):
    chosen = {"monitor": "any_tissue_dice", "best_validation": 0.82, "best_mean_dice": 0.42}
    write(tmp_path, result("a", training=chosen))
    write(tmp_path, result("b", training={**chosen, "monitor": "perclass_dice"}))
    board = model.load(tmp_path)
    assert "weights chosen by any-tissue Dice, which misleads: a\n" in shown(board)
    details = " ".join(shown(board, "table", "details").split())
    words = "any-tissue Dice, 0.820 in validation; per class that was 0.420"
    assert f"a: its weights were chosen by {words}" in details
    assert details.count("its weights were chosen by") == 1


def prompted(backend, others):
    made = result(backend, 0.6, track="prompted")
    section = made["tracks"]["prompted"]
    section["prompting"] = {"key": "box-largest", "strategy": "box", "scope": "largest"}
    section["ceiling"] = {"mean": 0.75, "dice": {}}
    section["others"] = [
        {
            "prompting": {"key": key, "strategy": "box", "scope": "class"},
            "headline": {"per_roi": headline(mean), "pooled": None},
            "ceiling": None,
        }
        for key, mean in others.items()
    ]
    return made


def test_other_promptings_stand_in_a_table_of_their_own(tmp_path):
    write(tmp_path, prompted("a", {"box-class": 0.31, "centroid-class": 0.22}))
    write(tmp_path, prompted("b", {"box-class": 0.41}))
    board = model.load(tmp_path)
    plain, full = shown(board), shown(board, "table", "promptings")
    assert "--prompts" in " ".join(plain.splitlines()[-2:])
    assert "centroid-class" not in plain
    lines = {line.split()[0]: line.split() for line in full.splitlines() if line.strip()}
    assert lines["centroid-class"] == ["centroid-class", "0.220", "-", "-"]  # b: none; no ceiling
    assert lines["box-largest"][-1] == "0.750"
    for name in ("csv", "md", "html"):
        assert "centroid-class" in shown(board, name)


def test_tracks_that_were_not_measured_are_listed_with_the_reason(tmp_path):
    write(tmp_path, result("a", not_measured={"prompted": "no CLIP weights"}))
    assert "not measured: a (bcss5, prompted): no CLIP weights" in shown(model.load(tmp_path))


def test_seeds_that_lack_the_same_for_the_same_reason_share_a_line(tmp_path):
    for seed, why in enumerate(["no CLIP weights", "no CLIP weights", "another reason"]):
        write(tmp_path, result("a", seed=seed, not_measured={"prompted": why}), f"seed{seed}-x")
    board = model.load(tmp_path)
    for name in ("table", "md"):
        text = " ".join(shown(board, name).split())
        assert text.count("not measured: a") == 2
        assert "not measured: a (bcss5, prompted, 2 runs): no CLIP weights" in text
        assert "not measured: a (bcss5, prompted): another reason" in text


def test_an_oracle_is_called_one(tmp_path):
    write(tmp_path, result("a", track="prompted"))
    assert "this is an oracle" in " ".join(shown(model.load(tmp_path)).split())


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_only_for_a_terminal_that_wants_them(tmp_path, monkeypatch, variables, coloured):
    write(tmp_path, result("a"))
    board = model.load(tmp_path)
    for name, value in {"NO_COLOR": "", "TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    stream = Colourful()
    EXPORTERS["table"](board, stream)
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert "\x1b[" not in shown(board)


def test_an_empty_workspace_says_how_to_begin(tmp_path):
    assert shown(model.load(tmp_path)).startswith("No results yet. Run: benchbcss run BACKEND")


def test_a_grid_too_wide_is_laid_out_in_blocks():
    grid = Grid("", ["model", "first", "second", "third"], [["a", "1", "2", "3" * 12]])
    assert lay_out(grid, 80) == [
        "model  first  second         third",
        "a          1       2  333333333333",
    ]
    assert lay_out(grid, 22) == [
        *("model  first  second", "a          1       2", ""),
        *("model         third", "a      333333333333"),
    ]
    assert lay_out(grid, 5)[0] == "model  first"  # a column is never cut


def test_marks_stand_below_the_numbers_of_many_criteria(tmp_path):
    content = result("net", 0.7, suite={"name": "theirs", "fingerprint": "a" * 64})
    bounds = {f"dice.c{i}": 0.5 for i in range(12)}
    content["tracks"]["semantic"]["criteria"] = criteria(**bounds)
    write(tmp_path, content)
    head, row = re.search(r"^(rank .*)\n(.*)$", shown(model.load(tmp_path)), re.M).groups()
    places = [match.start() for match in re.finditer(r"\d+", head.replace("95 %", "xxxx"))]
    assert "".join(row[place] for place in places) == "·" * 12


def test_verdicts_are_painted_also_below_wide_names(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "xterm")
    write(tmp_path, result("模型上皮細胞", 0.7))
    stream = Colourful()
    EXPORTERS["table"](model.load(tmp_path), stream)
    line = next(line for line in stream.getvalue().splitlines() if line.startswith("1 "))
    assert line.count("\x1b[") == 2
    assert re.search("\x1b\\[3[12]m[✓✗]\x1b\\[0m", line)


def test_long_text_is_wrapped_between_words():
    grid = Grid("", ["model", "source"], [["a", "one of many words " * 4]], (0, 1))
    lines = lay_out(grid, 40)
    assert len(lines) == 4
    assert all(line.startswith("       ") for line in lines[2:])
    assert wrap("a" * 30 + " b", 10) == ["a" * 30, "b"]
    assert os.linesep not in "".join(lines)
