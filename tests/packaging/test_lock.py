"""All that the README's commands install is pinned by version and hash."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
#: extras that are installed by themselves, and are in no lock: pyproject.toml says why
ALONE = ("nnunet",)
BUILD = PROJECT["build-system"]["requires"] + PROJECT["dependency-groups"]["build"]
ALL = PROJECT["project"]["dependencies"] + [
    text
    for name, texts in EXTRAS.items()
    if name not in ("all", "bench", "test", *ALONE)
    for text in texts
]
DECLARED = {
    "requirements-build.lock": BUILD,
    "requirements.lock": BUILD + ALL,
    "requirements-test.lock": BUILD + ALL + EXTRAS["test"],
}
SAM2 = "requirements-sam2.txt"
PYTHONS = ["3.11", "3.12"]


def lines(name):
    """The requirements of a lock with their options, one string each."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    kept = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [line for line in kept if line]


def pins(name, python=None):
    """{name: version} of a lock for one Python on Linux x86_64 (default: this very machine)."""
    environment = default_environment()
    if python is not None:
        environment |= {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": "linux",
            "platform_machine": "x86_64",
            "platform_system": "Linux",
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }
    found = {}
    for line in lines(name):
        requirement = Requirement(line.split(" --hash=")[0])
        if requirement.marker is None or requirement.marker.evaluate(environment):
            key = canonicalize_name(requirement.name)
            assert key not in found, f"{name} pins {key} twice for Python {python}"
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            found[key] = specifier.version
    return found


@pytest.mark.parametrize("name", [*DECLARED, SAM2])
def test_every_line_is_pinned_by_hash(name):
    assert lines(name)
    for line in lines(name):
        assert re.match(r"[\w.-]+==[\w.+!-]+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", DECLARED)
def test_every_declared_dependency_is_locked_at_a_version_it_allows(name, python):
    locked = pins(name, python) | pins(SAM2, python)
    for text in DECLARED[name]:
        requirement = Requirement(text)
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{text} is not in {name}: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{name} has {requirement.name} {version}, pyproject.toml wants {text}: run `make lock`"
        )


def test_all_extras_but_test_are_in_all():
    (combined,) = EXTRAS["all"]
    assert Requirement(combined).extras == set(EXTRAS) - {"all", "bench", "test", *ALONE}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_agree(python):
    largest = pins("requirements-test.lock", python)
    for name in DECLARED:
        assert pins(name, python).items() <= largest.items(), name


@pytest.mark.parametrize("name", DECLARED)
def test_what_locked_packages_require_is_locked(name):
    """For the packages that this Python has; pip refuses any other with --require-hashes."""
    locked = pins(name) | pins(SAM2)
    checked = 0
    for package, version in pins(name).items():
        try:
            installed = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            continue
        if installed.version != version:
            continue
        checked += 1
        for text in installed.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                required = canonicalize_name(requirement.name)
                assert required in locked, f"{package} needs {required}, which {name} lacks"
    if name != "requirements-build.lock":  # which is installed for building alone
        assert checked > 50


def test_the_makefile_installs_from_the_locks_alone():
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    recipes = re.findall(r"^\t(.*\$\((?:PIP|LOCKED)\).*)", text, re.M)
    used = [name for line in recipes for name in re.findall(r"-r (\S+)", line)]
    assert set(used) == {*DECLARED, SAM2}
    for line in recipes:
        assert "$(LOCKED) " in line or line == "$(PIP) --no-deps -e .", line
    assert re.search(r"^LOCKED := \$\(PIP\) --require-hashes$", text, re.M)
    assert re.search(r"^PIP := .*--no-build-isolation$", text, re.M)
    assert "pip install" not in re.sub(r"^(#|PIP := ).*", "", text, flags=re.M)
