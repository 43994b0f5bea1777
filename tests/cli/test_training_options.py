"""Options of training as a user types them: processes, TensorBoard, averages of weights."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests_support import SET_TINY_UNETPP, cli, write_folder

pytest.importorskip("segmentation_models_pytorch")


def result(workspace):
    (path,) = workspace.glob("runs/*/unetpp/*/result.json")
    return json.loads(path.read_text()), path.parent


@pytest.fixture
def short(phantom, tmp_path):
    """A run of eight steps on tiles of 64 px."""
    suite = tmp_path / "short.yaml"
    suite.write_text(
        "summary: short\nphantom: {rois: 8, size: 128, seed: 3}\nlabel_map: bcss5\n"
        "split: splits.csv\ntile: {size: 64, overlap: 16}\ntracks: [semantic]\n"
        "budget: {epochs: null, steps: 8}\ndefault_preset: smoke\n"
    )
    common = ["run", "unetpp", "--no-floors", "--suite", suite, "--data", phantom]
    return [*common, "--workspace", tmp_path, *SET_TINY_UNETPP]


@pytest.mark.slow
def test_two_processes_from_the_command_line(short, tmp_path):
    done = cli(*short, "--processes", 3, check=2)
    assert "the batch of 2 of 'unetpp' cannot be shared equally" in done.stderr
    cli(*short, "--processes", 2, check=0)
    found, _ = result(tmp_path)
    assert found["training"]["processes"] == 2
    assert found["training"]["steps"] == 8
    assert found["training"]["images"] == 16
    assert "semantic" in found["tracks"]


@pytest.mark.slow
def test_tensorboard_holds_every_term_and_does_not_change_the_run(short, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ["--set", "train.ema=0.9", "--set", "view.tta=true"]
    cli(*short, *options, "--set", "tracker=tensorboard", check=0)
    found, run_dir = result(tmp_path)
    assert found["tracks"]["semantic"]["view"] == "native+tta"
    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    tags = events.Tags()["scalars"]
    lines = [json.loads(line) for line in (run_dir / "epochs.jsonl").read_text().splitlines()]
    for tag in ("loss/cross_entropy", "loss/dice", "learning_rate/encoder", "val_mean_dice"):
        assert tag in tags
    logged = [event.value for event in events.Scalars("loss/dice")]
    assert logged == pytest.approx([line["loss"]["dice"] for line in lines])
    assert any(tag.startswith("test/semantic/dice/") for tag in tags)
    # Where it is logged is not part of what a run is: without the tracker it is already done.
    assert "already done" in cli(*short, *options, check=0).stderr


def dry(phantom, workspace, *words, check):
    common = ["--no-floors", "--data", phantom, "--workspace", workspace, "--format", "json"]
    done = cli("run", *words, *common, "--dry-run", check=check)
    return json.loads(done.stdout), done.stderr


def test_a_dry_run_builds_models_and_says_what_cannot_start(phantom, tmp_path):
    plan, _ = dry(phantom, tmp_path, "unetpp", "--seeds", 2, check=0)
    assert [run["seed"] for run in plan["runs"]] == [0, 1]
    for run in plan["runs"]:
        assert run["state"] == "to do"
        assert run["problem"] is None
        assert run["parameters"] == 13333574
        assert run["weights"].startswith("random")
        assert run["needs_bytes"] > 4 * run["parameters"]
        assert run["validation"]["sentence"].startswith("the only ROI every ")
        assert run["validation"]["share"] <= run["validation"]["allowed"] == 0.25
    assert plan["disk"]["problem"] is None
    assert plan["disk"]["free_bytes"] > plan["disk"]["needs_bytes"]
    (tmp_path / "torn.pt").write_bytes(b"PK\x03\x04 half a file")
    for words, problem in (
        (["--set", "model.encoder=resnet35"], "smp has no encoder 'resnet35'"),
        (["--weights", tmp_path / "torn.pt"], "is truncated or damaged"),
    ):
        plan, said = dry(phantom, tmp_path, "unetpp", *words, check=2)
        assert problem in plan["runs"][0]["problem"]
        assert f"error: unetpp: {plan['runs'][0]['problem']}" in said
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there_is_an_error_before_anything_starts(phantom, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    common = ["--no-floors", "--data", phantom, "--workspace", tmp_path, "--device", "cuda"]
    done = cli("run", "unetpp", *common, check=2)
    assert "there is no GPU here that PyTorch can use" in done.stderr
    assert not (tmp_path / "runs").exists()
    plan, _ = dry(phantom, tmp_path, "unetpp", "--device", "cuda", check=2)
    assert "there is no GPU here" in plan["runs"][0]["problem"]


def test_a_disk_without_space_is_an_error(monkeypatch, tmp_path):
    from benchbcss.runs import rehearse

    planned = [rehearse.Rehearsal(None, tmp_path, False, needs=3 * 10**9)]
    monkeypatch.setattr(rehearse, "free_bytes", lambda workspace: 2 * 10**9)
    text = rehearse.space_problem(planned, tmp_path)
    assert "has 2.0 GB free, and the runs need about 3.0 GB" in text
    monkeypatch.setattr(rehearse, "free_bytes", lambda workspace: 4 * 10**9)
    assert rehearse.space_problem(planned, tmp_path) is None


def test_settings_that_do_nothing_are_refused_by_the_command(phantom, tmp_path):
    common = ["--no-floors", "--data", phantom, "--workspace", tmp_path]
    for words, message in (
        (["unetpp", "--set", "train.steps=10"], "it has no effect"),
        (["sam_zeroshot", "--set", "train.steps=10"], "sam_zeroshot is not trained here"),
        (["unetpp", "--set", "transunet:train.lr=1"], "no backend in this command 'transunet'"),
    ):
        done = cli("run", *words, *common, check=2)
        assert message in done.stderr
        assert done.stderr.count("error: ") == 1


#: what a command that has nothing to compute must not spend its start on
HEAVY = {"torch", "numpy", "scipy", "pandas", "pyarrow", "PIL", "cv2", "rich", "torchvision"}


def _heavy(*words):
    """Which of ``HEAVY`` a command imports, and what it said."""
    code = (
        "import sys\n"
        "from benchbcss.cli.main import cli\n"
        "try:\n"
        "    cli.main(sys.argv[1:], standalone_mode=False)\n"
        "finally:\n"
        f"    print('heavy:', *sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:], done.stdout + done.stderr


def _processor_seconds(*words):
    times = []
    for _ in range(3):
        begun = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime)
    return min(times)


@pytest.mark.slow
def test_with_nothing_to_do_nothing_heavy_is_imported(phantom, tmp_path):
    place = ["--workspace", tmp_path]
    common = ["run", "floor_majority", "--data", phantom, *place]
    cli(*common, check=0)
    for more in ([], ["--device", "cuda"], ["--jobs", "2"]):
        heavy, said = _heavy(*common, *more)
        assert not heavy
        assert "already done" in said
    heavy, said = _heavy(*common, "--dry-run")
    assert not heavy
    assert "floor_majority seed 0 done" in said
    for command in ("status", "leaderboard"):
        assert not _heavy(command, *place)[0]
    bare = _processor_seconds("-c", "pass")  # 8 to 10 times that where bytecode is kept
    assert _processor_seconds("-m", "benchbcss", *common) < 25 * bare
    for path in tmp_path.glob("runs/*/*/*/semantic/*.png"):
        with Image.open(path) as image:
            assert path.stat().st_size < 0.25 * image.width * image.height / 2


def test_masks_without_a_known_pixel_teach_nothing(tmp_path):
    masks = {f"r{i}.png": np.full((40, 40), 0 if i < 3 else 1, np.uint8) for i in range(5)}
    parts = dict(zip(masks, ("train", "train", "train", "val", "test"), strict=True))
    data = write_folder(tmp_path / "d", masks, split=parts)
    common = ["--data", data, "--split", data / "splits.csv", "--workspace", tmp_path / "w"]
    done = cli("run", "floor_majority", "--suite", "bcss5", *common, check=2)
    assert "every pixel of the 3 training ROIs is ignored" in done.stderr
    assert not (tmp_path / "w" / "runs").exists()


@pytest.mark.slow
def test_a_batch_that_leaves_batchnorm_one_value_is_explained(tmp_path):
    rng = np.random.default_rng(0)
    masks = {f"r{i}.png": rng.choice([1, 2], (40, 40)).astype(np.uint8) for i in range(2)}
    parts = dict(zip(masks, ("train", "test"), strict=True))
    data = write_folder(tmp_path / "d", masks, split=parts)
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "label_map: bcss5\nsplit: splits.csv\ntile: {size: 32, overlap: 8}\n"
        "tracks: [semantic]\nbudget: {steps: 2}\ndefault_preset: smoke\n"
    )
    common = ["--suite", suite, "--data", data, "--workspace", tmp_path / "w", "--no-floors"]
    done = cli("run", "unetpp", *common, check=1)
    assert "a batch of 1 with tiles of 32 px" in done.stderr
    assert "ValueError" not in done.stderr
