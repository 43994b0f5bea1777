"""Regions are named ROI by ROI: an interruption costs none that was named."""

import shutil

import pytest
from runs_support import specs
from tests_support import tiny_clip

from benchbcss.inference.clip import Clip
from benchbcss.progress import SILENT
from benchbcss.results import store
from benchbcss.runs import executors, worker
from benchbcss.runs.planning import clip_spec
from benchbcss.suites import Clip as ClipSettings
from benchbcss.tracks import parts, regions


class Killed(BaseException):
    pass


class Naming:
    """A run of the floor that fills boxes, whose naming can be killed before ROI ``stop``; calling
    it returns how many ROIs were named."""

    def __init__(self, spec, run_dir, monkeypatch):
        self.spec, self.run_dir, self.monkeypatch = spec, run_dir, monkeypatch
        self.logits = Clip.logits

    def __call__(self, stop=None, error=Killed):
        named = []

        def logits(clip, crops, prompts):
            if len(named) == stop:
                raise error
            named.append(len(crops))
            return self.logits(clip, crops, prompts)

        self.monkeypatch.setattr(Clip, "logits", logits)
        try:
            worker.execute(self.spec, self.run_dir, SILENT)
        except Killed:
            pass
        return len(named)

    def part(self, number):
        return parts.path_of(self.run_dir, "naming", self.spec.scored[number])

    def table(self):
        return (self.run_dir / regions.NAME).read_bytes()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("open_clip")
    model, weights = tiny_clip(tmp_path_factory.mktemp("clip"))
    return clip_spec(ClipSettings(model=str(model), weights=str(weights)))


@pytest.fixture(scope="module")
def spec(phantom, clip, tmp_path_factory):
    (made,) = specs(phantom, tmp_path_factory.mktemp("planned"), ["floor_box_fill"])
    return made.model_copy(update={"clip": clip})


@pytest.fixture(scope="module")
def undisturbed(spec, tmp_path_factory):
    """The run's folder."""
    run_dir = executors.prepare(spec, executors.Settings(tmp_path_factory.mktemp("w"), print))
    worker.execute(spec, run_dir, SILENT)
    return run_dir


@pytest.fixture
def naming(spec, undisturbed, tmp_path, monkeypatch):
    """As the undisturbed run was when it had predicted."""
    run_dir = shutil.copytree(undisturbed, tmp_path / "run")
    (run_dir / store.RESULT).unlink()
    (run_dir / regions.NAME).unlink()
    return Naming(spec, run_dir, monkeypatch)


def test_what_was_named_is_not_named_again(naming, undisturbed):
    total = len(naming.spec.scored)
    assert naming(stop=1) == 1
    assert naming.part(0).is_file()
    assert naming() == total - 1
    assert naming.table() == (undisturbed / regions.NAME).read_bytes()
    assert store.load(naming.run_dir).tracks == store.load(undisturbed).tracks
    left = {path.relative_to(undisturbed) for path in undisturbed.rglob("*")}
    assert {path.relative_to(naming.run_dir) for path in naming.run_dir.rglob("*")} == left


DAMAGE = {
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_part_is_named_again(naming, undisturbed, kind):
    naming(stop=1)
    DAMAGE[kind](naming.part(0))
    assert naming() == len(naming.spec.scored)
    assert naming.table() == (undisturbed / regions.NAME).read_bytes()


@pytest.mark.parametrize("setting", ["margin", "prompts"])
def test_what_was_named_otherwise_is_named_again(naming, setting):
    naming(stop=1)
    texts = {name: ["another", *lines] for name, lines in naming.spec.clip.prompts.items()}
    other = naming.spec.clip.model_copy(
        update={"margin": 0.5} if setting == "margin" else {"prompts": texts}
    )
    naming.spec = naming.spec.model_copy(update={"clip": other})
    assert naming() == len(naming.spec.scored)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_table_is_named_and_made_anew(naming, undisturbed, kind):
    shutil.copy(undisturbed / regions.NAME, naming.run_dir)
    shutil.copy(undisturbed / store.RESULT, naming.run_dir)
    assert not store.damage(naming.run_dir)
    DAMAGE[kind](naming.run_dir / regions.NAME)
    assert any(regions.NAME in problem for problem in store.damage(naming.run_dir))
    assert naming() == len(naming.spec.scored)
    assert naming.table() == (undisturbed / regions.NAME).read_bytes()
    assert not store.damage(naming.run_dir)
