"""Whatever the code imports is declared in pyproject.toml, where it is needed, and the reverse."""

import ast
import sys
import tomllib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchbcss import registry

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
PLUGINS = sorted(path.name for path in (ROOT / "plugins").glob("*/benchbcss_*"))
HELPERS = {path.stem for path in (ROOT / "tests").glob("*.py")}  # pytest's pythonpath
OURS = {"benchbcss", "benchbcss_suites", "benchmarks", *HELPERS, *PLUGINS}

# Declared, and imported by no line of this repository.
UNSEEN = {
    "hydra-core": "sam2 needs it; sam2's own sdist is installed without dependencies",
    "iopath": "sam2 needs it",
    "tqdm": "sam2 needs it",
    "tensorboard": "torch.utils.tensorboard needs it",
    "mypy": "a command",
    "pre-commit": "a command",
    "pytest-timeout": "a pytest plugin, configured in pyproject.toml",
    "pytest-xdist": "a pytest plugin, `make test` uses -n",
    "ruff": "a command",
    "types-pyyaml": "mypy reads it",
    "tifffile": "data layouts in TIFF",
    "furo": "the theme of the documentation site",
    "myst-parser": "Sphinx reads the pages by it",
    "sphinx-copybutton": "an extension of the documentation site",
    "statsmodels": "an oracle of the statistics",
}

# Modules that `make test` does not install, and what imports them.
ABSENT = {
    "nnunetv2": "the extra nnunet, which wants another timm; its tests are skipped without it",
    "segment_anything": "an oracle that is on GitHub alone; its test is skipped without it",
}


def declared(*extras):
    """Canonical names of the core's dependencies and of those extras."""
    texts = PROJECT["project"]["dependencies"] + [t for extra in extras for t in EXTRAS[extra]]
    return {canonicalize_name(Requirement(text).name) for text in texts}


@lru_cache(maxsize=1)
def distributions():
    return metadata.packages_distributions()


def imports(path, top_level=False):
    """Third-party modules that a file imports; ``top_level``: only when it is itself imported."""

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if top_level and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if top_level and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            yield child
            yield from walk(child)

    names = set()
    for node in walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
            assert isinstance(node.args[0], ast.Constant), f"{path}: name the module as text"
            names.add(node.args[0].value.partition(".")[0])
    return names - set(sys.stdlib_module_names) - OURS


def undeclared(folder, allowed, top_level=False):
    """``file: module`` of each import whose distribution is not among the allowed ones."""
    paths = sorted(folder.rglob("*.py"))
    assert paths, folder
    problems = []
    for path in paths:
        siblings = {other.stem for other in path.parent.iterdir()}
        for name in sorted(imports(path, top_level) - siblings - set(ABSENT)):
            found = {canonicalize_name(each) for each in distributions().get(name, [])}
            if not found & allowed:
                problems.append(f"{path.relative_to(ROOT)}: {name} ({', '.join(found) or '?'})")
    return problems


def test_importing_the_core_needs_the_cores_dependencies_alone():
    assert undeclared(ROOT / "benchbcss", declared(), top_level=True) == []


def test_the_core_imports_only_what_is_declared():
    # pytest is imported by parametrize_with_checks, in the tests of plugin authors, who have it.
    everything = declared(*(set(EXTRAS) - {"all", "bench", "test"})) | {"pytest"}
    assert undeclared(ROOT / "benchbcss", everything) == []


@pytest.mark.parametrize("package", PLUGINS)
def test_a_plugin_imports_the_core_and_its_own_extra(package):
    extras = {
        entry.info.extra
        for kind in registry.load().kinds.values()
        for entry in kind.values()
        if entry.target.startswith(package) and entry.info.extra
    }
    (folder,) = (ROOT / "plugins").glob(f"*/{package}")
    assert undeclared(folder, declared(*extras)) == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_tests_and_benchmarks_import_what_make_test_installs(folder):
    build = {Requirement(text).name for text in PROJECT["dependency-groups"]["build"]}
    assert undeclared(ROOT / folder, declared(*(set(EXTRAS) - {"all"})) | build) == []


def test_whatever_is_declared_is_imported_or_has_a_reason():
    imported = {
        canonicalize_name(distribution)
        for folder in ("benchbcss", "plugins", "benchmarks", "tests", "docs")
        for path in (ROOT / folder).rglob("*.py")
        for name in imports(path)
        for distribution in distributions().get(name, [])
    }
    assert declared(*(set(EXTRAS) - {"all"})) - imported - set(UNSEEN) - set(ABSENT) == set()
    assert set(UNSEEN) <= declared(*(set(EXTRAS) - {"all"}))  # no reason outlives its entry
