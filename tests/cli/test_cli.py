"""Commands as a user types them, in processes of their own."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests_support import cli


def refused(done, *words):
    """Exit 2, one sentence on stderr, no traceback, clean stdout."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0]


def run(folder, tmp_path, *more, backend="floor_majority", suite="bcss5"):
    return cli(
        "run",
        backend,
        "--data",
        folder,
        "--suite",
        suite,
        "--preset",
        "smoke",
        "--split",
        folder / "splits.csv",
        "--workspace",
        tmp_path / "w",
        "--no-floors",
        *more,
    )


def test_help_names_every_command_and_is_quick():
    done = cli("--help", check=0)
    for name in ("run", "leaderboard", "rescore", "backends", "suites", "plugins", "show", "data"):
        assert name in done.stdout

    def seconds(*command):
        """Of processor time, which other work on the machine does not lengthen."""
        times = []
        for _ in range(5):
            begun = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True)
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime)
        return min(times)

    bare = seconds(sys.executable, "-c", "pass")
    assert seconds(sys.executable, "-m", "benchbcss", "--help") < bare + 0.2  # 0.13 when alone


@pytest.mark.parametrize(
    "command", [["--help"], ["leaderboard"], ["backends"], ["suites"], ["status"]]
)
def test_nothing_heavy_is_imported(command, tmp_path):
    code = (
        "import sys; from benchbcss.cli.main import cli; "
        f"cli.main({command!r}, standalone_mode=False); "
        "heavy = {'torch', 'pandas', 'timm', 'sklearn', 'scipy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "BENCHBCSS_WORKSPACE": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_run_a_board_and_a_rescore(folder, tmp_path):
    done = run(folder, tmp_path, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["status"] == "done"
    board = json.loads(
        cli("leaderboard", "--workspace", tmp_path / "w", "--format", "json", check=0).stdout
    )
    row = board["tables"][0]["rows"][0]
    assert (row["backend"], row["floor"], row["rank"]) == ("floor_majority", True, None)
    done = cli("rescore", "--workspace", tmp_path / "w", check=0)
    assert "rescored" in done.stderr
    again = json.loads(
        cli("leaderboard", "--workspace", tmp_path / "w", "--format", "json", check=0).stdout
    )
    assert again["tables"] == board["tables"]


def test_a_suite_file_is_validated(tmp_path):
    from benchbcss import registry

    path = registry.load().suites["bcss5"].load()
    assert "is a valid suite" in cli("suites", "--validate", path, check=0).stdout
    (tmp_path / "mine.yaml").write_text("label_map: bcss5\nmpp: -1\n")
    assert "mine.yaml:2: mpp" in cli("suites", "--validate", tmp_path / "mine.yaml", check=2).stderr
    assert "cannot be read" in cli("suites", "--validate", tmp_path / "none", check=2).stderr


def test_a_backend_without_a_result_is_named(folder, tmp_path):
    run(folder, tmp_path)
    done = cli("leaderboard", "floor_majorty", "--workspace", tmp_path / "w", check=2)
    assert "Did you mean 'floor_majority'" in done.stderr


def test_details_say_it_in_words(folder, tmp_path):
    run(folder, tmp_path)
    done = cli(
        *("leaderboard", "floor_majority", "--details", "--workspace", tmp_path / "w"), check=0
    )
    for words in (
        "floor_majority, bcss5 / semantic",
        "was called",
        "class in neither counts as nothing",
        "worst ROIs:",
        "institutes, mean Dice (ROIs)",
        "painting tissue everywhere",
    ):
        assert words in done.stdout


def test_only_named_backends_are_listed(folder, tmp_path):
    run(folder, tmp_path)
    shown = ("leaderboard", "--workspace", tmp_path / "w", "--format", "csv")
    run(folder, tmp_path, "floor_colour")
    assert "floor_colour" in cli(*shown, check=0).stdout
    assert "floor_colour" not in cli(*shown, "floor_majority", check=0).stdout


def test_a_board_is_written_by_the_ending_of_its_file(folder, tmp_path):
    run(folder, tmp_path)
    for name, begins in (
        ("board.html", "<!DOCTYPE html>"),
        ("board.tex", "% needs \\usepackage{booktabs"),
        ("board.csv", "suite,track,rank"),
        ("board.txt", "bcss5 / semantic"),
    ):
        cli("leaderboard", "--workspace", tmp_path / "w", "--output", tmp_path / name, check=0)
        assert (tmp_path / name).read_text().startswith(begins)


def test_reported_numbers_are_asked_for(tmp_path):
    common = ("leaderboard", "--workspace", tmp_path / "w")
    assert "FCN8-VGG16" not in cli(*common, check=0).stdout
    assert "FCN8-VGG16" in cli(*common, "--reported", check=0).stdout
    assert "FCN8-VGG16" in cli(*common, "--format", "md", check=0).stdout
    assert "FCN8-VGG16" not in cli(*common, "--format", "md", "--no-reported", check=0).stdout


def test_a_named_run_is_never_taken_for_another(folder, tmp_path):
    """The same numbers, so the same fingerprint; another folder. Floors have no names."""

    def planned(*more):
        done = cli(
            *("run", "unetpp", "floor_majority", "--no-floors", "--dry-run", "--suite", "bcss5"),
            *("--preset", "smoke", "--data", folder, "--split", folder / "splits.csv"),
            *("--weights", "none", "--workspace", tmp_path / "w", *more),
        )
        assert done.returncode == 0, done.stderr
        return [line.rpartition("/")[2] for line in done.stdout.splitlines() if "/runs/" in line]

    plain, named, other = planned(), planned("--name", "wide"), planned("--name", "b-2")
    assert named == [f"wide-{plain[0]}", plain[1]]
    assert other == [f"b-2-{plain[0]}", plain[1]]
    done = cli("run", "unetpp", "--name", "../x", "--workspace", tmp_path / "w", check=2)
    assert "'../x' cannot be a run's name" in done.stderr


def test_check_exits_3_and_says_what_is_not_met(folder, tmp_path):
    run(folder, tmp_path)
    done = cli(
        "leaderboard",
        "floor_majority",
        "--check",
        "--workspace",
        tmp_path / "w",
        "--output",
        tmp_path / "board.md",
        "--format",
        "md",
    )
    assert done.returncode == 3
    assert "not met: floor_majority (bcss5, semantic): mean_dice >= 0.65" in done.stderr
    assert "floor_majority" in (tmp_path / "board.md").read_text()


def test_code_23(folder, tmp_path):
    path = folder / "masks" / "roi1.png"
    mask = np.array(Image.open(path))
    mask[:2] = 23
    Image.fromarray(mask).save(path)
    refused(run(folder, tmp_path), "roi1.png", "23", "112 pixel(s)")


def test_a_truncated_png(folder, tmp_path):
    path = folder / "images" / "roi1.png"
    path.write_bytes(path.read_bytes()[:900])
    refused(run(folder, tmp_path), "roi1.png", "truncated")


def test_sizes_that_do_not_match(folder, tmp_path):
    Image.fromarray(np.zeros((10, 56, 3), np.uint8)).save(folder / "images" / "roi1.png")
    refused(run(folder, tmp_path), "roi1.png", "56 x 10", "56 x 40")


def test_a_missing_mask(folder, tmp_path):
    (folder / "masks" / "roi1.png").unlink()
    refused(run(folder, tmp_path), "roi1.png", "masks")


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty" / "masks").mkdir(parents=True)
    (tmp_path / "empty" / "images").mkdir()
    (tmp_path / "empty" / "splits.csv").write_text("filename,split\n")
    refused(run(tmp_path / "empty", tmp_path), "is not laid out as any reader expects")
    refused(run(tmp_path / "nowhere", tmp_path), "does not exist")


def test_misspelt_names(folder, tmp_path):
    refused(run(folder, tmp_path, backend="unetp"), "Did you mean 'unetpp'")
    refused(run(folder, tmp_path, suite="bcs5"), "Did you mean 'bcss5'")
    refused(cli("leaderbord"), "Did you mean 'leaderboard'")
    refused(run(folder, tmp_path, "--set", "train.lrr=1", backend="unetpp"), "train.lrr")
    refused(cli("show", "unetp"), "Did you mean 'unetpp'")


def test_a_split_without_test_rois(folder, tmp_path):
    done = cli(
        "run",
        "floor_majority",
        "--data",
        folder,
        "--split",
        "official",
        "--workspace",
        tmp_path / "w",
    )
    refused(done, "'official' has no test ROI among the 6 present", "--split")


def test_real_suites_need_data(tmp_path):
    refused(cli("run", "floor_majority", "--suite", "bcss5", "--workspace", tmp_path), "--data")


def test_choices_from_the_registry_are_completed():
    from benchbcss.cli.main import FromRegistry

    items = FromRegistry("exporters").shell_complete(None, None, "j")
    assert [item.value for item in items] == ["json"]


def test_wrong_usage():
    for arguments in (
        ["run"],
        ["run", "unetpp", "--seeds", "0"],
        ["run", "unetpp", "--preset", "huge"],
        ["run", "unetpp", "--seed", "1", "--seeds", "2"],
    ):
        done = cli(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_dry_run_starts_nothing(folder, tmp_path):
    done = run(folder, tmp_path, "--dry-run")
    assert done.returncode == 0
    assert "floor_majority seed 0 to do" in done.stdout
    assert not (tmp_path / "w" / "runs").exists()


def test_floors_run_beside_and_can_be_left_out(folder, tmp_path):
    done = cli(
        "run",
        "floor_colour",
        "--data",
        folder,
        "--suite",
        "bcss5",
        "--preset",
        "smoke",
        "--split",
        folder / "splits.csv",
        "--workspace",
        tmp_path / "w",
        "--dry-run",
        check=0,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "floor_colour",
        "floor_majority",
    ]


def test_listings_are_json_on_demand():
    for command in ("backends", "suites", "plugins"):
        assert json.loads(cli(command, "--format", "json", check=0).stdout)
    shown = json.loads(cli("show", "sam2_v3", "--format", "json", check=0).stdout)
    assert shown["train"]["lr"] == 8e-5
    assert "class_weights" in cli("show", "sam2_v3", check=0).stdout


def test_data_verify_and_stats(folder, tmp_path):
    done = cli(
        "data",
        "verify",
        folder,
        "--split",
        folder / "splits.csv",
        "--workspace",
        tmp_path / "w",
        check=0,
    )
    assert "6 of 6 ROIs are sound" in done.stdout
    stats = json.loads(
        cli(
            "data", "stats", folder, "--format", "json", "--workspace", tmp_path / "w", check=0
        ).stdout
    )
    masks = [np.asarray(Image.open(path)) for path in (folder / "masks").iterdir()]
    assert stats["classes"][0]["pixels"] == sum(int((mask == 1).sum()) for mask in masks)
    assert stats["classes"][4]["codes"] == "18"
    assert stats["pixels"] == sum(mask.size for mask in masks)


def test_data_verify_lists_every_problem(folder, tmp_path):
    for name in ("roi1.png", "roi3.png"):
        path = folder / "masks" / name
        mask = np.array(Image.open(path))
        mask[0, 0] = 99
        Image.fromarray(mask).save(path)
    done = cli("data", "verify", folder, "--workspace", tmp_path / "w", check=2)
    assert done.stderr.count("problem: ") == 2
    assert "2 of 6 ROIs cannot be used" in done.stderr


def test_data_phantom(tmp_path):
    cli("data", "phantom", tmp_path / "p", "--rois", "6", "--size", "64", check=0)
    assert len(list((tmp_path / "p" / "images").iterdir())) == 6
    refused(
        cli("data", "phantom", tmp_path / "p", "--rois", "7", "--size", "64"), "other parameters"
    )


@pytest.mark.shared
def test_the_real_thumbnails(shared, tmp_path):
    folder = shared / "bcss_thumbs"
    done = cli(
        "run",
        "floor_majority",
        "floor_colour",
        "--data",
        folder,
        "--split",
        folder / "splits.csv",
        "--suite",
        "bcss5",
        "--preset",
        "smoke",
        "--workspace",
        tmp_path,
        "--format",
        "json",
        check=0,
    )
    assert {item["status"] for item in json.loads(done.stdout)} == {"done"}
    done = cli(
        "run",
        "floor_majority",
        "--data",
        folder,
        "--split",
        "official",
        "--suite",
        "bcss5",
        "--workspace",
        tmp_path,
    )
    refused(done, "no test ROI among the 12 present")
