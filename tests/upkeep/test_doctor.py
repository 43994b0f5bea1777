"""``benchbcss doctor`` finds what is wrong, names it and says what to do."""

import json
import shutil
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders
from tests_support import cli, program, write_folder

from benchbcss import registry
from benchbcss.cli.doctor import doctor as command
from benchbcss.errors import DataError
from benchbcss.runs.launch import OnData
from benchbcss.upkeep import belongings, doctor, machine, software


def only(findings):
    (finding,) = findings
    return finding


def states(findings):
    return [(finding.state, finding.text) for finding in findings]


class Described(dict):
    """Metadata of a distribution, by field."""

    def get_all(self, field):
        return self.get(field)


@pytest.fixture
def requiring(monkeypatch):
    """What benchbcss says that it needs."""

    def require(*requirements, python=">=3.11"):
        content = Described(
            {
                "Requires-Dist": list(requirements),
                "Requires-Python": [python],
                "Provides-Extra": ["mask2former", "test"],
            }
        )
        monkeypatch.setattr(metadata, "metadata", lambda name: content)

    return require


# -- software ---------------------------------------------------------------------------------


def test_this_environment_has_what_is_declared():
    assert only(software.python()).state == "ok"
    finding = only(software.packages())
    assert finding.state == "ok"
    assert f"torch {metadata.version('torch')}" in finding.text


def test_packages_that_are_missing_or_too_old(requiring):
    requiring("numpy>=1", "nowhere-to-be-found>=2", "pandas>=99")
    assert states(software.packages()) == [
        ("problem", "nowhere-to-be-found is not installed; benchbcss needs nowhere-to-be-found>=2"),
        (
            "problem",
            f"pandas {metadata.version('pandas')} does not fit; benchbcss needs pandas>=99",
        ),
    ]
    assert [f.remedy for f in software.packages()][1] == "pip install 'pandas>=99'"


def test_extras_may_be_missing_but_not_of_another_version(requiring):
    requiring('nowhere>=2 ; extra == "mask2former"', 'numpy>=99 ; extra == "test"')
    assert "not known" in only(software.packages()).text  # nothing of it is needed
    requiring("numpy>=1", 'pandas>=99 ; extra == "mask2former"')
    assert only(software.packages()).state == "problem"


def test_a_python_that_is_too_old(requiring):
    requiring(python=">=9")
    finding = only(software.python())
    assert (finding.state, finding.remedy) == ("problem", "Install Python >=9.")


