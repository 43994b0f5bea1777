"""What to cite: this program and BCSS, as ``CITATION.cff`` says, and the papers of models, as their
recipes say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchbcss import registry

FORMATS = ("bibtex", "apa", "cff")
#: "Chen et al. 2021, TransUNet (arXiv 2102.04306)" and "SegFormer-B0 (Xie et al. 2021, arXiv ...)"
_WHO = r"(?P<who>[A-Z][\w-]+(?: et al\.| and [A-Z][\w-]+)?) (?P<year>(?:19|20)\d\d)"
_ARXIV = r"arXiv:? ?(?P<arxiv>\d{4}\.\d{4,5})"
_FORMS = (
    re.compile(rf"{_WHO}, (?P<title>[^();:]+?) \({_ARXIV}\)"),
    re.compile(rf"(?P<title>[\w+.-]+) \({_WHO}, {_ARXIV}\)"),
)


def path() -> Path:
    """``CITATION.cff``. The one at the top of the repository, where GitHub looks, is the same, as a
    test asks: a file that the build moved here would break editable installs."""
    return Path(__file__).with_name("CITATION.cff")


def load(backends: Iterable[str] = ()) -> dict[str, Any]:
    """The file's content, with the papers of ``backends`` among its references."""
    content: dict[str, Any] = yaml.safe_load(path().read_text(encoding="utf-8"))
    content["references"] = [*content.get("references", []), *papers(backends)]
    return content


def papers(backends: Iterable[str]) -> list[dict[str, Any]]:
    """A reference, in CFF's terms, for each arXiv paper that the recipes of ``backends`` name as a
    source; each once. Raises UnknownNameError."""
    from benchbcss.recipes import load as recipe

    references: dict[str, dict[str, Any]] = {}
    for backend in backends:
        raw, _ = recipe(registry.load().backend(backend).info.recipe, "full")
        for text in (raw.get("sources") or {}).values():
            for paper in _papers_in(str(text)):
                entry = references.setdefault(paper["arxiv"], _reference(paper))
                users = entry["notes"].removeprefix("Model of ").split(", ")
                entry["notes"] = "Model of " + ", ".join(filter(None, [*users, backend]))
    return list(references.values())


def text(form: str, backends: Iterable[str] = ()) -> str:
    """Everything to cite as BibTeX, in APA style, or as a CITATION.cff."""
    content = load(backends)
    if form == "cff":
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    entries = [content, *content["references"]]
    if form == "apa":
        return "\n\n".join(_apa(entry) for entry in entries) + "\n"
    return "\n\n".join(_bibtex(entry) for entry in entries) + "\n"


def _papers_in(source: str) -> list[dict[str, str]]:
    return [match.groupdict() for form in _FORMS for match in form.finditer(source)]


def _reference(paper: dict[str, str]) -> dict[str, Any]:
    """Recipes name the first author and a short title; the arXiv number tells the rest."""
    first = re.split(r" et al\.| and ", paper["who"])
    authors: list[dict[str, str]] = [{"family-names": name} for name in first if name]
    if "et al." in paper["who"]:
        authors.append({"name": "others"})
    return {
        "type": "article",
        "title": paper["title"].strip(),
        "authors": authors,
        "year": int(paper["year"]),
        "url": f"https://arxiv.org/abs/{paper['arxiv']}",
        "identifiers": [{"type": "other", "value": f"arXiv:{paper['arxiv']}"}],
        "notes": "Model of ",
    }


def _people(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """(family name, given names) of each author; of a group its name and ''."""
    return [
        (author.get("name") or author["family-names"], author.get("given-names", ""))
        for author in entry["authors"]
    ]


def _bibtex(entry: dict[str, Any]) -> str:
    software = entry.get("type") == "software"
    people = _people(entry)
    names = [
        f"{family}, {given}" if given else family if family == "others" else f"{{{family}}}"
        for family, given in people
    ]
    fields = {
        "author": " and ".join(names),
        "title": f"{{{entry['title']}}}",
        "journal": entry.get("journal"),
        "year": entry.get("year"),
        "volume": entry.get("volume"),
        "number": entry.get("issue"),
        "pages": f"{entry['start']}--{entry['end']}" if "start" in entry else None,
        "doi": entry.get("doi"),
        "version": entry.get("version"),
        **_eprint(entry),
        "url": entry.get("url"),
        "note": entry.get("notes"),
    }
    key = "benchbcss" if software else _key(people[0][0], entry)
    lines = [f"  {name} = {{{_tex(value)}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{'software' if software else 'article'}{{{key},", *lines, "}"])


def _eprint(entry: dict[str, Any]) -> dict[str, str]:
    arxiv = _arxiv(entry)
    return {"eprint": arxiv, "archivePrefix": "arXiv"} if arxiv else {}


def _arxiv(entry: dict[str, Any]) -> str:
    values = [str(one["value"]) for one in entry.get("identifiers", [])]
    return next((v.removeprefix("arXiv:") for v in values if v.startswith("arXiv:")), "")


def _key(family: str, entry: dict[str, Any]) -> str:
    word = re.findall(r"\w+", entry["title"])[0]
    return re.sub(r"\W", "", f"{family}{entry['year']}{word}").lower()


def _tex(value: Any) -> str:
    """BibTeX's special characters, escaped."""
    return re.sub(r"([&%#_$])", r"\\\1", str(value)) if not str(value).startswith("http") else value


def _apa(entry: dict[str, Any]) -> str:
    if entry.get("type") == "software":
        names = " & ".join(family for family, _ in _people(entry))
        return f"{names}. {entry['title']} (Version {entry['version']}) [Computer software]."
    people = _authors([_initials(*person) for person in _people(entry)])
    head = f"{people} ({entry['year']}). {entry['title']}."
    if arxiv := _arxiv(entry):
        return f"{head} arXiv:{arxiv}. {entry['url']}"
    issue = f"({entry['issue']})" if "issue" in entry else ""
    pages = f", {entry['start']}-{entry['end']}" if "start" in entry else ""
    journal = f"{entry['journal']}, {entry['volume']}{issue}{pages}."
    return f"{head} {journal} https://doi.org/{entry['doi']}"


def _initials(family: str, given: str) -> str:
    letters = " ".join(f"{word[0]}." for word in given.split())
    return f"{family}, {letters}" if letters else family


def _authors(names: Sequence[str]) -> str:
    """By APA's 7th edition: of more than 20 the first 19 and the last."""
    if names[-1] == "others":
        return f"{names[0]} et al."
    if len(names) > 20:
        return f"{', '.join(names[:19])}, ... {names[-1]}"
    return f"{', '.join(names[:-1])}, & {names[-1]}" if len(names) > 1 else names[0]
