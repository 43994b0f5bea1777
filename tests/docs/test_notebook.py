"""Every cell of the notebooks runs, as in Jupyter, and they are kept without output."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_kept_without_output_and_as_it_is_written(path):
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert len(text) < 20_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    import re

    for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_runs(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for other in FOLDER.iterdir():
        shutil.copy(other, tmp_path)
    for name in ("BENCHBCSS_DATA", "BENCHBCSS_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    # This very Python, whatever kernels are installed, and this checkout.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, warm.__file__, "kernel", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "Python", "language": "python"}))
    notebook = nbformat.read(tmp_path / path.name, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = {
        "".join(cell["source"]).splitlines()[-1]: cell["outputs"]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    }
    (board,) = shown["board"]
    assert "<table>" in board["data"]["text/html"]
    assert "quickstart / semantic" in board["data"]["text/plain"]
    (difference,) = shown[
        "elsewhere.track().headline.per_roi.mean - run.track().headline.per_roi.mean"
    ]
    assert float(difference["data"]["text/plain"]) == 0
    (error,) = shown["    print(error)"]
    assert "Did you mean 'unetpp'" in error["text"]
    assert (tmp_path / "board.html").is_file()
