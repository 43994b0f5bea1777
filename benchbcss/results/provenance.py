"""What a number was made by: versions of packages, the code itself, device and cost."""

from __future__ import annotations

import hashlib
import platform
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
    owners = metadata.packages_distributions() if modules else {}
    names = [*PACKAGES, *(name for module in modules for name in owners.get(module, ()))]
    installed = {"python": platform.python_version()}
    for name in names:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


@lru_cache(maxsize=64)
def code_digest(target: str) -> str:
    """SHA-256 over the source files of the top-level package (or module) that ``target``,
    "package.module:name", is in."""
    module_spec = find_spec(target.partition(":")[0].partition(".")[0])
    if module_spec is None or module_spec.origin is None:
        return ""
    origin = Path(module_spec.origin)
    return _digest([origin.parent if origin.name == "__init__.py" else origin])


@lru_cache(maxsize=1)
def core_digest() -> str:
    """SHA-256 over the core's own source files that can change a number."""
    root = Path(__file__).parents[1]
    return _digest([root / part for part in NUMERIC])


@lru_cache(maxsize=1)
def scoring_digest() -> str:
    """SHA-256 over the source of what computes and compares scores."""
    return _digest([Path(__file__).parents[1] / "scoring"])


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


def peak_host_bytes() -> int:
    """Of this process so far."""
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def processor() -> str:
    return platform.processor() or platform.machine()
