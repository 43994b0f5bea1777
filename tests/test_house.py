"""The rules of the house, read from the source: who imports whom, what the core must not know."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "benchbcss"
#: importable by every other module of ours, and importing none but one another
GROUND = (
    *("contract", "errors", "events", "hookspecs", "protocols", "presets", "io", "cores"),
    "temporary",
    "results.schema",
)


def modules():
    """Name below ``benchbcss`` -> syntax tree."""
    trees = {}
    for path in sorted(CORE.rglob("*.py")):
        parts = path.relative_to(CORE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


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
    imported = set()
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
            imported.add(below)
    return imported - {name}


def foreign(name):
    """Top-level packages that ``name`` imports and that are neither ours nor Python's own."""
    packages = set()
    for node in _nodes(MODULES[name], lazy=True):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.partition(".")[0])
    return packages - sys.stdlib_module_names - {"benchbcss"}


def package(name):
    return name.partition(".")[0]


def test_the_ground_imports_nothing_above_it():
    for name in GROUND:
        above = {other for other in imports(name) if other not in GROUND and other}
        assert not above, f"{name} imports {above}"


UPPER = {"data", "tracks", "results", "runs", "board", "training", "inference", "cli"}


@pytest.mark.parametrize(
    ("below", "never"),
    [
        ("scoring", UPPER),
        ("weights", UPPER),
        ("registry", UPPER),
        ("recipes", UPPER),
        ("suites", UPPER - {"data"}),
        ("data", UPPER - {"data"}),
        ("inference", UPPER - {"data", "inference"}),
        ("tracks", {"results", "runs", "board", "training", "cli"}),
        ("training", {"results", "runs", "board", "cli"}),
        ("results", {"runs", "board", "training", "cli"}),
        ("runs", {"board", "cli"}),
        ("board", {"runs", "training", "cli", "inference", "report"}),
        ("report", {"runs", "training", "cli", "inference"}),
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
            strangers = foreign(name) - {"numpy", "scipy", "cv2", "PIL", "yaml"}
            assert not strangers, f"{name} imports {strangers}"


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
    # words in use before they were folders; of nnunet, the core reads label maps and splits
    generic = {"floors", "trackers", "hf", "nnunet"}
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


def trees():
    """Place -> syntax tree of every module of the core and of the built-in plugins."""
    for root in (CORE, ROOT / "plugins"):
        for path in sorted(root.rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def functions():
    """(place, node) of every function of the core and of the built-in plugins."""
    for place, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{place}:{node.lineno} {node.name}", node


def _is_command(node):
    """Whether click calls it: with one parameter per option, by name."""
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return re.search(r"\.?(command|group)\(", decorators) is not None


def test_functions_take_objects_rather_than_many_parameters():
    """Commands may take more: one parameter per option, which click passes by name."""
    for place, node in functions():
        arguments = node.args
        count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        count -= bool(arguments.args) and arguments.args[0].arg in ("self", "cls")
        assert count <= 8 or _is_command(node), f"{place} takes {count} parameters"


def test_functions_are_short_enough_to_be_read_at_once():
    """At most 60 lines, docstring left out; none is exempt."""
    for place, node in functions():
        documented = ast.get_docstring(node) is not None and len(node.body) > 1
        lines = node.end_lineno - node.body[documented].lineno + 1
        assert lines <= 60, f"{place} has {lines} lines"


def test_local_names_say_what_a_thing_is():
    """``found``, ``own`` and ``each`` tell where a value came from, not what it is."""
    vague = {"found", "own", "each"}
    for place, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            elif isinstance(node, ast.Attribute):
                name = node.attr
            elif isinstance(node, (ast.arg, ast.keyword)):
                name = node.arg
            elif isinstance(node, ast.alias):
                name = node.asname
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)):
                name = node.name
            else:
                continue
            line = getattr(node, "lineno", "?")
            assert name not in vague, f"{place}:{line} calls something '{name}'"


def test_one_ignore_and_no_second_definition():
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
                if "IGNORE" in targets:
                    assert name == "contract", f"{name}:{node.lineno} defines IGNORE again"
