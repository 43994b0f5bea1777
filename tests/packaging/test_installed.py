"""The wheel works where the source tree is out of reach; installs expose our own names alone."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

pytest.importorskip("hatchling", reason="builds this project; in requirements-build.lock")
pytest.importorskip("editables", reason="as hatchling")

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGET = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
NAMES = {Path(path).name for path in TARGET["only-include"] if (ROOT / path).is_dir()}

# Ends the process at the first file of the source tree that it opens, whatever catches exceptions.
REFUSE_THE_SOURCE = """
import os, sys
SOURCE, ALLOWED = {source!r}, {allowed!r}
def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str):
        path = os.path.abspath(arguments[0])
        if path.startswith(SOURCE) and not path.startswith(ALLOWED):
            os.write(2, f"opened the source tree: {{path}}\\n".encode())
            os._exit(97)
sys.addaudithook(refuse)
"""


class Bare:
    """A virtual environment with this one's dependencies, and without anything of this project."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = folder / "venv" / "lib" / version / "site-packages"
        # A .pth file inside a folder that a .pth file adds is not read, so the editable finder of
        # the environment that runs these tests stays out. These files are read in sorted order.
        dependencies = folder / "dependencies"
        dependencies.mkdir()
        for source in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for entry in Path(source).iterdir():
                ours = entry.name.startswith(("benchbcss", "_editable_impl", "__editable__"))
                if not ours and entry.suffix != ".pth" and entry.name != "__pycache__":
                    (dependencies / entry.name).symlink_to(entry)
        (self.site / "0-dependencies.pth").write_text(f"{dependencies}\n")

    def refuse_the_source(self):
        """From now on every process of this environment ends when it opens a source file."""
        text = REFUSE_THE_SOURCE.format(
            source=str(ROOT) + os.sep, allowed=os.path.realpath(sys.prefix) + os.sep
        )
        # Debian's Python has a sitecustomize of its own, which would come before one of ours.
        (self.site / "refuse_the_source.py").write_text(text)
        (self.site / "1-refuse.pth").write_text("import refuse_the_source\n")

    def run(self, *command):
        """A command in a folder of its own, without variables that lead elsewhere."""
        working = self.folder / "elsewhere"
        working.mkdir(exist_ok=True)
        leading = ("PYTHON", "BENCHBCSS", "VIRTUAL_ENV")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(leading)}
        done = subprocess.run(
            list(map(str, command)),
            cwd=working,
            env=environment | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def install(self, wheel):
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet"]
        self.run(*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel)


def build(kind, folder):
    """A wheel ("wheel" or "editable") of this checkout in ``folder``."""
    code = f"from hatchling import build; build.build_{kind}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory, wheel):
    """The wheel installed, the source refused."""
    made = Bare(tmp_path_factory.mktemp("bare"))
    made.install(wheel)
    made.refuse_the_source()
    return made


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    made = Bare(tmp_path_factory.mktemp("editable"))
    made.install(build("editable", tmp_path_factory.mktemp("editable_wheel")))
    return made


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = set()
    for path in map(Path, TARGET["only-include"]):
        prefix = TARGET["sources"].get(path.parent.as_posix(), path.parent.as_posix())
        source = ROOT / path
        files = [source] if source.is_file() else source.rglob("*")
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                inside = file.relative_to(source.parent).as_posix()
                expected.add(PurePosixPath(prefix, inside).as_posix())
    assert packed == expected
    assert {"benchbcss/py.typed", "benchbcss/CITATION.cff"} <= packed


def test_the_guard_of_these_tests_sees_the_source(bare):
    with pytest.raises(AssertionError, match="opened the source tree"):
        bare.run(bare.python, "-c", f"open({str(ROOT / 'pyproject.toml')!r})")


def test_every_module_lies_in_the_bare_environment(bare):
    code = (
        "import importlib.util, pkgutil, sys\n"
        f"for name in {sorted(NAMES)!r}:\n"
        "    package = __import__(name)\n"
        "    print(package.__file__)\n"
        "    for module in pkgutil.iter_modules(package.__path__, name + '.'):\n"
        "        print(importlib.util.find_spec(module.name).origin)\n"
        "print(*sys.path[1:], sep='\\n')"
    )
    places = bare.run(bare.python, "-c", code).splitlines()
    assert len(places) > 3 * len(NAMES)
    for place in places:
        assert not place.startswith(str(ROOT)), place
    assert sum(place.startswith(str(bare.site)) for place in places) > 3 * len(NAMES)


def test_commands_that_look_things_up(bare):
    benchbcss = bare.bin / "benchbcss"
    assert "leaderboard" in bare.run(benchbcss, "--help")
    assert PROJECT["project"]["name"] in bare.run(benchbcss, "--version")
    backends = bare.run(benchbcss, "backends")
    for name in ("sam2_v3", "mask2former", "transunet", "unetpp", "floor_majority"):
        assert name in backends
        assert "train:" in bare.run(benchbcss, "show", name)
    suites = bare.run(benchbcss, "suites")
    assert "bcss5" in suites
    assert "phantom" in suites
    assert "FCN8-VGG16" in bare.run(benchbcss, "leaderboard", "--reported")
    assert "Error" not in bare.run(benchbcss, "plugins")
    assert "10.1093/bioinformatics/btz083" in bare.run(benchbcss, "cite", "transunet")
    assert "2102.04306" in bare.run(benchbcss, "cite", "transunet")
    bare.run(benchbcss, "report")  # its templates are in the wheel
    text = (bare.folder / "elsewhere" / "report.html").read_text()
    assert "No results yet." in text
    assert "FCN8-VGG16" in text


@pytest.mark.slow
def test_a_run_and_a_new_plugin(bare):
    benchbcss = bare.bin / "benchbcss"
    board = bare.run(benchbcss, "run", "floor_majority", "--preset", "smoke", "--no-floors")
    assert "floor_majority" in board
    bare.run(benchbcss, "new-plugin", "mynet")
    assert (bare.folder / "elsewhere" / "mynet" / "pyproject.toml").is_file()


def test_what_the_wheel_puts_on_the_path(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (information,) = {
            name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name
        }
        top = {name.split("/")[0] for name in archive.namelist()}
    assert top == NAMES | {information}
    assert all(name.startswith("benchbcss") for name in NAMES)  # nobody else's names


def test_an_editable_install_maps_the_same_names_and_adds_no_folder(editable):
    added = [
        entry
        for path in editable.site.glob("*.pth")
        if path.name != "0-dependencies.pth"
        for entry in path.read_text().splitlines()
    ]
    assert added == ["import _editable_impl_benchbcss"]
    code = (
        "import _editable_impl_benchbcss as m\n"
        "print(*sorted(m.F._redirections), sep='\\n')\n"
        f"for name in {sorted(NAMES)!r}: __import__(name)"
    )
    assert set(editable.run(editable.python, "-c", code).split()) == NAMES
    assert not (editable.site / "benchbcss").exists()  # it would hide the checkout's package


def test_nothing_else_of_the_checkout_can_be_imported_from_an_editable_install(editable):
    public = {path.name for path in ROOT.iterdir() if path.is_dir()} - NAMES
    public |= {path.stem for path in (ROOT / "benchmarks").rglob("*.py")}
    public |= {path.name for path in (ROOT / "benchmarks").iterdir() if path.is_dir()}
    public |= {path.stem for path in (ROOT / "tests").rglob("*.py")}
    public = sorted(name for name in public - NAMES if name.isidentifier() and name[0] != "_")
    assert {"benchmarks", "tests", "speed", "tests_support"} <= set(public)
    code = (
        "import importlib.util\n"
        f"for name in {public!r}:\n"
        "    spec = importlib.util.find_spec(name)\n"
        "    if spec:\n"
        "        print(spec.origin, *(spec.submodule_search_locations or []))"
    )
    source = str(ROOT) + os.sep
    allowed = os.path.realpath(sys.prefix) + os.sep
    for place in editable.run(editable.python, "-c", code).split():
        assert not place.startswith(source) or place.startswith(allowed), place


def test_an_editable_install_reads_the_checkout(editable):
    assert "FCN8-VGG16" in editable.run(editable.bin / "benchbcss", "leaderboard", "--reported")
    assert "Error" not in editable.run(editable.bin / "benchbcss", "plugins")
