"""What values mean: whatever is no class of the suite is 255, never the last class."""

import numpy as np
import pytest

from benchbcss.data.labels import label_map, official_codes
from benchbcss.errors import DataError
from benchbcss.runs.external.labels import numbering
from benchbcss.runs.external.reading import Folder

LABELS = label_map("bcss5")


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "r0.npy", np.zeros((2, 2), np.uint8))
    return Folder(tmp_path)


def made(asked, source):
    return numbering(str(asked), source, LABELS, official_codes())


def test_labels_take_255_and_nothing_else_beyond(source):
    mapped, odd = made("labels", source).apply(np.array([[0, 5, 255]], np.uint8))
    assert mapped.tolist() == [[0, 5, 255]]
    assert odd == {}
    with pytest.raises(DataError, match=r"value 6 and 1 other values \(2 pixels\) is no label"):
        made("labels", source).apply(np.array([[6, 254]], np.uint8))


def test_ignored_codes_are_no_class(source):
    mapped, _ = made("codes", source).apply(np.array([[1, 18, 9, 0, 7]], np.uint8))
    assert mapped.tolist() == [[0, 4, 5, 255, 255]]
    with pytest.raises(DataError, match="value 300 .* is no code of the dataset"):
        made("codes", source).apply(np.array([[300]], np.uint16))


def test_values_that_a_map_does_not_have_are_no_class_unless_they_are_many(source, tmp_path):
    (tmp_path / "m.yaml").write_text("10: tumor\n20: stroma\n30: null\n40: exclude\n50: fat")
    own = made(tmp_path / "m.yaml", source)
    mapped, odd = own.apply(np.array([[10, 20, 30, 40, 50, 60, 60]], np.uint8))
    assert mapped.tolist() == [[0, 1, 255, 255, 5, 255, 255]]
    assert odd == {60: 2}
    assert "has no lymphocyte" in own.remarks[0]
    with pytest.raises(DataError, match="look like resampling"):
        own.apply(np.arange(256, dtype=np.uint8)[None])
    (tmp_path / "m.yaml").write_text("10: tumor\n'#ff0000': stroma")
    with pytest.raises(DataError, match="both values and colours"):
        made(tmp_path / "m.yaml", source)
    (tmp_path / "m.yaml").write_text("wall: tumor")
    with pytest.raises(DataError, match="maps names, such as 'wall'"):
        made(tmp_path / "m.yaml", source)


def test_nnunets_description_may_lie_above_and_must_agree(source, tmp_path):
    text = '{"labels": {"background": 0, "tumor": 1, "stroma": 2, "lymphocyte": 3, %s}}'
    inside = tmp_path / "a" / "fold_0" / "validation"
    inside.mkdir(parents=True)
    np.save(inside / "r0.npy", np.zeros((2, 2), np.uint8))
    (tmp_path / "a" / "dataset.json").write_text(text % '"necrosis": 4, "blood_vessel": 5')
    own = made("nnunet", Folder(inside))
    assert own.table[:6].tolist() == [255, 0, 1, 2, 3, 4]
    assert "background is no class of the suite" in own.remarks[0]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "dataset.json").write_text(text % '"necrosis": 5, "blood_vessel": 4')
    with pytest.raises(DataError, match="number the classes differently"):
        made("nnunet", Folder(tmp_path))
    (tmp_path / "a" / "dataset.json").unlink()
    (tmp_path / "b" / "dataset.json").write_text(text % '"necrosis": 5, "vessel": 4')
    with pytest.raises(DataError, match="Is 'vessel' the suite's 'blood_vessel'"):
        made("nnunet", Folder(tmp_path))
