"""The command of a row makes the same run again: its fingerprint says so."""

import shlex

import click
import pytest
import report_support as support
from runs_support import specs

from benchbcss.board.model import Row
from benchbcss.cli.run import run as run_command
from benchbcss.report.commands import command
from benchbcss.results import store
from benchbcss.runs import planning


@pytest.fixture(scope="module")
def place(tmp_path_factory, phantom):
    return phantom, tmp_path_factory.mktemp("commands")


def row_of(workspace, spec):
    """A row whose run folder holds the specification."""
    run_dir = spec.run_dir(workspace)
    run_dir.mkdir(parents=True, exist_ok=True)
    store.save_spec(run_dir, spec)
    return Row(None, "semantic", run_dir)


def repeated(text, workspace):
    """The specification that the command line of ``text`` leads to."""
    words = shlex.split(text, comments=True)
    assert words[:2] == ["benchbcss", "run"]
    context: click.Context = run_command.make_context("run", words[2:])
    given = context.params
    definition, used = planning.choose_suite(given["suite"], given["folder"], given["preset"])
    ready = planning.prepare(
        definition,
        used,
        folder=given["folder"],
        split=given["split"],
        workspace=workspace,
        say=lambda text: None,
    )
    asked = planning.Asked(
        [given["seed"]],
        given["weights"],
        given["overrides"],
        given["device"],
        processes=given["processes"],
        name=given["name"],
    )
    (spec,) = planning.specify(ready, given["backends"], asked, workspace)
    return spec


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("floor_majority", {}),
        ("unetpp", {}),
        ("unetpp", {"seed": 3, "name": "slow.1", "weights": "none"}),
        ("unetpp", {"overrides": ["train.lr=1e-4", "train.augment.flips=false"]}),
        ("unetpp", {"overrides": ["train.augment.stain={alpha: 0.5, beta: 0.25}"]}),
        ("transunet", {"overrides": ["train.epochs=3", "train.budget=recipe"]}),
    ],
)
def test_the_command_makes_the_same_run(place, backend, options):
    folder, workspace = place
    (spec,) = specs(folder, workspace, [backend], **options)
    text = command(row_of(workspace, spec))
    again = repeated(text, workspace)
    assert again.fingerprint() == spec.fingerprint(), text
    assert again.run_id() == spec.run_id()
    assert "#" not in text


def test_what_is_usual_is_not_said(place):
    folder, workspace = place
    (spec,) = specs(folder, workspace, ["unetpp"])
    assert "--set" not in command(row_of(workspace, spec))
    assert "--weights" not in command(row_of(workspace, spec))


def test_a_backend_that_is_gone_is_said(place):
    folder, workspace = place
    (spec,) = specs(folder, workspace, ["unetpp"])
    gone = spec.model_copy(update={"backend": "vanished"})
    text = command(row_of(workspace, gone))
    assert text.startswith("benchbcss run vanished")
    assert "# its backend is not installed here" in text


def test_scored_and_evaluated_rows(place):
    folder, workspace = place
    (spec,) = specs(folder, workspace, ["unetpp"])
    scored = spec.model_copy(update={"predictions_sha256": "a" * 64, "backend": "mine"})
    assert command(row_of(workspace, scored)).startswith("benchbcss score PREDICTIONS --name mine")
    evaluated = spec.model_copy(update={"evaluate": "val"})
    assert "benchbcss evaluate unetpp --subset val" in command(row_of(workspace, evaluated))


def test_a_folder_with_spaces_is_quoted(place):
    folder, workspace = place
    (spec,) = specs(folder, workspace, ["unetpp"])
    phantomless = spec.suite.model_copy(update={"phantom": None})
    odd = spec.model_copy(update={"data_root": "/a b/$(x)", "suite": phantomless})
    words = shlex.split(command(row_of(workspace, odd)))
    assert words[words.index("--data") + 1] == "/a b/$(x)"


def test_a_specification_that_is_gone(tmp_path):
    assert command(Row(None, "semantic", tmp_path)).startswith("not known: ")


def test_the_page_shows_them(workspace, html):
    from markupsafe import escape

    for row in support.table(workspace).rows:
        assert str(escape(command(row))) in html
