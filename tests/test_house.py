"""The rules of the house, read from the source: who imports whom, what the core must not know."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "benchbcss"
#: importable by every other module of ours, and importing none but one another
GROUND = (
    "contract",
    "errors",
    "events",
    "protocols",
    "presets",
    "io",
    "temporary",
    "results.schema",
)


def modules():
    """Name below ``benchbcss`` -> syntax tree."""
    found = {}
    for path in sorted(CORE.rglob("*.py")):
        parts = path.relative_to(CORE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def _nodes(tree, lazy):
    """Statements that run when the module is imported; ``lazy``: those in functions as well, but
    what is imported for type checkers alone never."""
    for node in ast.iter_child_nodes(tree):
        test = getattr(node, "test", None)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(test):
            continue
        if not lazy and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        yield node
        yield from _nodes(node, lazy)


def imports(name, lazy=False):
    """Modules of ours that ``name`` imports, below ``benchbcss``."""
    found = set()
    for node in _nodes(MODULES[name], lazy):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for full in names:
            if full.split(".")[0] != "benchbcss":
                continue
            below = full.removeprefix("benchbcss").lstrip(".")
            while below and below not in MODULES:
                below = below.rpartition(".")[0]
            found.add(below)
    return found - {name}


def package(name):
    return name.partition(".")[0]


def test_the_ground_imports_nothing_above_it():
    for name in GROUND:
        above = {other for other in imports(name) if other not in GROUND and other}
        assert not above, f"{name} imports {above}"


@pytest.mark.parametrize(
    ("below", "never"),
    [
        ("scoring", {"data", "tracks", "results", "runs", "board", "training", "inference", "cli"}),
        ("data", {"tracks", "results", "runs", "board", "training", "inference", "cli"}),
        ("inference", {"tracks", "results", "runs", "board", "training", "cli"}),
        ("tracks", {"results", "runs", "board", "training", "cli"}),
        ("training", {"results", "runs", "board", "cli"}),
        ("results", {"runs", "board", "training", "cli"}),
        ("runs", {"board", "cli"}),
        ("board", {"runs", "training", "cli", "inference"}),
    ],
)
def test_no_import_runs_back_up(below, never):
    for name in MODULES:
        if package(name) == below:
            above = {
                other
                for other in imports(name, lazy=True)
                if package(other) in never and other not in GROUND
            }
            assert not above, f"{name} imports {above}"


def test_scoring_imports_itself_and_the_ground_alone():
    for name in MODULES:
        if package(name) == "scoring":
            others = {o for o in imports(name, lazy=True) if package(o) != "scoring"}
            assert others <= set(GROUND), f"{name} imports {others}"


def test_there_is_no_circle():
    seen, done = [], set()

    def visit(name):
        assert name not in seen, f"a circle of imports: {' -> '.join([*seen, name])}"
        if name in done:
            return
        seen.append(name)
        for other in imports(name):
            if other:  # the package itself is imported by all of its modules
                visit(other)
        seen.pop()
        done.add(name)

    for name in MODULES:
        visit(name)


def test_only_the_tracks_know_a_tracks_name():
    """Elsewhere a track is an object that is called."""
    for name, tree in MODULES.items():
        if package(name) in ("tracks", "contract"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in ("semantic", "prompted"):
                known = name == "protocols"  # what a metric says it measures
                assert known, f"{name}:{node.lineno} names the track '{node.value}'"


def _names():
    """Backends and plugins of this repository, and the classes of its label maps."""
    import yaml

    from benchbcss import registry

    plugins = {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()}
    maps = yaml.safe_load((CORE / "data" / "label_maps.yaml").read_text(encoding="utf-8"))
    classes = {name for one in maps.values() for name in one["classes"]} - {"other"}
    generic = {"floors", "trackers", "hf"}  # words in use before they were folders
    return (set(registry.load().backends) | plugins | classes) - generic


def test_the_core_names_no_plugin_no_backend_and_no_tissue():
    """Label maps, prompts and the phantom's figures are data; docstrings may give examples."""
    words = re.compile(rf"\b({'|'.join(sorted(_names()))})\b")
    named = []
    for name, tree in MODULES.items():
        if name.startswith("data.phantom"):  # draws BCSS's tissues
            continue
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in docstrings:
                named += [f"{name}:{node.lineno} {word}" for word in words.findall(text)]
    assert not named


def test_functions_take_objects_rather_than_many_parameters():
    """Commands take one parameter per option: click passes them by name."""
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or node.decorator_list:
                continue
            arguments = node.args
            count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
            count -= bool(arguments.args) and arguments.args[0].arg in ("self", "cls")
            assert count <= 8, f"{name}:{node.lineno} {node.name} takes {count} parameters"


def test_one_ignore_and_no_second_definition():
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
                if "IGNORE" in targets:
                    assert name == "contract", f"{name}:{node.lineno} defines IGNORE again"
