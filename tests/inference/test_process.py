"""What plugin code leaves changed of the process is put back, and said."""

import os

import pytest
import torch

from benchbcss.inference.guard import Guard
from benchbcss.inference.process import Settings

CHANGES = {
    "the working directory, to /": lambda: os.chdir("/"),
    "torch's default dtype, to torch.float64": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device, to meta": lambda: torch.set_default_device("meta"),
    "whether torch computes gradients, to False": lambda: torch.set_grad_enabled(False),
}


@pytest.mark.parametrize("said", CHANGES)
def test_a_change_is_put_back_and_said_once(said, capsys):
    before, guard = Settings.now(), Guard({}, outward=False)
    for _ in range(2):
        with guard.up("running build"):
            CHANGES[said]()
        assert Settings.now() == before
    assert guard.changed == {"running build": [said]}
    warning = f"warning: while running build the plugin changed {said}; it was put back\n"
    assert capsys.readouterr().err == warning


def test_it_is_put_back_after_an_error_too():
    before = Settings.now()

    def fit():
        with Guard({}, outward=False).up("running fit"):
            torch.set_default_dtype(torch.float16)
            raise KeyError

    with pytest.raises(KeyError):
        fit()
    assert Settings.now() == before


def test_a_folder_that_is_gone_is_left(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert Settings.now().put_back() == []
