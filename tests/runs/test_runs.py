"""Workers in processes of their own: judged, isolated, resumed, never run twice."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from runs_support import specs
from tests_support import cli

from benchbcss.errors import DataError, RunError, SuiteError
from benchbcss.io import read_json, write_bytes, write_json
from benchbcss.results import evaluate, store
from benchbcss.runs import executors, planning
from benchbcss.tracks import pictures
from benchbcss.training.checkpoint import load_checkpoint, save_checkpoint


def run(all_specs, workspace, **options):
    said = []
    settings = executors.Settings(workspace, said.append, **options)
    outcomes = executors.run_all(all_specs, settings)
    return outcomes, said


@pytest.fixture(scope="module")
def finished(phantom, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    outcomes, _ = run(
        specs(phantom, workspace, ["floor_majority", "floor_box_fill"]), workspace, jobs=2
    )
    return workspace, outcomes


def test_a_run_leaves_everything_a_result_must_carry(finished):
    _, (majority, box) = finished
    assert [majority.status, box.status] == ["done", "done"]
    result = read_json(majority.run_dir / "result.json")
    for field in (
        "schema_version",
        "metrics_version",
        "suite",
        "label_map",
        "split",
        "data",
        "preset",
        "protocol",
        "mpp",
        "recipe",
        "seed",
        "weights",
        "packages",
        "cost",
        "parameters",
        "created",
        "fingerprint",
    ):
        assert field in result, field
    section = result["tracks"]["semantic"]
    for field in (
        "headline",
        "per_class",
        "conventions",
        "confusion",
        "tissue",
        "spread",
        "by_roi",
    ):
        assert field in section, field
    assert section["headline"]["pooled"]["effective_rois"]["tumor"] > 0
    assert result["data"]["phantom"] is True
    assert len((majority.run_dir / "result.json").read_bytes()) < 40_000
    prompted = read_json(box.run_dir / "result.json")["tracks"]["prompted"]
    assert prompted["prompting"] == {
        "key": "box-class",
        "version": 2,
        "strategy": "box",
        "scope": "class",
        "tta": False,
        "only_largest": False,
        "postprocess": "none",
        "views": "mean_logits",
    }
    assert 0 < prompted["headline"]["per_roi"]["mean"] < 1


def test_counts_are_stored_and_give_the_numbers_back(finished):
    import pandas as pd

    _, (majority, _) = finished
    counts = pd.read_parquet(majority.run_dir / "counts.parquet")
    known = counts  # ignored pixels are not in it: a naive sum is right
    hit = known[(known["true"] == "tumor") & (known["predicted"] == "tumor")]["pixels"].sum()
    true = known[known["true"] == "tumor"]["pixels"].sum()
    predicted = known[known["predicted"] == "tumor"]["pixels"].sum()
    section = read_json(majority.run_dir / "result.json")["tracks"]["semantic"]
    stored = section["per_class"]["pooled"]["dice"]["tumor"]
    assert stored == pytest.approx(2 * hit / (true + predicted), abs=1e-6)


def test_a_finished_run_is_not_repeated(finished, phantom):
    workspace, (majority, _) = finished
    stamp = (majority.run_dir / "result.json").stat().st_mtime_ns
    outcomes, said = run(specs(phantom, workspace, ["floor_majority"]), workspace)
    assert outcomes[0].status == "kept"
    assert "already done" in said[0]
    assert (majority.run_dir / "result.json").stat().st_mtime_ns == stamp


def test_rescoring_gives_the_same_numbers(finished):
    _, outcomes = finished
    for outcome in outcomes:
        old = store.load(outcome.run_dir)
        assert evaluate.rescore(outcome.run_dir) == old


def test_the_result_follows_from_the_tables_alone(finished, tmp_path):
    """Neither predictions nor masks are there any more."""
    _, outcomes = finished
    for outcome in outcomes:
        copy = shutil.copytree(outcome.run_dir, tmp_path / outcome.spec.backend)
        shutil.rmtree(copy / "predictions")
        old = store.load(copy)
        spec = outcome.spec.model_copy(update={"data_root": "/nowhere"})
        assert evaluate.from_tables(spec, copy, old) == old.tracks


def test_rescoring_names_a_missing_or_foreign_prediction(finished, tmp_path):
    _, (majority, _) = finished
    copy = shutil.copytree(majority.run_dir, tmp_path / "run")
    path = next((copy / "predictions" / "semantic").iterdir())
    write_bytes(path, pictures.label_map(np.full((128, 128), 9, np.uint8)))
    with pytest.raises(DataError, match=r"outside labels 0\.\.5, such as 9"):
        evaluate.rescore(copy)
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        evaluate.rescore(copy)


def test_the_fingerprint_follows_what_changes_a_number(phantom, tmp_path):
    first = specs(phantom, tmp_path, ["unetpp"])[0]
    assert specs(phantom, tmp_path, ["unetpp"])[0].fingerprint() == first.fingerprint()
    assert (
        first.model_copy(update={"device": "cuda", "data_root": "/x"}).fingerprint()
        == first.fingerprint()
    )
    other = specs(phantom, tmp_path, ["unetpp"], overrides=("train.lr=0.01",))[0]
    seeded = specs(phantom, tmp_path, ["unetpp"], seed=1)[0]
    assert len({first.fingerprint(), other.fingerprint(), seeded.fingerprint()}) == 3


BAD_PLUGIN = """
import os, time
import torch
from benchbcss.contract import Backend, BackendInfo
from benchbcss.hookspecs import hookimpl

