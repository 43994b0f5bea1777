"""Whole commands of the SAM family: evaluate, CLIP, brief-repro."""

import json
import subprocess
import sys

import pytest
import torch
from tests_support import cli, tiny_clip

from benchbcss.contract import SCOPES, STRATEGIES

pytest.importorskip("sam2")
pytest.importorskip("open_clip")


def boards(workspace, **where):
    done = cli("leaderboard", "--workspace", workspace, "--format", "json", check=0)
    tables = json.loads(done.stdout)["tables"]
    return [row for table in tables for row in table["rows"] if table["track"] in where["track"]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    model, weights = tiny_clip(tmp_path_factory.mktemp("clip"))
    return "--clip-model", model, "--clip-weights", weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """What Meta's file looks like: SAM2.1 tiny, random weights."""
    from sam2.build_sam import build_sam2

    torch.manual_seed(0)
    net = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", mode="train")
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": net.state_dict()}, path)
    return path


@pytest.mark.slow
def test_a_checkpoint_is_scored_without_training(phantom, checkpoint, clip, tmp_path):
    common = ["--data", phantom, "--workspace", tmp_path, "--set", "view.size=128", *clip]
    cli("evaluate", "sam2_v3", "--weights", checkpoint, "--subset", "val", *common, check=0)
    cli("evaluate", "sam_zeroshot", "--weights", checkpoint, "--subset", "val", *common, check=0)
    paths = sorted(tmp_path.glob("runs/phantom/*/*/result.json"))
    own, zero = (json.loads(path.read_text()) for path in paths)
    for result in (own, zero):
        assert result["evaluated"] is True
        assert result["training"]["trained"] is False
        assert result["split"]["scored"] == "val"
        assert result["weights"]["provenance"].startswith("file: ")
        assert sorted(result["tracks"]) == ["prompted", "semantic"]
        assert not (paths[0].parent / "epochs.jsonl").exists()
        # Every ROI once per view, for 24 promptings.
        assert result["notes"]["encoder_calls"] == 4 * result["split"]["val"]
        section = result["tracks"]["prompted"]
        keys = [section["prompting"]["key"]] + [p["prompting"]["key"] for p in section["others"]]
        assert keys[0] == "box-class"
        assert len(set(keys)) == len(STRATEGIES) * len(SCOPES) * 2
        regions = section["regions"]
        assert 0 <= regions["predicted"]["accuracy"] <= 1
        assert regions["ground_truth"]["regions"] == regions["predicted"]["regions"] > 0
    assert own["notes"]["probe"]["examples"] > 0
    assert zero["notes"]["semantic"]["labeller"] == "clip"
    # Both predict from the same weights, so prompted numbers agree.
    one, other = (r["tracks"]["prompted"]["headline"]["per_roi"] for r in (own, zero))
    assert one["mean"] == pytest.approx(other["mean"])
    shown = cli("leaderboard", "--workspace", tmp_path, "--promptings", check=0).stdout
    assert "sam2_v3 (evaluated)" in shown
    assert "validation ROI" in shown
    assert "points5-components-tta" in shown
    before = [row["headline"] for row in boards(tmp_path, track=("prompted", "semantic"))]
    cli("rescore", "--workspace", tmp_path, check=0)
    assert [row["headline"] for row in boards(tmp_path, track=("prompted", "semantic"))] == before


@pytest.mark.slow
def test_without_clip_weights_what_needs_them_is_not_measured(phantom, tmp_path):
    done = cli(
        *("run", "sam_zeroshot", "--no-floors", "--data", phantom, "--workspace", tmp_path),
        *("--set", "view.size=128"),
        check=0,
    )
    assert (
        "not measured: sam_zeroshot (phantom, semantic): the labeller 'clip' needs" in done.stdout
    )
    (row,) = boards(tmp_path, track=("prompted", "semantic"))
    assert row["track"] == "prompted"
    assert "are not available" in row["regions"]["not_measured"]
    verdict = next(c for c in row["criteria"] if c["metric"] == "clip_accuracy")
    assert verdict["status"] == "not measured"


@pytest.mark.slow
def test_the_briefs_way_of_measuring_names_its_flaws(folder, tmp_path):
    """brief-repro on a BCSS-shaped folder: never ranked, every flaw in the output."""
    done = cli(
        *("run", "floor_box_fill", "--suite", "brief-repro", "--data", folder),
        *("--split", folder / "splits.csv", "--workspace", tmp_path),
        check=0,
    )
    assert done.stderr.count("has a known flaw") == 9
    for words in ("Nothing is ranked here", "glandular secretions", "largest component", "ceiling"):
        assert words in done.stdout
    (row,) = boards(tmp_path, track=("prompted",))
    assert row["rank"] is None
    assert row["key"]["prompting"]["key"] == "box_neg_outer-largest"
    assert row["key"]["prompting"]["postprocess"] == "close_fill"
    assert row["key"]["prompting"]["views"] == "vote"
    assert row["ceiling"]["mean"] < 1
    (run,) = tmp_path.glob("runs/brief-repro/floor_box_fill/[!.]*")
    result = json.loads((run / "result.json").read_text())
    assert result["label_map"]["classes"]["blood_vessel"] == [5]
    assert result["label_map"]["ignore"] == []


@pytest.mark.slow
def test_tumor_against_the_rest_runs_with_the_same_backends(folder, checkpoint, tmp_path):
    """The brief's simplified task; CLIP has nothing to choose from one class."""
    common = ["--suite", "tumor-binary", "--data", folder, "--split", folder / "splits.csv"]
    common += ["--workspace", tmp_path, "--preset", "smoke"]
    cli(
        *("evaluate", "sam2_v3", "--weights", checkpoint, "--set", "view.size=64", *common), check=0
    )
    cli("run", "floor_majority", "floor_colour", *common, check=0)
    rows = boards(tmp_path, track=("prompted", "semantic"))
    assert {(row["backend"], row["track"]) for row in rows} == {
        ("sam2_v3", "semantic"),
        ("sam2_v3", "prompted"),
        ("floor_majority", "semantic"),
        ("floor_colour", "semantic"),
    }
    assert all(row["classes"] == ["tumor"] for row in rows)
    own = next(row for row in rows if row["backend"] == "sam2_v3" and row["regions"])
    assert own["regions"]["not_measured"] == "there is only one class to choose from"


def test_evaluate_needs_weights_and_rois(folder, tmp_path):
    assert "Missing option '--weights'" in cli("evaluate", "sam2_v3", check=2).stderr
    (folder / "t.csv").write_text("filename,split\nroi0.png,train\nroi1.png,test\n")
    done = cli(
        *("evaluate", "sam2_v3", "--weights", "none", "--subset", "val", "--data", folder),
        *("--split", folder / "t.csv", "--workspace", tmp_path, "--preset", "smoke"),
        check=2,
    )
    assert "has no val ROI among those present" in done.stderr


def test_nonsense_is_one_sentence_and_exit_2(folder, tmp_path):
    common = ["--data", folder, "--split", folder / "splits.csv", "--workspace", tmp_path]
    common += ["--preset", "smoke", "--dry-run"]
    for words, message in (
        (["evaluate", "floor_majority", "--weights", "none"], "is a floor: it has no weights"),
        (["run", "sam2_v3", "--clip-model", "ViT-B-23"], "Did you mean 'ViT-B-32'"),
        (["run", "sam2_v3", "--clip-model", "none.json"], "CLIP model none.json does not exist"),
        (["run", "sam2_v3", "--clip-prompts", "nope"], "There is no CLIP prompt file nope"),
        (["run", "sam2_v3", "--clip-weights", "no.pt"], "weights file no.pt does not exist"),
        (["run", "unetpp", "--set", "tracker=mlflow"], "There is no tracker 'mlflow'"),
    ):
        errors = [
            line
            for line in cli(*words, *common, check=2).stderr.splitlines()
            if line.startswith("error: ")
        ]
        assert len(errors) == 1
        assert message in errors[0]


def test_planning_imports_no_torch(folder, tmp_path):
    """The controller stays light: models are imported by the workers, and by the processes that
    rehearse their start, which are not started here."""
    code = (
        "import sys\n"
        "from benchbcss.cli.main import cli\n"
        "from benchbcss.runs import rehearse\n"
        "rehearse._ask = lambda spec, seeds: {}\n"
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    words = ["run", "sam2_v3", "--data", folder, "--split", folder / "splits.csv", "--dry-run"]
    words += ["--workspace", tmp_path, "--preset", "smoke"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], check=False)
    assert done.returncode == 0


@pytest.mark.slow
def test_weights_to_be_evaluated_are_never_replaced_by_random_ones(phantom, tmp_path):
    done = cli(
        *("evaluate", "unetpp", "--weights", "auto", "--data", phantom, "--workspace", tmp_path),
        *("--set", "model.weights=imagenet"),
        check=1,
    )
    assert "are not available" in done.stderr
    done = cli(
        *("evaluate", "unetpp", "--weights", "auto", "--data", phantom, "--workspace", tmp_path),
        check=1,
    )
    assert "There are no weights to evaluate" in done.stderr
    assert list(tmp_path.glob("runs/*/*/*/result.json")) == []


#: one prompting on three small ROIs
QUICK = """
summary: one prompting
phantom: {rois: 12, size: 96, seed: 0}
label_map: bcss5
split: splits.csv
tile: {size: 64, overlap: 16}
prompting: {strategies: [box], scopes: [class], tta: [false], headline: box-class}
default_preset: smoke
"""


@pytest.fixture
def hub_cache(tmp_path, clip):
    """(environment with an empty cache of the hub, what puts a tiny CLIP into it)."""
    _, config, _, weights = clip
    snapshot = tmp_path / "hub" / "models--tiny--clip" / "snapshots" / "1234"

    def fill():
        from safetensors.torch import save_file

        snapshot.mkdir(parents=True)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("1234")
        seen = {"size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
        content = {"model_cfg": json.loads(config.read_text()), "preprocess_cfg": seen}
        (snapshot / "open_clip_config.json").write_text(json.dumps(content))
        tensors = torch.load(weights, weights_only=True)
        save_file(tensors, snapshot / "open_clip_model.safetensors")

    return {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}, fill


@pytest.mark.slow
def test_what_was_lacking_for_want_of_weights_is_measured_later_without_training(
    checkpoint, hub_cache, tmp_path
):
    """A record that CLIP's weights came too late for ends as that of a run that had them."""
    environment, fill = hub_cache
    suite = tmp_path / "quick.yaml"
    suite.write_text(QUICK)
    words = ["evaluate", "sam_zeroshot", "--weights", checkpoint, "--suite", suite]
    words += ["--set", "view.size=64", "--set", "predict.points_per_side=2"]
    words += ["--clip-model", "hf-hub:tiny/clip"]
    late = ["--workspace", tmp_path / "late"]
    shown = cli(*words, *late, check=0, **environment).stdout
    assert "not measured: sam_zeroshot (quick, semantic)" in shown
    assert "benchbcss rescore --complete" in " ".join(shown.split())
    done = cli("rescore", "--complete", *late, check=1, **environment)
    assert "clip_accuracy: Pretrained weights tiny/clip are not available" in done.stderr
    (record,) = tmp_path.glob("late/runs/*/*/*/result.json")
    before = json.loads(record.read_text())
    assert list(before["tracks"]) == ["prompted"]

    fill()
    done = cli("rescore", "--complete", *late, check=0, **environment)
    assert f"{record.parent}: measured semantic, clip_accuracy" in done.stderr
    cli(*words, "--workspace", tmp_path / "early", check=0, **environment)
    (other,) = tmp_path.glob("early/runs/*/*/*/result.json")
    completed, wanted = json.loads(record.read_text()), json.loads(other.read_text())
    volatile = {"created", "cost", "training", "data"}
    assert {key: value for key, value in completed.items() if key not in volatile} == {
        key: value for key, value in wanted.items() if key not in volatile
    }
    assert completed["tracks"]["prompted"]["regions"]["predicted"]["regions"] > 0
    assert completed["cost"]["train_seconds"] == before["cost"]["train_seconds"]
    done = cli("rescore", "--complete", *late, check=0, **environment)
    assert f"{record.parent} lacks nothing" in done.stderr
    kept = cli(*words, *late, check=0, **environment)
    assert "already done, kept" in kept.stderr
