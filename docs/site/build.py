"""The documentation site, with warnings as errors: ``python docs/site/build.py [OUT]``.

Sphinx reads one folder, and the pages lie in two: docs/ and the top of the repository. So they are
brought together under OUT/source, with one page added for each JSON Schema; OUT/html is the site.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).parents[2]
TOP = ("METHODOLOGY.md", "CONTRIBUTING.md", "CHANGELOG.md")
SCHEMAS = {"suite": "Suite file", "result": "result.json"}
#: what this folder holds besides pages
ASSETS = {".png", ".svg", ".json", ".ipynb"}


def build(out: Path) -> int:
    """Builds the site into ``out``/html; the exit status of Sphinx, 0 without a warning."""
    source, html = out / "source", out / "html"
    for folder in (source, html):
        shutil.rmtree(folder, ignore_errors=True)
    gather(source)
    return sphinx(["-W", "--keep-going", "-q", "-E", "-b", "html", str(source), str(html)])


def gather(source: Path) -> None:
    """Every page and what it shows, in one folder, with links that hold there."""
    docs = ROOT / "docs"
    here = Path(__file__).parent
    for path in sorted(docs.rglob("*")):
        if path.is_dir() or here in path.parents:
            continue
        target = source / path.relative_to(docs)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(_within(path.read_text("utf-8")), "utf-8")
        elif path.suffix in ASSETS:
            shutil.copyfile(path, target)
    for name in TOP:
        text = (ROOT / name).read_text("utf-8")
        (source / name).write_text(text.replace("](docs/", "]("), "utf-8")
    own_runs(source)
    for name, title in SCHEMAS.items():
        path = docs / "schema" / f"{name}.schema.json"
        (source / "schema" / f"{name}.md").write_text(schema_page(path, title), "utf-8")
    (source / "_static").mkdir()
    shutil.copyfile(here / "site.css", source / "_static" / "site.css")
    shutil.copyfile(here / "conf.py", source / "conf.py")


def _within(text: str) -> str:
    """Links from docs/ to pages at the top of the repository, which are beside it here."""
    text = text.replace("](../leaderboard/README.md)", "](own-runs.md)")
    return re.sub(r"\]\(\.\./(" + "|".join(map(re.escape, TOP)) + ")", r"](\1", text)


def own_runs(source: Path) -> None:
    """The page of the folder ``leaderboard``, with its pictures; no other file of it is here."""
    folder = ROOT / "leaderboard"
    shutil.copytree(folder / "pictures", source / "pictures")
    text = (folder / "README.md").read_text("utf-8").replace("](../docs/", "](")
    text = re.sub(r"\[[^\]]+\]\((results|[\w-]+\.yaml)\)", r"`leaderboard/\1`", text)
    (source / "own-runs.md").write_text(text, "utf-8")


def schema_page(path: Path, title: str) -> str:
    """A JSON Schema as Markdown: one table for each object, fields in the order of the schema."""
    schema = json.loads(path.read_text("utf-8"))
    itself = f"As JSON Schema: [{path.name}]({path.name})."
    parts = [f"# {title}", schema.get("description", ""), itself]
    for name, entry in {"": schema, **schema.get("$defs", {})}.items():
        if name:
            parts += [f"## {name}", entry.get("description", "")]
        if "enum" in entry:
            parts.append("One of " + ", ".join(f"`{value}`" for value in entry["enum"]) + ".")
        if "properties" in entry:
            parts.append(_fields(entry))
    return "\n\n".join(part for part in parts if part) + "\n"


def _fields(entry: dict[str, Any]) -> str:
    required = set(entry.get("required", ()))
    described = any("description" in field for field in entry["properties"].values())
    rows = ["| field | type | default |", "|---|---|---|"]
    if described:
        rows = [f"{rows[0]} meaning |", f"{rows[1]}---|"]
    for name, field in entry["properties"].items():
        default = "required" if name in required else f"`{json.dumps(field.get('default'))}`"
        row = f"| `{name}` | {_kind(field)} | {_cell(default)} |"
        rows.append(f"{row} {_cell(field.get('description', ''))} |" if described else row)
    return "\n".join(rows)


def _kind(field: dict[str, Any]) -> str:
    """The type of a field in words, objects as links to their tables."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in field:
            return " or ".join(dict.fromkeys(_kind(choice) for choice in field[key]))
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        items = field.get("prefixItems") or [field.get("items", {})]
        return "list of " + " and ".join(dict.fromkeys(_kind(item) for item in items))
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return "mapping to " + _kind(field["additionalProperties"])
    return str(field.get("type", "anything"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "site")))
