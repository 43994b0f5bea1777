import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tests_support import cli, write_folder

from benchbcss.errors import InputError, UnknownNameError
from benchbcss.runs.stored import find_finished
from benchbcss.tracks.gallery import GAP, MISSED

CODES = np.array([1, 2, 3, 4, 18, 9], np.uint8)
NAMES = ["TCGA-EW-P009-DX1", "TCGA-GM-P010-DX1", "TCGA-S3-P011-DX1"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Two floors on five ROIs: one of either track."""
    folder = tmp_path_factory.mktemp("shown")
    rng = np.random.default_rng(0)
    masks = {
        f"{name}.png": CODES[rng.integers(0, 6, (5, 7))].repeat(8, 0).repeat(8, 1)
        for name in ("TCGA-A1-P000-DX1", "TCGA-A2-P001-DX1", *NAMES)
    }
    split = dict(zip(masks, ("train", "val", "test", "test", "test"), strict=True))
    data = write_folder(folder / "d", masks, split=split)
    cli(
        *("run", "floor_majority", "floor_box_fill", "--no-floors", "--suite", "bcss5"),
        *("--preset", "smoke", "--data", data, "--split", data / "splits.csv"),
        *("--workspace", folder / "w"),
        check=0,
    )
    return folder / "w"


def show(workspace, *arguments, check=0):
    return cli("show-roi", *arguments, "--workspace", workspace, check=check)


def test_a_semantic_run(workspace, tmp_path):
    done = show(workspace, "floor_majority", NAMES[0], "--output", tmp_path / "a.png")
    assert f"wrote {tmp_path / 'a.png'}" in done.stderr
    page = np.asarray(Image.open(tmp_path / "a.png"))
    # 56 px of the ROI are enlarged by the whole number below 768 / 56
    assert page.shape[1] == GAP + 4 * (56 * 13 + GAP)
    wrong = (page == MISSED).all(-1).sum() / 13**2
    (run,) = workspace.glob("runs/bcss5/floor_majority/[!.]*")
    predicted = np.asarray(Image.open(run / "predictions" / "semantic" / f"{NAMES[0]}.png"))
    mask = np.asarray(Image.open(workspace.parent / "d" / "masks" / f"{NAMES[0]}.png"))
    truth = np.searchsorted(CODES, mask, sorter=np.argsort(CODES))
    truth = np.argsort(CODES)[truth]
    missed = int((predicted != truth).sum())
    assert 0 < missed < mask.size
    assert abs(wrong - missed) < 4  # the legend has a patch of the same colour


def test_a_prompted_run_by_the_headline_and_by_another_prompting(workspace, tmp_path):
    pages = []
    for name, more in (("a", ()), ("b", ("--prompting", "box-largest"))):
        show(workspace, "floor_box_fill", "P010", "--output", tmp_path / f"{name}.png", *more)
        pages.append(np.asarray(Image.open(tmp_path / f"{name}.png")))
    assert pages[0].shape == pages[1].shape
    assert not np.array_equal(*pages)
    done = show(workspace, "floor_box_fill", "P010", "--prompting", "box-larges", check=2)
    assert "Did you mean 'box-largest'?" in done.stderr


def test_the_default_name_and_size(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    show(workspace, "floor_majority", "worst", "--size", 112)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("floor_majority-TCGA-")
    assert Image.open(path).height < 300


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("floor_majorty", "worst"), "Did you mean 'floor_majority'?"),
        (("floor_majority", "EW-P09"), f"Did you mean '{NAMES[0]}.png'? The run scored 3 ROIs."),
        (("floor_majority", "TCGA"), "is in the names of 3 ROIs"),
        (("floor_majority", "worst", "--prompting", "box-class"), "has no prompted track"),
        (("floor_majority", "worst", "--track", "prompted"), "has no track 'prompted'"),
        (("floor_majority", "TCGA-A1-P000-DX1"), "There is no scored ROI"),  # a training ROI
    ],
)
def test_what_cannot_be_shown_is_said(workspace, arguments, words):
    done = show(workspace, *arguments, check=2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_another_mask_than_the_one_scored_is_refused(workspace, tmp_path):
    shutil.copytree(workspace, tmp_path / "w")
    (path,) = (tmp_path / "w").glob("runs/bcss5/floor_majority/*/result.json")
    content = json.loads(path.read_text())
    content["data"]["masks"][f"{NAMES[1]}.png"] = "0" * 64
    path.write_text(json.dumps(content))
    done = show(tmp_path / "w", "floor_majority", NAMES[1], check=2)
    assert f"The mask of {NAMES[1]}.png is not the one this run was scored against" in done.stderr


def test_a_lost_prediction_is_named(workspace, tmp_path):
    shutil.copytree(workspace, tmp_path / "w")
    (run,) = (tmp_path / "w").glob("runs/bcss5/floor_majority/[!.]*")
    (run / "predictions" / "semantic" / f"{NAMES[1]}.png").unlink()
    assert "is missing" in show(tmp_path / "w", run, NAMES[1], check=2).stderr


def test_runs_are_found_in_every_way_that_is_natural(tmp_path):
    def finished(*parts):
        run = tmp_path.joinpath("runs", *parts)
        run.mkdir(parents=True)
        (run / "result.json").write_text("{}")
        return run

    first = finished("bcss5", "unetpp", "seed0-aaaa")
    second = finished("bcss5", "unetpp", "wide-seed0-bbbb")
    third = finished("bcss5", "transunet", "seed0-cccc")
    finished("bcss5", "transunet", ".seed0-cccc.old1")
    for text, run in (
        ("transunet", third),
        ("seed0-aaaa", first),
        ("wide", second),
        ("unetpp/seed0-aaaa", first),
        ("bcss5/unetpp/seed0-aaaa", first),
        (str(first), first),
    ):
        assert find_finished(text, tmp_path) == run
    with pytest.raises(InputError, match="means 2 runs.*bcss5/unetpp/seed0-aaaa, bcss5/unetpp/wid"):
        find_finished("unetpp", tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'transunet'"):
        find_finished("transunt", tmp_path)
