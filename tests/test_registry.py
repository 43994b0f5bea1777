import json
import types

import pytest
from tests_support import cli

from benchbcss import hookspecs, registry
from benchbcss.contract import BackendInfo
from benchbcss.errors import PluginError, UnknownNameError
from benchbcss.protocols import MetricInfo
from benchbcss.registry import Plugins, Source


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


def test_what_ships_with_the_core_is_registered_by_the_same_hooks():
    found = registry.load()
    core = found.sources[0]
    assert (core.plugin, core.distribution) == ("core", "benchbcss")
    provided = found.provides(core)
    assert set(provided["metrics"]) >= {"dice", "iou", "precision", "recall"}
    assert provided["executors"] == ["local"]
    assert set(provided["exporters"]) >= {"table", "json", "csv", "md"}
    assert {"run", "leaderboard", "plugins"} <= set(provided["commands"])
    assert found.trackers["tensorboard"].source.plugin == "trackers"
    assert {"clip", "probe", "clip_probe"} <= set(found.labellers)


@pytest.mark.parametrize("kind", list(Plugins().kinds))
def test_every_built_in_can_be_loaded(kind):
    for entry in registry.load().kinds[kind].values():
        if not entry.missing():
            assert entry.load() is not None


def test_every_kind_has_a_hook_and_every_hook_a_kind():
    hooks = [name for name in vars(hookspecs) if name.startswith("benchbcss_register_")]
    assert hooks == [f"benchbcss_register_{kind}" for kind in Plugins().kinds]


def test_the_contract_imports_neither_torch_nor_numpy():
    import subprocess
    import sys

    code = (
        "import sys, benchbcss, benchbcss.registry as r; r.load(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'pandas', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_plugin_that_raises_harms_nobody():
    found = Plugins()
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
    found = Plugins()
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
    found = Plugins()
    found.add(plugin("mine"), Source("first", "dist-a", "1"))
    thief = Source("thief", "dist-b", "2")
    found.add(plugin("mine"), thief)
    assert found.backends["mine"].source.plugin == "first"
    assert (
        "of plugin 'thief' of dist-b 2 is taken by plugin 'first' of dist-a 1"
        in (found.broken[thief])
    )


def of_kind(kind, *arguments, **options):
    """A plugin that registers one thing of ``kind``."""
    module = types.ModuleType(kind)

    def hook(register):
        register(*arguments, **options)

    setattr(module, f"benchbcss_register_{kind}", hookspecs.hookimpl(hook))
    return module


SAMPLES = {
    "backends": (info("name"), "a.b:C"),
    "suites": ("/some/name.yaml",),
    "metrics": (MetricInfo(name="name"), "a.b:c"),
}


@pytest.mark.parametrize("kind", list(Plugins().kinds))
def test_every_kind_refuses_a_taken_name_and_undoes_a_broken_plugin(kind):
    arguments = SAMPLES.get(kind, ("name", "a.b:c"))
    found = Plugins()
    first, second = Source("first", "dist-a", "1"), Source("second", "dist-b", "2")
    found.add(of_kind(kind, *arguments), first)
    assert list(found.kinds[kind]) == ["name"]

    both = of_kind("backends", info("other"), "a.b:C") if kind != "backends" else plugin("other")
    setattr(
        both,
        f"benchbcss_register_{kind}",
        hookspecs.hookimpl(lambda register: register(*arguments)),
    )
    found.add(both, second)
    noun = found.kinds[kind].kind.noun
    assert f"the {noun} 'name' of {second} is taken by {first}" == found.broken[second]
    everything = [(plural, name) for plural, kinds in found.kinds.items() for name in kinds]
    assert everything == [(kind, "name")]
    assert found.sources == [first]
    with pytest.raises(UnknownNameError, match=f"There is no {noun} 'nane'. Did you mean 'name'"):
        found.kinds[kind].find("nane")


@pytest.mark.parametrize("kind", [kind for kind in Plugins().kinds if kind not in SAMPLES])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("name", "module.name"), "must be registered as 'package.module:name'"),
        (("name", None), "must be registered as 'package.module:name'"),
        (("../name", "a:b"), "cannot be the name of a"),
        (("", "a:b"), "cannot be the name of a"),
        ((None, "a:b"), "cannot be the name of a"),
        (("name",), "missing a required argument: 'target'"),
        (("nul", "a:b"), "operating systems keep that name"),
        (("a" * 101, "a:b"), "longer than 100 bytes"),
    ],
)
def test_what_cannot_be_registered_says_why(kind, arguments, words):
    found = Plugins()
    source = Source("odd", "dist", "1")
    found.add(of_kind(kind, *arguments), source)
    assert words in found.broken[source]
    assert len(found.kinds[kind]) == 0