def test_a_checkout_that_is_not_installed(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    assert only(software.packages()).state == "note"


def test_plugins_that_are_broken_or_lack_something(monkeypatch):
    plugins = registry.load()
    entry = plugins.backends["unetpp"]
    source = registry.Source("odd", "odd-dist", "1")
    monkeypatch.setitem(plugins.broken, source, "ImportError: no")
    monkeypatch.setattr(type(entry), "missing", lambda self: ["smp"] * (self.name == "unetpp"))
    found = list(software.plugins())
    assert [finding.state for finding in found] == ["problem", "note", "ok"]
    assert "odd-dist" in found[0].remedy
    assert "unetpp needs smp" in found[1].text
    assert "benchbcss[unetpp]" in found[1].remedy
    assert "unetpp" not in found[2].text


# -- the machine ------------------------------------------------------------------------------


def test_a_gpu_that_torch_cannot_use(only_programs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = list(machine.devices())
    assert [finding.state for finding in found] == ["ok", "note"]
    program(only_programs, "nvidia-smi", "echo 'GPU 0: NVIDIA H100'")
    found = list(machine.devices())
    assert found[1].state == "problem"
    assert "cannot use it" in found[1].text
    program(only_programs, "nvidia-smi", "exit 9")  # a driver that is not loaded is no GPU
    assert [finding.state for finding in machine.devices()] == ["ok", "note"]


def test_memory(monkeypatch):
    for free, state in ((32e9, "ok"), (4e9, "note"), (1e9, "problem")):
        monkeypatch.setattr(machine, "_memory", lambda free=free: (64e9, free))
        finding = only(machine.memory())
        assert finding.state == state
        assert finding.text == f"{free / 1e9:.1f} of 64.0 GB are available"
    monkeypatch.undo()
    total, free = machine._memory()
    assert 0 < free <= total


def test_a_workspace(tmp_path, monkeypatch):
    from shutil import disk_usage

    usage = disk_usage(tmp_path)
    for free, state in ((100e9, "ok"), (5e9, "note"), (1e6, "problem")):
        monkeypatch.setattr(
            machine.shutil, "disk_usage", lambda _, free=int(free): usage._replace(free=free)
        )
        assert only(machine.workspace(tmp_path / "not" / "yet")).state == state
    assert list(tmp_path.iterdir()) == []  # nothing is made, nothing is left


def test_a_workspace_that_cannot_be_written():
    finding = only(machine.workspace(machine.Path("/proc/benchbcss")))
    assert finding.state == "problem"
    assert "cannot be written" in finding.text


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    import filelock

    class Powerless(filelock.FileLock):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(filelock, "FileLock", Powerless)
    found = list(machine.workspace(tmp_path))
    assert "without locks" in found[0].text
    assert found[0].state == "problem"


# -- weights and data -------------------------------------------------------------------------


#: of smp's resnet34, as its own table of encoders has it
REVISION = encoders["resnet34"]["pretrained_settings"]["imagenet"]["revision"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A hub cache in which one repository's weights are, at the revision that smp asks for."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    for id, file in (("smp-hub/resnet34.imagenet", "model.safetensors"), ("a/b", "config.json")):
        snapshot = folder / f"models--{id.replace('/', '--')}" / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        (snapshot / file).write_bytes(bytes(1000))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def one_model(monkeypatch):
    """Only unetpp is looked at: the others' libraries take long to import."""
    backends = registry.load().backends
    some = {"unetpp": backends["unetpp"], "floor_majority": backends["floor_majority"]}
    monkeypatch.setattr(registry.load(), "backends", some)


def weights(*given, **on):
    return list(belongings.weights(doctor.Asked(OnData(machine.Path("w"), **on), given)))


def test_weights_in_the_cache_and_not(cache, one_model, monkeypatch):
    found = {finding.text.split()[0]: finding for finding in weights()}
    assert found["smp-hub/resnet34.imagenet"].state == "ok"
    assert "in the cache" in found["smp-hub/resnet34.imagenet"].text
    (snapshot,) = cache.glob("models--smp-hub*/snapshots/*")
    snapshot.rename(snapshot.with_name("1" * 40))  # of another revision, which is not loaded
    monkeypatch.setattr("benchbcss.weights.hub.reachable", lambda: False)
    (finding,) = [f for f in weights() if f.text.startswith("smp-hub/resnet34.imagenet")]
    assert f"hf download smp-hub/resnet34.imagenet --revision {REVISION};" in finding.remedy
    monkeypatch.setattr("benchbcss.weights.hub.reachable", lambda: True)
    for path in cache.rglob("*.safetensors"):
        path.unlink()
    found = {finding.text.split()[0]: finding for finding in weights()}
    assert "will be fetched" in found["smp-hub/resnet34.imagenet"].text
    monkeypatch.setattr("benchbcss.weights.hub.reachable", lambda: False)
    found = {finding.text.split()[0]: finding for finding in weights()}
    finding = found["smp-hub/resnet34.imagenet"]
    assert finding.state == "note"
    assert "hf download smp-hub/resnet34.imagenet" in finding.remedy
    clip = next(f for f in found.values() if "CLIP" in f.text)
    assert "--clip-weights" in clip.remedy


def test_a_model_whose_code_fails_hides_no_other(cache, one_model, monkeypatch):
    from benchbcss.registry import Registered

    whole = Registered.load

    def load(entry):
        if entry.name == "unetpp":
            raise SystemExit("theirs")
        return whole(entry)

    monkeypatch.setattr(Registered, "load", load)
    found = weights()
    assert [f.text for f in found if f.state == "problem"] == ["unetpp: SystemExit: theirs"]
    assert any("CLIP" in finding.text for finding in found)


@pytest.mark.parametrize(
    ("repository", "told"), [("a/b@v2", "a/b for CLIP"), ("a/b", "a/b for CLIP"), (None, "")]
)
def test_clips_repository_is_read_as_any_other(cache, one_model, monkeypatch, repository, told):
    monkeypatch.setattr("benchbcss.weights.hub.reachable", lambda: False)
    monkeypatch.setattr("benchbcss.inference.clip.hub_repository", lambda *_: repository)
    found = [finding for finding in weights() if "for CLIP" in finding.text]
    assert [finding.text.startswith(told) for finding in found] == [True] * bool(told)
    if repository == "a/b@v2":
        assert "hf download a/b --revision v2;" in found[0].remedy


def test_an_executor_that_fails_is_a_problem_of_its_own(monkeypatch):
    from benchbcss.runs.executors.local import Local

    def examine():
        raise RuntimeError("no queue")
        yield

    monkeypatch.setattr(Local, "examine", examine)
    plugins = registry.load()
    monkeypatch.setattr(plugins, "executors", {"local": plugins.executors["local"]})
    found = {finding.topic: finding for finding in software.executors()}
    assert (found["local"].state, found["local"].text[:22]) == ("problem", "RuntimeError: no queue")


def test_a_suite_that_cannot_be_used_is_a_problem(monkeypatch, tmp_path):
    from benchbcss.kinds import SUITE

    (tmp_path / "odd.yaml").write_text("label_map: bcss55\nsplit: brief\n")
    source = registry.Source("odd", "odd-dist", "1")
    suites = {**registry.load().suites, "odd": SUITE.entry(source, tmp_path / "odd.yaml")}
    monkeypatch.setattr(registry.load(), "suites", suites)
    (problem,) = [finding for finding in software.plugins() if finding.state == "problem"]
    assert "suite 'odd' (plugin 'odd' of odd-dist 1) cannot be used: Suite " in problem.text
    assert "odd.yaml: label_map: There is no label map 'bcss55'" in problem.text
    assert "odd-dist" in problem.remedy


def test_without_any_cache(tmp_path, one_model, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    assert {finding.state for finding in weights()} == {"note"}


def test_weights_that_are_given(cache, one_model, tmp_path):
    save_file({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "good.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    names = ("good.safetensors", "torn.safetensors", "god.safetensors")
    found = weights(*(str(tmp_path / name) for name in names), "a/b", "none")[-5:]
    assert [f.state for f in found] == ["ok", "problem", "problem", "note", "ok"]
    assert found[0].text.endswith("2 tensors")
    assert "Did you mean good.safetensors" in found[2].text


#: they begin at random by design
WITHOUT_WEIGHTS = {"nnunet"}


def test_every_model_says_where_its_weights_are():
    from benchbcss.recipes import resolve

    for name, entry in registry.load().backends.items():
        recipe = {
            preset: resolve(entry.info.recipe, preset).model_dump(mode="json")
            for preset in ("full", "smoke")
        }
        source = entry.load().automatic_weights(recipe["full"])
        assert (source is None) == (name in WITHOUT_WEIGHTS or entry.info.floor), name
        entry.load().automatic_weights(recipe["smoke"])


def test_sound_data(folder, tmp_path):
    on = OnData(tmp_path / "w", "bcss5", folder, str(folder / "splits.csv"), "smoke")
    found = list(belongings.data(on))
    assert found[-1].state == "ok"
    assert "6 ROIs fit the suite 'bcss5'" in found[-1].text
    assert "the synthetic phantom is used" in only(belongings.data(OnData(tmp_path))).text


def test_data_with_a_damaged_file(folder, tmp_path):
    image = next((folder / "images").iterdir())
    image.write_bytes(image.read_bytes()[:-40])
    on = OnData(tmp_path / "w", "bcss5", folder, str(folder / "splits.csv"), "smoke")
    with pytest.raises(DataError, match=image.name):
        list(belongings.data(on))


# -- the command ------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Without what takes long, on a machine with room."""
    monkeypatch.setattr(machine, "devices", lambda: ())
    monkeypatch.setattr(machine, "memory", lambda: [doctor.Finding("memory", "ok", "enough")])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    monkeypatch.setattr(software, "executors", lambda: ())
    monkeypatch.setattr(belongings, "weights", lambda asked: ())


def test_a_problem_is_exit_1_and_stops_nothing_else(quick, folder, tmp_path):
    next((folder / "masks").iterdir()).unlink()
    arguments = ["--data", str(folder), "--workspace", str(tmp_path / "w"), "--suite", "bcss5"]
    arguments += ["--split", str(folder / "splits.csv")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 1
    assert "problem  data: " in done.stdout
    assert "1 problem" in done.stderr
    done = CliRunner().invoke(command, [*arguments, "--json"])
    assert done.exit_code == 1
    content = json.loads(done.stdout)
    assert content["problems"] == 1
    assert [f["topic"] for f in content["findings"] if f["state"] == "problem"] == ["data"]
    assert {"python", "packages", "plugins", "memory", "workspace"} <= {
        finding["topic"] for finding in content["findings"]
    }
    assert set(content["findings"][0]) == {"topic", "state", "text", "remedy"}


def test_notes_are_exit_0(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "memory", lambda: [doctor.Finding("memory", "note", "small")])
    done = CliRunner().invoke(command, ["--workspace", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "note     memory: small" in done.stdout


def test_an_examination_that_breaks_is_a_problem_of_its_own(quick, monkeypatch, tmp_path):
    def broken():
        raise RuntimeError("boom")

    monkeypatch.setattr(machine, "memory", broken)
    done = CliRunner().invoke(command, ["--workspace", str(tmp_path), "--format", "json"])
    found = {f["topic"]: f for f in json.loads(done.stdout)["findings"]}
    assert found["memory"]["text"] == "it cannot be examined: RuntimeError: boom"
    assert "workspace" in found


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom benchbcss.cli.main import cli\n"
        "try:\n    cli.main(['doctor', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_whole_of_it(folder, tmp_path):
    write_folder(folder, {})
    options = ("--suite", "bcss5", "--split", folder / "splits.csv", "--workspace", tmp_path / "w")
    done = cli("doctor", "--data", folder, *options, "--json")
    content = json.loads(done.stdout)
    assert done.returncode == (content["problems"] > 0)
    topics = [finding["topic"] for finding in content["findings"]]
    assert list(dict.fromkeys(topics)) == [
        *("python", "packages", "plugins", "devices", "memory", "workspace", "weights"),
        *("data", "slurm"),
    ]
