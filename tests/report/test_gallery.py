"""Pictures: the right ROIs, layers that say what the masks say, within a bound."""

import base64
import io

import numpy as np
import pytest
import report_support as support
from PIL import Image

from benchbcss.report import gallery, ids
from benchbcss.report.rois import RoiScores, scores_of
from benchbcss.results import scenes, store
from benchbcss.tracks import TRACKS
from benchbcss.tracks.gallery import FALSE, IGNORED, MISSED


@pytest.fixture(scope="module")
def made(tmp_path_factory, data):
    ids.restart()
    workspace = tmp_path_factory.mktemp("gallery")
    support.rows(workspace, data, one=0.1, two=0.4)
    rows = support.table(workspace).rows
    scores = {id(row): scores_of(row) for row in rows}
    return rows, scores, gallery.gallery(rows, scores)


def test_best_median_and_worst_are_those_of_the_scores(made):
    rows, scores, shown = made
    for row, model in zip(rows, shown.models, strict=True):
        means = np.sort(scores[id(row)].means)[::-1]
        assert [roi.which for roi in model.rois] == ["best", "median", "worst"]
        wanted = [means[0], means[len(means) // 2], means[-1]]
        assert [roi.mean for roi in model.rois] == [f"{value:.2f}" for value in wanted]
        assert model.rois[2].roi in row.scores.spread.worst[0].roi


@pytest.mark.parametrize(
    ("means", "chosen"),
    [
        ([0.5], [("best and median and worst", 0)]),
        ([0.2, 0.5], [("best", 1), ("median and worst", 0)]),
        ([np.nan, 0.5, 0.1, 0.3], [("best", 1), ("median", 3), ("worst", 2)]),
        ([np.nan], []),
    ],
)
def test_few_rois_are_shown_once(means, chosen):
    scores = RoiScores([f"r{i}" for i in range(len(means))], ["a"], None, np.array(means))
    assert scores.chosen() == chosen


def picture(shown, layer):
    """bool [H, W] and the colour of a layer."""
    content = base64.b64decode(shown.stored[layer.id].partition(",")[2])
    array = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    there = array[..., 3] > 0
    (colour,) = {tuple(pixel) for pixel in array[there][:, :3].tolist()}
    return there, colour


def test_layers_are_truth_prediction_and_errors(made):
    """ROIs smaller than a picture are shown pixel by pixel."""
    rows, _, shown = made
    row, roi = rows[1], shown.models[1].rois[2]
    path = TRACKS[row.track].folder(row.run) / row.scores.spread.worst[0].roi
    scene = scenes.scene(path, store.load_spec(row.run), row.result, "")
    predicted = np.asarray(Image.open(path))
    panels = {panel.title: panel.layers for panel in roi.panels}
    for layer in panels["truth"][1:]:
        there, colour = picture(shown, layer)
        label = 255 if layer.kind == "ignored" else int(layer.kind[1:])
        np.testing.assert_array_equal(there, scene.target == label)
        assert (colour == IGNORED) == (label == 255)
    for layer in panels["prediction"][1:]:
        np.testing.assert_array_equal(picture(shown, layer)[0], predicted == int(layer.kind[1:]))
    known = scene.target != 255
    missed, false = np.zeros_like(known), np.zeros_like(known)
    for layer in panels["errors"][1:]:
        there, colour = picture(shown, layer)
        if colour == MISSED:
            assert (scene.target[there] == int(layer.kind[1:])).all()
            missed |= there
        elif colour == FALSE:
            assert (predicted[there] == int(layer.kind[1:])).all()
            false |= there
    wrong = known & (predicted != scene.target)
    assert wrong.any()
    np.testing.assert_array_equal(missed, wrong)
    np.testing.assert_array_equal(false, wrong)


def test_an_image_of_several_models_is_stored_once(made):
    _, _, shown = made
    images = {}
    for model in shown.models:
        for roi in model.rois:
            images.setdefault(roi.roi, set()).add(roi.panels[0].layers[0].id)
    assert all(len(found) == 1 for found in images.values())
    assert len(set(shown.stored.values())) == len(shown.stored)
    assert len(images) < 6  # some are shared, or this says nothing


def test_every_class_in_a_picture_has_a_key(made):
    _, _, shown = made
    kinds = {
        layer.kind
        for model in shown.models
        for roi in model.rois
        for panel in roi.panels
        for layer in panel.layers
    }
    assert kinds - {"", "ignored"} == {f"k{label}" for label in shown.keys}


def test_pictures_end_where_their_room_does(made):
    rows, scores, _ = made
    shown = gallery.gallery(rows, scores, room=0)
    assert len(shown.models[0].rois) == 3
    assert shown.models[1].reason == gallery.FULL


def test_large_rois_are_reduced(made):
    rows, _, _ = made
    path = TRACKS[rows[0].track].folder(rows[0].run) / rows[0].scores.spread.worst[0].roi
    scene = scenes.scene(path, store.load_spec(rows[0].run), rows[0].result, "")
    large = type(scene)(
        np.kron(scene.image, np.ones((8, 8, 1), np.uint8)),
        np.kron(scene.target, np.ones((8, 8), np.uint8)),
        {k: np.kron(m, np.ones((8, 8), bool)) for k, m in scene.masks.items()},
        scene.names,
    )
    small = gallery._reduced(large)
    assert max(small.target.shape) == gallery.SIZE < max(large.target.shape)
    assert set(np.unique(small.target)) <= set(np.unique(large.target))


def test_an_altered_mask_is_said(made):
    rows, scores, _ = made
    masks = {name: "0" * 64 for name in rows[0].result.data.masks}
    data = rows[0].result.data.model_copy(update={"masks": masks})
    row = type(rows[0])(
        rows[0].result.model_copy(update={"data": data}), rows[0].track, rows[0].run
    )
    shown = gallery.gallery([row], {id(row): scores[id(rows[0])]})
    assert "not the one this run was scored against" in shown.models[0].reason