@pytest.mark.parametrize(
    ("kind", "arguments", "options", "words"),
    [
        ("backends", ("mine", "a:b"), {}, "takes a BackendInfo"),
        ("metrics", ("mine", "a:b"), {}, "takes a MetricInfo"),
        ("metrics", (MetricInfo(name="a.b"), "a:b"), {}, "has a dot"),
        ("exporters", ("mine", "a:b"), {"extension": "txt"}, "without a dot"),
        ("trackers", ("mine", "a:b"), {"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_each_kind_checks_its_description(kind, arguments, options, words):
    found = Plugins()
    source = Source("odd", "dist", "1")
    found.add(of_kind(kind, *arguments, **options), source)
    assert words in found.broken[source]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("executors", "not a subclass of benchbcss.runs.executors.Executor"),
        ("trackers", "not a subclass of benchbcss.protocols.Tracker"),
        ("labellers", "not a subclass of benchbcss.protocols.Labeller"),
        ("commands", "not a click.Command"),
    ],
)
def test_code_of_another_kind_is_refused_when_it_is_used(kind, words):
    found = Plugins()
    found.add(of_kind(kind, "mine", "pathlib:Path"), Source("odd", "dist", "1"))
    with pytest.raises(PluginError, match=rf"pathlib:Path \(plugin 'odd' of dist 1\) is {words}"):
        found.kinds[kind].find("mine").load()


def test_what_a_thing_needs_is_told_before_it_is_imported():
    found = Plugins()
    needs = {"requires": ("no_such_module",), "extra": "big"}
    found.add(of_kind("trackers", "mine", "a:b", **needs), Source("odd", "dist", "1"))
    with pytest.raises(PluginError, match=r"needs no_such_module.*pip install 'dist\[big\]'"):
        found.trackers.find("mine").require()


def test_a_metric_says_where_it_belongs():
    assert MetricInfo(name="a").measures("prompted")
    assert not MetricInfo(name="a", track="semantic").measures("prompted")
    for options in ({"track": "all"}, {"direction": "up"}):
        with pytest.raises(ValueError, match="metric 'a'"):
            MetricInfo(name="a", **options)


def test_one_module_under_two_names_is_loaded_once():
    found = Plugins()
    module = plugin("mine")
    first = Source("first", "dist-a", "1")
    found.add(module, first)
    found.add(module, Source("second", "dist-a", "1"))
    found.add(plugin("other"), Source("first", "dist-b", "1"))
    assert list(found.backends) == ["mine"]
    assert found.sources == [first]
    assert len(found.broken) == 2
    assert found.hooks_of(first) == ["benchbcss_register_backends"]


def test_a_plugin_that_exits_while_registering_harms_nobody():
    found = Plugins()
    bad = types.ModuleType("bad")

    @hookspecs.hookimpl
    def benchbcss_register_commands(register):
        register("half", "a:b")
        raise SystemExit(3)

    bad.benchbcss_register_commands = benchbcss_register_commands
    source = Source("bad", "dist", "1")
    found.add(bad, source)
    assert found.broken[source] == "SystemExit: 3"
    assert len(found.commands) == 0


def test_near_misses_and_broken_plugins_are_named():
    found = Plugins()
    found.add(plugin("unetpp"), Source("u", "d", "1"))
    found.broken[Source("gone", "dist", "9")] = "ImportError: x"
    with pytest.raises(UnknownNameError, match=r"Did you mean 'unetpp'.*dist 9: ImportError: x"):
        found.backend("unetp")


@pytest.mark.parametrize(
    "target", ["no.such.module:X", "benchbcss.errors:Nothing", "leaves_at_once:X"]
)
def test_a_class_that_cannot_be_imported_names_the_remedy(target, tmp_path, monkeypatch):
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Plugins()
    found.add(plugin("mine", target), Source("p", "dist-a", "1.2"))
    with pytest.raises(PluginError, match=r"plugin 'p' of dist-a 1\.2\) cannot be imported"):
        found.backend("mine").load()


def test_a_class_that_is_no_backend():
    found = Plugins()
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


def hooks(**functions):
    """A plugin whose functions are as they are given."""
    module = types.ModuleType("theirs")
    for name, function in functions.items():
        setattr(module, name, function)
    return module


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({}, "theirs implements no hook: write one of docs/hooks.md"),
        (
            {"benchbcss_register_backends": lambda register: None},
            "the hook 'benchbcss_register_backends' is not marked with benchbcss.hookimpl",
        ),
        (
            {"benchbcss_register_backend": lambda register: None},
            "Did you mean 'benchbcss_register_backends'?",
        ),
        (
            {"benchbcss_run_finish": hookspecs.hookimpl(lambda event: None)},
            "there is no hook 'benchbcss_run_finish'. Did you mean 'benchbcss_run_",
        ),
        (
            {"benchbcss_register_readers": hookspecs.hookimpl(lambda reg: None)},
            "the hook 'benchbcss_register_readers' has no argument 'reg'; it has register",
        ),
    ],
)
def test_a_hook_that_would_never_be_called_is_named(functions, words):
    found, source = Plugins(), Source("odd", "dist", "1")
    found.add(hooks(**functions), source)
    assert words in found.broken[source]
    assert found.sources == []


