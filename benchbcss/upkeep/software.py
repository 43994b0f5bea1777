"""Versions of Python and of packages, and whether every plugin is loaded and has what it needs."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from benchbcss import __version__, registry
from benchbcss.errors import BenchError, explain
from benchbcss.upkeep.doctor import Finding

DISTRIBUTION = "benchbcss"
#: named with their versions where all is well; whoever helps asks for these first
NAMED = ("torch", "numpy", "pandas")
#: extras that no run needs
_APART = ("all", "test")


def python() -> Iterator[Finding]:
    text = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    needed = _metadata("Requires-Python")
    if needed and not SpecifierSet(needed[0]).contains(platform.python_version(), prereleases=True):
        remedy = f"Install Python {needed[0]}."
        yield Finding("python", "problem", f"{text}; benchbcss needs {needed[0]}", remedy)
    else:
        yield Finding("python", "ok", text)


def packages() -> Iterator[Finding]:
    """Of the requirements of the core, which must be met, and of extras, which may be missing."""
    installed: dict[str, str] = {}
    wrong: list[Finding] = []
    for text in _metadata("Requires-Dist"):
        requirement = Requirement(text)
        core = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not core and not _wanted_by_extra(requirement):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if core:
                wrong.append(_lacking(requirement, "is not installed"))
            continue
        installed[requirement.name] = version
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(_lacking(requirement, f"{version} does not fit"))
    if not installed and not wrong:
        text = "benchbcss runs from a checkout that is not installed, so requirements are not known"
        yield Finding("packages", "note", text, "Install it: pip install -e .")
        return
    yield from wrong
    if not wrong:
        named = ", ".join(f"{name} {installed[name]}" for name in NAMED if name in installed)
        text = f"benchbcss {__version__}; {len(installed)} packages as required, with {named}"
        yield Finding("packages", "ok", text)


def plugins() -> Iterator[Finding]:
    loaded = registry.load()
    for source, reason in loaded.broken.items():
        remedy = f"Reinstall {source.distribution} or uninstall it."
        yield Finding("plugins", "problem", f"{source} is not loaded: {reason}", remedy)
    ready = []
    for name, entry in sorted(loaded.backends.items()):
        if missing := entry.missing():
            text = f"backend {name} needs {', '.join(missing)}, not installed"
            yield Finding("plugins", "note", text, entry.remedy())
        else:
            ready.append(name)
    yield from _suites()
    yield Finding("plugins", "ok", f"{len(ready)} backends are ready: {', '.join(ready)}")


def _suites() -> Iterator[Finding]:
    """Those that cannot be used."""
    from benchbcss.suites import load_suite

    for name, entry in registry.load().suites.items():
        try:
            load_suite(entry.load())
        except BenchError as error:
            text = f"suite '{name}' ({entry.source}) cannot be used: {error}"
            remedy = f"Reinstall {entry.source.distribution} or uninstall it."
            yield Finding("plugins", "problem", text, remedy)


def _metadata(field: str) -> list[str]:
    try:
        return metadata.metadata(DISTRIBUTION).get_all(field) or []
    except metadata.PackageNotFoundError:
        return []


def _wanted_by_extra(requirement: Requirement) -> bool:
    extras = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    return any(
        requirement.marker is not None and requirement.marker.evaluate({"extra": extra})
        for extra in extras
        if extra not in _APART
    )


def _lacking(requirement: Requirement, what: str) -> Finding:
    wanted = f"{requirement.name}{requirement.specifier}"
    text = f"{requirement.name} {what}; benchbcss needs {wanted}"
    return Finding("packages", "problem", text, f"pip install '{wanted}'")


def executors() -> Iterator[Finding]:
    """What executors say of where they carry runs out."""
    for name, entry in registry.load().executors.items():
        if missing := entry.missing():
            text = f"{name} needs {', '.join(missing)}"
            yield Finding(name, "note", text, entry.remedy())
            continue
        try:
            answers = list(entry.load().examine())
        except (Exception, SystemExit) as error:  # a stranger's code
            yield Finding(name, "problem", explain(error, entry.package), entry.remedy())
            continue
        for state, text, remedy in answers:
            yield Finding(name, state, text, remedy)
