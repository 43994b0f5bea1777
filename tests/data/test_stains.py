import numpy as np
import pytest

from benchbcss.data.stains import stain_vectors


def test_the_residual_is_the_cross_product_as_published():
    haematoxylin, eosin, residual = stain_vectors("haematoxylin", "eosin", "residual")
    assert np.round(np.cross(haematoxylin, eosin), 3).tolist() == list(residual)


def test_the_published_vectors_are_of_about_unit_length():
    rows = np.array(stain_vectors("haematoxylin", "eosin", "dab"))
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 0.01


def test_augmentation_and_floors_use_them():
    torch = pytest.importorskip("torch")
    from benchbcss_floors import backends

    from benchbcss.training import augment

    normal = torch.nn.functional.normalize
    published = [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]]
    ours = torch.tensor([*published, [-0.209, -0.048, 0.593]])
    assert torch.equal(augment.STAINS, normal(ours, dim=1))
    assert [list(row) for row in backends._STAINS] == [*published, [0.268, 0.570, 0.776]]


def test_an_unknown_stain():
    with pytest.raises(KeyError, match="eosine"):
        stain_vectors("eosine")