def test_a_hook_may_have_another_name_and_arguments_of_its_own():
    def mine(register, suffix=""):
        register(info("mine" + suffix), "a:b")

    found, source = Plugins(), Source("odd", "dist", "1")
    marked = hookspecs.hookimpl(specname="benchbcss_register_backends")(mine)
    found.add(hooks(mine=marked, benchbcss_version="1"), source)
    assert (found.broken, list(found.backends)) == ({}, ["mine"])


@pytest.mark.parametrize("field", ["tracks", "requires", "open_settings"])
def test_a_name_where_names_belong_is_not_taken_apart(field):
    options = {"tracks": {"semantic"}, field: "torch"}
    with pytest.raises(TypeError, match=rf"{field} must hold names, such as \('torch',\)"):
        BackendInfo(name="x", summary="", recipe="p:r", **options)
    with pytest.raises(TypeError, match="requires must hold names"):
        MetricInfo(name="a", requires="torch")


def test_a_module_in_a_package_that_is_missing_is_missing():
    found = Plugins()
    needs = {"requires": ("no_such_package.part", "os.path.no_module", "json.decoder")}
    found.add(of_kind("trackers", "mine", "a:b", **needs), Source("odd", "dist", "1"))
    assert found.trackers["mine"].missing() == ["no_such_package.part", "os.path.no_module"]


def test_a_name_that_limits_plugins_and_is_none_is_a_mistake(monkeypatch):
    monkeypatch.setenv("BENCHBCSS_PLUGINS", "flors, suites")
    registry.load.cache_clear()
    try:
        with pytest.raises(UnknownNameError, match="no plugin 'flors'. Did you mean 'floors'"):
            registry.load()
        monkeypatch.setenv("BENCHBCSS_PLUGINS", "suites")
        with pytest.raises(UnknownNameError, match=r"BENCHBCSS_PLUGINS leaves out: .*floors"):
            registry.load().backends.find("floor_colour")
    finally:
        registry.load.cache_clear()


