"""A workspace that has everything a report shows, and its report, made once."""

import pytest
import report_support as support

#: text that would be markup, or a script, if it were not escaped
HOSTILE = '<script>alert("&\'")</script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Seven test ROIs of 96 px."""
    return support.data_of(tmp_path_factory.mktemp("report"), rois=7)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory, data):
    """A good, a middling and a bad model, one of which collapsed; a floor; a failed run; a torn
    record; a row whose predictions are gone."""
    folder = tmp_path_factory.mktemp("workspace")
    runs = support.rows(folder, data, good=0.05, fair=0.35, poor=0.8, ground=0.95, gone=0.5)
    support.trained(runs["good"], [0.2, 0.5, 0.6, 0.7, 0.72])
    support.trained(runs["fair"], [0.3, 0.6, 0.62, 0.1, 0.08, 0.05])
    support.change(runs["ground"], floor=True)
    support.change(runs["poor"], weights={"provenance": HOSTILE})
    for picture in (runs["gone"] / "predictions").rglob("*.png"):
        picture.unlink()
    torn = runs["good"].parents[1] / "torn" / "seed0-abc"
    torn.mkdir(parents=True)
    (torn / "result.json").write_text('{"schema_version": 3, "metrics_ver')
    failed = runs["good"].parents[1] / "failed" / "seed0-def"
    failed.mkdir(parents=True)
    (failed / "failure.json").write_text('{"reason": "out of memory <b>at once</b>"}')
    return folder


@pytest.fixture(scope="session")
def html(workspace):
    return support.html(workspace)


@pytest.fixture(scope="session")
def hostile():
    return HOSTILE
