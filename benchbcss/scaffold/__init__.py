"""Templates of ``benchbcss new-plugin``."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path

from benchbcss import names
from benchbcss.errors import InputError

KINDS = ("dense", "promptable", "external")


def write(name: str, kind: str, parent: Path) -> Path:
    """Write the package for backend ``name`` into ``parent / name``; returns that folder.

    Raises InputError for a name that cannot be a module's, or a folder that exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(
            f"'{name}' cannot be a backend's name: use lower-case letters, digits and underscores, "
            "starting with a letter."
        )
    if why := names.problem(name):
        raise InputError(f"'{name}' cannot be a backend's name: {why}. Choose another.")
    root = parent / name
    if root.exists():
        raise InputError(f"{root} exists already. Choose another name or another --into folder.")
    package = f"benchbcss_{name}"
    files = {
        "pyproject.toml": "common/pyproject.toml",
        "README.md": "common/README.md",
        "tests/test_conformance.py": "common/test_conformance.py",
        f"{package}/__init__.py": f"{kind}/__init__.py",
        f"{package}/backend.py": f"{kind}/backend.py",
        f"{package}/{name}.yaml": f"{kind}/recipe.yaml",
    }
    if kind == "external":
        files[f"{package}/tool.py"] = "external/tool.py"
    words = {
        "@NAME@": name,
        "@PACKAGE@": package,
        "@KIND@": kind,
        "@CLASS@": "".join(part.capitalize() for part in name.split("_")),
    }
    templates = resources.files("benchbcss.scaffold")
    for target, source in files.items():
        text = (templates / f"{source}.tmpl").read_text(encoding="utf-8")
        for mark, word in words.items():
            text = text.replace(mark, word)
        path = root / target
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}. Choose another --into folder."
            ) from error
    return root