WRONG = {
    "prints": "import os; print('hello'); os.write(1, b'raw\\n'); from good import *",
    "raises": "def inner():\n    raise KeyError('one\\ntwo')\n\ninner()",
    "absent": "import no_such_dependency",
    "needs": "from good import plugin; benchbcss_register_backends = plugin("
    "'needs', requires=('no_such_package.part',))",
    "nowhere": "from good import plugin; benchbcss_register_backends = plugin("
    "'nowhere', recipe='no_such_package:r.yaml')",
    "acts": "from good import *\nfrom benchbcss import hookimpl\n\n@hookimpl\n"
    "def benchbcss_register_exporters(register):\n"
    "    register('xr', 'acts:exports', 'raises', extension='.xr')\n"
    "    register('xs', 'acts:short', 'takes one', extension='.xs')\n\n@hookimpl\n"
    "def benchbcss_register_commands(register):\n    register('act', 'acts:act', 'Act.')\n"
    "del benchbcss_register_backends",
    "suite": "from good import *\nfrom benchbcss import hookimpl\n\n@hookimpl\n"
    "def benchbcss_register_suites(register):\n    register('/no/such.yaml')\n"
    "del benchbcss_register_backends",
}
GOOD = """
from benchbcss import BackendInfo, hookimpl

def plugin(name, recipe="good:r.yaml", **options):
    @hookimpl
    def benchbcss_register_backends(register):
        info = BackendInfo(name=name, summary="s", tracks={"semantic"}, recipe=recipe, **options)
        register(info, "good:Missing")
    return benchbcss_register_backends

benchbcss_register_backends = plugin("printing")
"""


ACTS = """
import click

def exports(board, stream):
    raise KeyError("x")

def short(board):
    pass

@click.command()
def act():
    print({}["y"])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A distribution of plugins of which each has a fault of its own."""
    folder = tmp_path_factory.mktemp("site")
    about = folder / "wrong-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    points = [*(f"{name} = wrong_{name}" for name in WRONG), "torn = = x", "gone = no_such_module"]
    (about / "entry_points.txt").write_text("\n".join(["[benchbcss]", *points]))
    (folder / "good.py").write_text(GOOD)
    (folder / "acts.py").write_text(ACTS)
    for name, text in WRONG.items():
        (folder / f"wrong_{name}.py").write_text(text)
    return folder


def test_strangers_with_faults_spoil_no_list_and_no_output(site):
    done = cli("backends", "--format", "json", site=site, check=0)
    rows = {row["backend"]: row["ready"] for row in json.loads(done.stdout)}
    assert rows["floor_colour"] == rows["printing"] == rows["nowhere"] == "yes"
    assert rows["needs"].startswith("needs no_such_package.part: ")
    assert "raised" not in done.stderr
    for said in (
        "plugin 'raises' of wrong 1.0 is not loaded: KeyError: 'one\\ntwo' "
        "(wrong_raises.py, line 2)",
        "'absent' of wrong 1.0 is not loaded: ModuleNotFoundError: No module named "
        "'no_such_dependency' (wrong_absent.py, line 1)",
        "plugin 'torn' of wrong 1.0 is not loaded: its entry point is '= x', not 'package.module'",
        "plugin 'gone' of wrong 1.0 is not loaded: ModuleNotFoundError: No module named",
        "hello",
    ):
        assert said in done.stderr
    done = cli("suites", "--format", "json", site=site, check=0)
    assert "phantom" in {row["suite"] for row in json.loads(done.stdout)}
    assert "warning: suite 'such' (plugin 'suite' of wrong 1.0) cannot be used: " in done.stderr
    done = cli("show", "nowhere", site=site, check=2)
    assert "The recipe 'no_such_package:r.yaml' cannot be found" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("leaderboard", "--format", "xr"), "The exporter 'xr' ({}) raised KeyError: 'x' (acts.py"),
        (("leaderboard", "--output", "b.xs"), "The exporter 'xs' ({}) raised TypeError: short() "),
        (("act",), "{} raised KeyError: 'y' (acts.py, line 12). BENCHBCSS_TRACEBACK=1 shows"),
    ],
)
def test_what_a_plugin_raises_in_a_command_is_one_sentence(site, tmp_path, arguments, words):
    where = () if arguments == ("act",) else ("--workspace", tmp_path)
    done = cli(*arguments, *where, site=site, check=1)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: " + words.format("plugin 'acts' of wrong 1.0"))
    assert "Traceback" not in done.stderr