KINDS = ("raises", "nan", "shape", "exits", "hangs", "range", "prints", "memory")


@hookimpl
def benchbcss_register_backends(register):
    for kind in KINDS:
        register(BackendInfo(name=kind, summary=kind, tracks={"semantic"},
                             recipe=f"bad_plugin:{kind}.yaml", trains=False),
                 "bad_plugin:Bad")


class Bad(Backend):
    def build(self):
        self.kind = self.recipe["name"]
        return torch.nn.Conv2d(3, 6, 1)

    def fit(self, model, samples):
        if self.kind == "raises":
            raise RuntimeError("the plugin's own mistake")
        if self.kind == "exits":
            os._exit(7)
        if self.kind == "hangs":
            time.sleep(600)
        if self.kind == "prints":
            print("{not json")
        if self.kind == "memory":
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
            bytearray(16 << 30)
        return True

    def predict_roi(self, model, image):
        import numpy as np

        if self.kind == "range":
            return np.full(image.shape[:2], 77, np.uint8)
        return None

    def predict(self, model, image):
        logits = model(image)
        if self.kind == "nan":
            return logits * float("nan")
        return logits[:, :3] if self.kind == "shape" else logits
"""


BROKEN = {
    "raises": "RuntimeError: the plugin's own mistake",
    "nan": "plugin 'bad' of bad-plugin 0.3.*NaN or infinite",
    "shape": r"shape \(1, 3, 256, 256\), expected \(1, 6, 256, 256\)",
    "range": r"label 77; labels are 0\.\.5",
    "exits": "exit status 7",
    "memory": "MemoryError",
    "hangs": "stopped after 25 s",
}


@pytest.fixture(scope="module")
def after_broken_ones(phantom, tmp_path_factory):
    """The workspace of one command with all backends of a plugin, each of which breaks in another
    way or prints, and with a floor; what became of each run."""
    site = tmp_path_factory.mktemp("bad") / "site"
    (site / "bad_plugin").mkdir(parents=True)
    (site / "bad_plugin" / "__init__.py").write_text(BAD_PLUGIN)
    for kind in (*BROKEN, "prints"):
        (site / "bad_plugin" / f"{kind}.yaml").write_text(f"name: {kind}\ntrain: null\n")
    info = site / "bad_plugin-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[benchbcss]\nbad = bad_plugin\n")
    workspace = site.parent / "w"
    done = cli(
        *("run", *BROKEN, "prints", "floor_majority", "--no-floors", "--data", phantom),
        *("--workspace", workspace, "--jobs", 2, "--timeout", 25, "--format", "json"),
        site=site,
        check=1,
    )
    return workspace, {entry["backend"]: entry for entry in json.loads(done.stdout)}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_backend_is_recorded_and_harms_no_other(after_broken_ones, kind):
    workspace, entries = after_broken_ones
    assert entries[kind]["status"] == "failed"
    assert re.search(BROKEN[kind], entries[kind]["reason"]), entries[kind]
    assert entries["floor_majority"]["status"] == "done"
    from benchbcss.board import model

    board = model.load(workspace)
    assert {failure.backend for failure in board.failures} == set(BROKEN)
    assert {row.backend for row in board.tables[0].rows} == {"floor_majority", "prints"}


def test_a_backend_may_print(after_broken_ones):
    workspace, entries = after_broken_ones
    assert entries["prints"]["status"] == "done"
    (log,) = workspace.glob("runs/*/prints/*/log.txt")
    assert "{not json" in log.read_text()


def test_killed_while_training_then_finished_without_redoing(phantom, tmp_path):
    overrides = (
        "train.budget=recipe",
        "train.steps=12",
        "train.validate_every=3",
        "model.decoder_channels=[16, 12, 8, 8, 8]",
    )
    backends = ["unetpp", "floor_majority"]
    wanted = specs(phantom, tmp_path, backends, small=True, overrides=overrides)
    victim = wanted[0].run_dir(tmp_path)

    def kill(spec, status):
        if status.get("stage") == "training" and spec.backend == "unetpp":
            os.kill(status["pid"], signal.SIGKILL)

    outcomes, _ = run(wanted, tmp_path, watch=kill)
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert "killed by SIGKILL" in outcomes[0].reason
    assert "training" in outcomes[0].reason
    logged = [json.loads(line) for line in (victim / "epochs.jsonl").read_text().splitlines()]
    again, _ = run(wanted, tmp_path)
    assert [outcome.status for outcome in again] == ["done", "kept"]
    assert not (victim / "failure.json").exists()
    epochs = [
        json.loads(line)["epoch"] for line in (victim / "epochs.jsonl").read_text().splitlines()
    ]
    assert sorted(set(epochs)) == list(range(6))  # 5 training ROIs, batch 2
    assert len(logged) < 6
    assert read_json(victim / "result.json")["training"]["steps"] == 12


def test_two_writers_at_once(phantom, tmp_path):
    """The second worker leaves the run to the first."""
    spec = specs(phantom, tmp_path, ["floor_majority"])[0]
    run_dir = spec.run_dir(tmp_path)
    run_dir.mkdir(parents=True)
    write_json(run_dir / "spec.json", spec.model_dump(mode="json"))
    command = [sys.executable, "-m", "benchbcss.runs.worker", str(run_dir)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0
    if codes[1] == 1:  # unless the first was done before the second looked
        assert any("worked on by another process" in error for error in errors)
    assert (run_dir / "result.json").is_file()


def test_fresh_sets_the_old_result_aside(finished, phantom, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    wanted = specs(phantom, tmp_path, ["floor_majority"])
    assert store.is_finished(wanted[0].run_dir(tmp_path))
    outcomes, _ = run(wanted, tmp_path, fresh=True)
    assert outcomes[0].status == "done"
    aside = outcomes[0].run_dir.with_name(f".{outcomes[0].run_dir.name}.old1")
    assert (aside / "result.json").is_file()


def test_interrupting_the_controller_leaves_no_worker(phantom, tmp_path):
    code = textwrap.dedent(f"""
        from benchbcss.cli.main import main
        import sys
        sys.argv = ["benchbcss", "run", "unetpp", "--no-floors", "--data", {str(phantom)!r},
                    "--workspace", {str(tmp_path)!r}]
        main()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        # shells start background jobs with SIGINT ignored, and tests may be one
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    status = None
    deadline = time.monotonic() + 120
    while status is None and time.monotonic() < deadline:
        time.sleep(0.3)
        found = list(tmp_path.glob("runs/phantom/unetpp/*/status.json"))
        if found and read_json(found[0]).get("stage") == "training":
            status = read_json(found[0])
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 130
    assert said[-2:] == [
        "interrupted; 0 of 1 runs are finished, the others continue from their last checkpoint",
        f"continue with: benchbcss run unetpp --no-floors --data {phantom} --workspace {tmp_path}",
    ]
    assert not list(tmp_path.glob("queue/*.json"))
    with pytest.raises(ProcessLookupError):
        os.kill(status["pid"], 0)
    (log,) = tmp_path.glob("runs/phantom/unetpp/*/log.txt")
    assert "stopped on request" in log.read_text()  # it was not killed in the midst of it


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", {"old": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"a\.json cannot be written: No space left on device"):
        write_json(tmp_path / "a.json", {"new": 2})
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_records_hold_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})


