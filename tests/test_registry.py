import types

import pytest

from benchbcss import hookspecs, registry
from benchbcss.contract import BackendInfo
from benchbcss.errors import PluginError, UnknownNameError
from benchbcss.registry import Source, new_registry


def info(name="mine", **options):
    return BackendInfo(name=name, summary="s", tracks={"semantic"}, recipe="p:r.yaml", **options)


def plugin(name="mine", target="package.module:Class"):
    module = types.ModuleType(name)

    @hookspecs.hookimpl
    def benchbcss_register_backends(register):
        register(info(name), target)

    module.benchbcss_register_backends = benchbcss_register_backends
    return module


def test_built_ins_are_ordinary_plugins():
    found = registry.load()
    assert {
        "sam2_v3",
        "mask2former",
        "unetpp",
        "floor_majority",
        "floor_colour",
        "floor_box_fill",
    } <= set(found.backends)
    assert not found.broken
    assert {entry.source.distribution for entry in found.backends.values()} == {"benchbcss"}


def test_the_contract_imports_neither_torch_nor_numpy():
    import subprocess
    import sys

    code = (
        "import sys, benchbcss, benchbcss.registry as r; r.load(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'pandas', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_plugin_that_raises_harms_nobody():
    found = new_registry()
    bad = types.ModuleType("bad")

    @hookspecs.hookimpl
    def benchbcss_register_backends(register):
        register(info("half"), "a:b")
        raise RuntimeError("boom")

    bad.benchbcss_register_backends = benchbcss_register_backends
    found.add(plugin("first"), Source("first", "dist-a", "1"))
    found.add(bad, Source("bad", "dist-b", "2"))
    found.add(plugin("last"), Source("last", "dist-c", "3"))
    assert sorted(found.backends) == ["first", "last"]
    assert found.broken == {Source("bad", "dist-b", "2"): "RuntimeError: boom"}


def test_a_misspelt_hook_is_an_error_naming_its_plugin():
    found = new_registry()
    bad = types.ModuleType("bad")

    @hookspecs.hookimpl
    def benchbcss_register_backend(register):
        pass

    bad.benchbcss_register_backend = benchbcss_register_backend
    source = Source("bad", "dist-b", "2")
    found.add(bad, source)
    assert "benchbcss_register_backend" in found.broken[source]
    found.add(plugin("next"), Source("next", "d", "1"))
    assert list(found.backends) == ["next"]


def test_a_taken_name_stays_with_its_owner():
    found = new_registry()
    found.add(plugin("mine"), Source("first", "dist-a", "1"))
    thief = Source("thief", "dist-b", "2")
    found.add(plugin("mine"), thief)
    assert found.backends["mine"].source.plugin == "first"
    assert "taken by plugin 'first' of dist-a 1" in found.broken[thief]


def test_near_misses_and_broken_plugins_are_named():
    found = new_registry()
    found.add(plugin("unetpp"), Source("u", "d", "1"))
    found.broken[Source("gone", "dist", "9")] = "ImportError: x"
    with pytest.raises(UnknownNameError, match=r"Did you mean 'unetpp'.*dist 9: ImportError: x"):
        found.backend("unetp")


@pytest.mark.parametrize("target", ["no.such.module:X", "benchbcss.errors:Nothing"])
def test_a_class_that_cannot_be_imported_names_the_remedy(target):
    found = new_registry()
    found.add(plugin("mine", target), Source("p", "dist-a", "1.2"))
    with pytest.raises(PluginError, match=r"plugin 'p' of dist-a 1\.2\) cannot be imported"):
        found.backend("mine").load()


def test_a_class_that_is_no_backend():
    found = new_registry()
    found.add(plugin("mine", "pathlib:Path"), Source("p", "d", "1"))
    with pytest.raises(PluginError, match="not a subclass"):
        found.backend("mine").load()


def test_tracks_are_checked():
    with pytest.raises(ValueError, match="tracks must be"):
        BackendInfo(name="x", summary="", tracks={"semantics"}, recipe="p:r")


def test_loading_can_be_limited(monkeypatch):
    monkeypatch.setenv("BENCHBCSS_PLUGINS", "floors")
    registry.load.cache_clear()
    try:
        assert sorted(registry.load().backends) == [
            "floor_box_fill",
            "floor_colour",
            "floor_majority",
        ]
    finally:
        registry.load.cache_clear()


def test_a_plugin_broken_on_import_is_kept_with_its_reason(monkeypatch):
    from importlib import metadata

    real = metadata.entry_points

    def with_a_bad_one(**options):
        bad = metadata.EntryPoint("bad", "no_such_module_anywhere", registry.GROUP)
        return metadata.EntryPoints([*real(**options), bad])

    monkeypatch.setattr(metadata, "entry_points", with_a_bad_one)
    registry.load.cache_clear()
    try:
        found = registry.load()
        assert "no_such_module_anywhere" in next(iter(found.broken.values()))
        assert "unetpp" in found.backends
    finally:
        registry.load.cache_clear()
