"""Options of training as a user types them: processes, TensorBoard, averages of weights."""

import json

import pytest
from tests_support import cli

pytest.importorskip("segmentation_models_pytorch")
SHORT = ["--set", "train.budget=recipe", "--set", "train.steps=14"]


def result(workspace):
    (path,) = workspace.glob("runs/phantom/unetpp/*/result.json")
    return json.loads(path.read_text()), path.parent


@pytest.mark.slow
def test_two_processes_from_the_command_line(phantom, tmp_path):
    common = ["run", "unetpp", "--no-floors", "--data", phantom, "--workspace", tmp_path, *SHORT]
    done = cli(*common, "--processes", 3, check=2)
    assert "the batch of 2 of 'unetpp' cannot be shared equally" in done.stderr
    cli(*common, "--processes", 2, check=0)
    found, _ = result(tmp_path)
    assert found["training"]["processes"] == 2
    assert found["training"]["steps"] == 14
    assert found["training"]["images"] == 28
    assert "semantic" in found["tracks"]


@pytest.mark.slow
def test_tensorboard_holds_every_term_and_does_not_change_the_run(phantom, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    common = ["run", "unetpp", "--no-floors", "--data", phantom, "--workspace", tmp_path, *SHORT]
    options = ["--set", "train.ema=0.9", "--set", "view.tta=true"]
    cli(*common, *options, "--set", "tracker=tensorboard", check=0)
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
    assert "already done" in cli(*common, *options, check=0).stderr
