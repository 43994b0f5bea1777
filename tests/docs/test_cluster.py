"""docs/cluster.md, carried out line by line on a real Slurm of one node. ``test_site.py`` parses
every command of it, also where there is no Slurm."""

import glob
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import warm
from slurm_support import jobs, need_slurm, partition_down, wait_for
from tests_support import SET_TINY_UNETPP

from benchbcss.data.phantom import generate

TEXT = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")

#: what stands here for what the page has: models that two cores train in seconds, this node's
#: partition, which has no GPU, and one seed
INSTEAD = {
    "sam2_v2": "floor_colour",
    "sam2_v3": "unetpp",
    "partition=gpu": "partition=debug",
    "--slurm gpus_per_node=1 ": "",
    "--seeds 3": "--seeds 1",
    "tail -f": "tail -n +1",
    "runs clean": "runs clean --yes",
}
#: what is added to commands that train or predict: weights that need no network, few steps
MORE = {
    "run": ["--suite", "bcss5.yaml", "--weights", "none"],
    "evaluate": ["--suite", "bcss5.yaml", *SET_TINY_UNETPP],
}
SUITE = """\
summary: BCSS's classes on a few small ROIs
label_map: bcss5
split: splits.csv
tile: {size: 64, overlap: 16}
tracks: [semantic]
budget: {epochs: null, steps: 6}
default_preset: full
"""


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


class Reader:
    """Types the page's lines in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        left = {"BENCHBCSS_DATA", "BENCHBCSS_WORKSPACE"}
        self.environment = {name: value for name, value in os.environ.items() if name not in left}

    def types(self, line: str, *more: str) -> str:
        """What the command says."""
        for words, others in INSTEAD.items():
            line = line.replace(words, others)
        program, *words = [word for text in shlex.split(line) for word in self._expanded(text)]
        words += [*MORE.get(words[0], ()), *more]
        if "unetpp" in words and words[0] == "run":
            words += [word.replace("model.", "unetpp:model.") for word in SET_TINY_UNETPP]
        if program == "benchbcss":
            done = warm.run("benchbcss", words, self.environment, self.folder)
        else:
            assert program in ("tail", "cp", "rm")
            done = subprocess.run(
                [program, *words], capture_output=True, text=True, cwd=self.folder
            )
        assert done.returncode == 0, line + done.stdout + done.stderr
        return done.stdout + done.stderr

    def _expanded(self, word: str) -> list[str]:
        """As a shell expands it."""
        return sorted(glob.glob(word, root_dir=self.folder)) if "*" in word else [word]

    def of(self, backend: str) -> Path:
        """The run that was submitted."""
        (path,) = self.folder.glob(f"benchbcss-workspace/runs/bcss5/{backend}/*/submitted.json")
        return path.parent


@pytest.fixture
def reader(tmp_path):
    need_slurm()
    generate(tmp_path / "BCSS", rois=8, size=128, seed=3)
    (tmp_path / "BCSS" / "phantom.json").unlink()  # it stands for real data
    (tmp_path / "bcss5.yaml").write_text(SUITE)
    yield Reader(tmp_path)
    for path in tmp_path.glob("benchbcss-workspace/runs/*/*/*/submitted.json"):
        numbers = json.loads(path.read_text())["jobs"]
        subprocess.run(["scancel", *numbers], capture_output=True)


@pytest.mark.slurm
@pytest.mark.timeout(900)
def test_from_a_first_try_to_a_comparison(reader):
    lines = iter(commands(section("From a first try to a comparison")))
    assert "floor_colour: done in" in reader.types(next(lines))
    assert "#SBATCH --partition=debug" in reader.types(next(lines))

    submit = next(lines)
    with partition_down():
        said = reader.types(submit)
        assert said.count(": submitted as job ") == 3  # two models and the other floor
        assert "watch them with: benchbcss status" in said
        (first, *_) = jobs({"run": reader.of("floor_colour")})
        subprocess.run(["scontrol", "hold", first], check=True)
        said = reader.types(next(lines))
        assert said.startswith("queued: ")
        assert f"Slurm job {first} pending (" in said
    watch, cancel = next(lines), next(lines)
    wait_for(lambda: (reader.of("unetpp") / "result.json").exists())
    log = reader.types(watch)
    assert len(re.findall(r"training epoch=\d", log)) > 1
    assert re.search(r"^validation Dice: tumor \d\.\d{4}, stroma ", log, re.M)
    assert f"job {first} is cancelled" in reader.types(cancel)
    again = reader.types(submit, "--wait")
    assert "unetpp: already done, kept" in again
    assert "floor_colour: done" in again

    reader.types(next(lines))  # fetches the best
    assert "unetpp (evaluated)" in reader.types(next(lines))
    board = reader.types(next(lines))
    assert "bcss5 / semantic" in board
    assert re.search(r"^floor_colour - unetpp ", reader.types(next(lines)), re.M)

    assert len(re.findall(r"^bcss5 .* done ", reader.types(next(lines)), re.M)) == 6
    reader.types(next(lines))
    assert (reader.of("unetpp") / "checkpoints" / "final.safetensors").is_file()
    reader.types(next(lines))
    assert not (reader.folder / "benchbcss-workspace" / "slurm").exists()
    assert next(lines, None) is None
    assert "bcss5 / semantic" in reader.types("benchbcss leaderboard")


def test_settings_on_the_page_are_ones_that_jobs_can_have():
    """In its commands and its table."""
    pytest.importorskip("submitit")
    from benchbcss_slurm.parameters import parse

    for line in commands(TEXT):
        pairs = re.findall(r"--slurm (\w+)=(\S+)", line)
        parse({key: [value] for key, value in pairs})
        assert ("--executor slurm" in line) == bool(pairs), line
    keys = re.findall(r"^\| `(\w+)=(\w+)`", section("Settings"), re.M)
    assert {key for key, _ in keys} > {"setup", "python", "resubmit"}
    for key, kind in keys:
        parameters, successors, python = parse({key: ["7" if kind == "N" else "x"]})
        assert (key, 7) in {**parameters, "resubmit": successors}.items() or "x" in (
            python,
            *parameters.get(key, ()),
        )