def test_checkpoints_keep_weights_moments_and_state(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    net.tied = net.weight
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path, "last", net, optimizer, {"step": 1})
    other = torch.nn.Linear(3, 2)
    other.tied = other.weight
    fresh = torch.optim.AdamW(other.parameters())
    assert load_checkpoint(tmp_path, "last", other, fresh) == {"step": 1}
    assert torch.equal(other.weight, net.weight)
    moments = optimizer.state_dict()["state"][0]["exp_avg"]
    assert torch.equal(fresh.state_dict()["state"][0]["exp_avg"], moments)
    assert load_checkpoint(tmp_path, "none", other, None) is None
    (tmp_path / "checkpoints" / "last.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="Run again with --fresh to train anew"):
        load_checkpoint(tmp_path, "last", other, None)


def test_phantom_and_real_data_never_mix(phantom, folder, tmp_path):
    def prepare(suite, where):
        definition, preset = planning.choose_suite(suite, where, "smoke")
        planning.prepare(
            definition,
            preset,
            folder=where,
            split=str(where / "splits.csv"),
            workspace=tmp_path,
            say=lambda text: None,
        )

    with pytest.raises(SuiteError, match="is a phantom; use --suite phantom"):
        prepare("bcss5", phantom)
    with pytest.raises(SuiteError, match="is not a phantom"):
        prepare("phantom", folder)
    prepare("bcss5", folder)
