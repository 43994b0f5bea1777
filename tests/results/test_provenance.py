"""An edited plugin, or an edited core, is run again."""

import sys
from importlib import metadata

import pytest
from tests_support import cli

from benchbcss.results import provenance

PLUGIN = """
from benchbcss import hookimpl
from benchbcss.contract import Backend, BackendInfo


@hookimpl
def benchbcss_register_backends(register):
    info = BackendInfo("fixed", "one label", {"semantic"}, "fixed:recipe.yaml", trains=False)
    register(info, "fixed:Fixed")


class Fixed(Backend):
    def build(self):
        import torch

        return torch.nn.Identity()

    def predict_roi(self, model, image):
        import numpy as np

        return np.full(image.shape[:2], LABEL, np.uint8)


LABEL = 0
"""


@pytest.fixture
def site(tmp_path):
    site = tmp_path / "site"
    (site / "fixed").mkdir(parents=True)
    (site / "fixed" / "__init__.py").write_text(PLUGIN)
    (site / "fixed" / "recipe.yaml").write_text("name: fixed\ntrain: null\n")
    info = site / "fixed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fixed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[benchbcss]\nfixed = fixed\n")
    return site


def planned(phantom, site, tmp_path):
    """The folder that the run would have."""
    common = ("--data", phantom, "--no-floors", "--workspace", tmp_path / "w", "--dry-run")
    done = cli("run", "fixed", *common, site=site, check=0)
    return done.stdout.split()[-1]


def test_an_edited_plugin_is_run_again(phantom, site, tmp_path):
    first = planned(phantom, site, tmp_path)
    assert planned(phantom, site, tmp_path) == first
    (site / "fixed" / "notes.txt").write_text("not source")
    assert planned(phantom, site, tmp_path) == first
    (site / "fixed" / "__init__.py").write_text(PLUGIN.replace("LABEL = 0", "LABEL = 1"))
    assert planned(phantom, site, tmp_path) != first


def test_an_edited_recipe_file_or_module_beside_it_counts_too(phantom, site, tmp_path):
    first = planned(phantom, site, tmp_path)
    (site / "fixed" / "helper.py").write_text("x = 1\n")
    second = planned(phantom, site, tmp_path)
    (site / "fixed" / "helper.py").write_text("x = 2\n")
    assert len({first, second, planned(phantom, site, tmp_path)}) == 3


def test_an_edited_base_in_another_plugin_changes_the_hash(tmp_path, monkeypatch):
    """Directly or through a third one; what derives from a plugin does not change its hash."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = {
        "ground_plugin": "class Base: size = 1",
        "middle_plugin": "from ground_plugin import Base",
        "top_plugin": "def build():\n    import middle_plugin.parts\n    return middle_plugin",
        "lone_plugin": '"""Like ground_plugin."""',
    }
    for name, source in modules.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source)
    monkeypatch.setattr(provenance, "_plugin_packages", lambda: frozenset(modules))

    def digests():
        provenance.code_digest.cache_clear()
        return {name: provenance.code_digest(f"{name}.model:Model") for name in modules}

    def changed(name):
        before = digests()
        (tmp_path / name / "__init__.py").write_text(modules[name] + "\n# edited")
        after = digests()
        return {name for name in modules if before[name] != after[name]}

    assert changed("ground_plugin") == {"ground_plugin", "middle_plugin", "top_plugin"}
    assert changed("middle_plugin") == {"middle_plugin", "top_plugin"}
    assert changed("top_plugin") == {"top_plugin"}
    assert changed("lone_plugin") == {"lone_plugin"}
    provenance.code_digest.cache_clear()


def test_packages_of_plugins_are_known():
    packages = provenance._plugin_packages()
    assert {"benchbcss_floors", "benchbcss_sam2"} <= packages
    assert all(name.isidentifier() for name in packages), "suites are files, not packages"
    assert "benchbcss" not in packages


def test_code_without_other_plugins_keeps_its_hash():
    """Fingerprints of finished runs stay."""
    for target in ("benchbcss_unetpp:x", "benchbcss_floors:x"):
        place = provenance._place(provenance._top(target))
        assert provenance.code_digest(target) == provenance._digest([place])


def test_what_can_change_a_number_of_the_core_is_hashed(tmp_path):
    for part in provenance.NUMERIC:
        assert (provenance.Path(provenance.__file__).parents[1] / part).exists(), part
    (tmp_path / "a.py").write_text("x = 1")
    first = provenance._digest([tmp_path])
    (tmp_path / "a.py").write_text("x = 2")
    second = provenance._digest([tmp_path])
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, provenance._digest([tmp_path])}) == 3


def test_a_module_that_is_no_package_is_hashed_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lonely_plugin.py").write_text("x = 1")
    (tmp_path / "other.py").write_text("y = 1")
    first = provenance.code_digest("lonely_plugin:x")
    provenance.code_digest.cache_clear()
    (tmp_path / "other.py").write_text("y = 2")
    assert provenance.code_digest("lonely_plugin:x") == first
    provenance.code_digest.cache_clear()
    (tmp_path / "lonely_plugin.py").write_text("x = 2")
    assert provenance.code_digest("lonely_plugin:x") != first
    sys.modules.pop("lonely_plugin", None)


def test_versions_are_of_the_distributions_that_own_the_modules():
    """The oracle reads every path of every installed file."""
    owners = metadata.packages_distributions()
    some = [name for name in owners if name in ("sklearn", "hydra", "PIL", "timm", "yaml", "cv2")]
    assert len(some) > 3
    for module in [*some, "torch", "no_such_module"]:
        expected = {name: metadata.version(name) for name in owners.get(module, ())}
        added = provenance.versions(module).items() - provenance.versions().items()
        assert added == expected.items() - provenance.versions().items(), module
    assert sorted(set(owners["torch"])) == provenance._owners(["torch"])
