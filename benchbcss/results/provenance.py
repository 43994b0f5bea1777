"""What a number was made by: versions of packages, the code itself, device and cost."""

from __future__ import annotations

import hashlib
import re
import resource
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from benchbcss import registry

PACKAGES = (
    "benchbcss",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "accelerate",
    "pillow",
    "scikit-learn",
)

#: parts of the core that can change a number; an edited board or command line changes none
NUMERIC = (
    "contract.py",
    "data",
    "inference",
    "io.py",
    "presets.py",
    "recipes.py",
    "results/evaluate.py",
    "runs/predict.py",
    "runs/setup.py",
    "runs/train.py",
    "scoring",
    "suites.py",
    "tracks",
    "training",
    "weights",
)
SOURCE = (".py", ".yaml", ".yml", ".json", ".tsv", ".csv")


def versions(*modules: str) -> dict[str, str]:
    """Of Python, of what every run uses, and of the distributions that own ``modules``."""
    import platform

    names = [*PACKAGES, *(_owners(modules) if modules else ())]
    installed = {"python": platform.python_version()}
    for name in names:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _owners(modules: Iterable[str]) -> list[str]:
    """Names of the distributions that top-level ``modules`` came with, by what
    ``metadata.packages_distributions`` goes by; that parses the path of every installed file, which
    takes ten times as long."""
    wanted = set(modules)
    listed = re.compile(rf"^({'|'.join(map(re.escape, sorted(wanted)))})[/.]", re.MULTILINE)
    owners = []
    for distribution in metadata.distributions():
        declared = distribution.read_text("top_level.txt")
        if (
            not wanted.isdisjoint(declared.split())
            if declared
            else listed.search(distribution.read_text("RECORD") or "")
        ):
            owners.append(distribution.metadata["Name"])
    return sorted(owners)


@lru_cache(maxsize=64)
def code_digest(target: str) -> str:
    """SHA-256 over the source files of the top-level package (or module) that ``target``,
    "package.module:name", is in, and of those of other plugins that it imports, however far."""
    package = _top(target)
    reached = _reached(package, _plugin_packages() - {package})
    digests = [_digest([place]) for name in sorted(reached) if (place := _place(name))]
    place = _place(package)
    if place is None or not digests:
        return _digest([place]) if place else ""
    return hashlib.sha256("\n".join([_digest([place]), *digests]).encode()).hexdigest()


def _top(target: str) -> str:
    return target.partition(":")[0].partition(".")[0]


def _place(package: str) -> Path | None:
    """The folder of a package, or the file of a module; None where there is neither."""
    module_spec = find_spec(package)
    if module_spec is None or module_spec.origin is None:
        return None
    origin = Path(module_spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def _plugin_packages() -> frozenset[str]:
    """The top-level packages of all that plugins registered."""
    return frozenset(
        _top(entry.target)
        for entries in registry.load().kinds.values()
        for entry in entries.values()
        if entry.source.plugin != registry.CORE and entry.kind.resolve is None
    )


def _reached(package: str, others: frozenset[str]) -> set[str]:
    """Those of ``others`` that ``package`` imports, itself or through another of them."""
    reached: set[str] = set()
    waiting = [package]
    while waiting:
        place = _place(waiting.pop())
        new = _imported(place, others) - reached if place else set()
        reached |= new
        waiting += new
    return reached


def _imported(place: Path, others: frozenset[str]) -> set[str]:
    """Those of ``others`` that the modules at ``place`` import, also inside functions."""
    import ast  # this and platform take as long to import as a small board takes to read

    names = set()
    for path in place.rglob("*.py") if place.is_dir() else [place]:
        source = path.read_bytes()
        if not any(name.encode() in source for name in others):
            continue  # parsing takes ten times as long
        try:
            nodes = list(ast.walk(ast.parse(source)))
        except (SyntaxError, ValueError):  # a template, or a module that nothing can import
            continue
        for node in nodes:
            if isinstance(node, ast.Import):
                names |= {_top(alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(_top(node.module))
    return names & others


@lru_cache(maxsize=1)
def core_digest() -> str:
    """SHA-256 over the core's own source files that can change a number."""
    root = Path(__file__).parents[1]
    return _digest([root / part for part in NUMERIC])


@lru_cache(maxsize=1)
def scoring_digest() -> str:
    """SHA-256 over the source of what computes and compares scores."""
    return _digest([Path(__file__).parents[1] / "scoring"])


@lru_cache(maxsize=1)
def records_digest() -> str:
    """SHA-256 over the source of what reads and writes records."""
    return _digest([Path(__file__).parent])


def extensions(used: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """'kind.name' -> SHA-256 of the source, of everything ``used`` that is not the core's own.

    ``used`` maps a kind of the registry to names; a name that nobody registered is left out.
    """
    kinds = registry.load().kinds
    digests = {}
    for kind, names in used.items():
        for name in names:
            entry = kinds[kind].get(name)
            if entry is not None and entry.source.plugin != registry.CORE:
                digests[f"{kind}.{name}"] = code_digest(entry.target)
    return digests


def _digest(parts: list[Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        files = sorted(part.rglob("*")) if part.is_dir() else [part]
        for path in files:
            if path.suffix in SOURCE and path.is_file():
                name = path.relative_to(part.parent).as_posix()
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def peak_host_bytes(*, children: bool = False) -> int:
    """Of this process so far, or of the largest of its ``children`` that have ended."""
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    return int(resource.getrusage(who).ru_maxrss) * 1024


def processor() -> str:
    import platform

    return platform.processor() or platform.machine()
