"""``CITATION.cff`` is what GitHub and Zenodo read, and ``benchbcss cite`` says the same."""

import re
from pathlib import Path

import pytest
import yaml
from tests_support import cli

import benchbcss
from benchbcss import citation, registry
from benchbcss.errors import UnknownNameError

ROOT = Path(__file__).parents[1]
#: of Citation File Format 1.2.0: what is required, and of what this file may hold the types
REQUIRED = {"cff-version", "message", "title", "authors"}
PERSON = {"family-names", "given-names", "orcid", "affiliation", "email"}
REFERENCE = {"type", "title", "authors"}
KNOWN = REQUIRED | {"abstract", "type", "version", "license", "keywords", "references", "url"}
KNOWN_IN_REFERENCE = REFERENCE | {
    *("journal", "year", "volume", "issue", "start", "end", "doi", "notes", "url", "identifiers")
}


def check(content):
    """By the schema of CFF 1.2.0, as far as this file uses it."""
    assert content.keys() >= REQUIRED
    assert content.keys() <= KNOWN
    assert content["cff-version"] == "1.2.0"
    assert content["type"] in ("software", "dataset")
    for entry in (content, *content["references"]):
        assert entry["title"]
        assert entry["authors"]
        for author in entry["authors"]:
            assert set(author) == {"name"} or {"family-names"} <= set(author) <= PERSON
            assert all(isinstance(value, str) and value for value in author.values())
    for entry in content["references"]:
        assert entry.keys() >= REFERENCE
        assert entry.keys() <= KNOWN_IN_REFERENCE
        assert isinstance(entry["year"], int)
        assert re.fullmatch(r"10\.\d{4,9}/\S+", entry.get("doi", "10.1234/x"))


def test_the_file_is_a_citation_file():
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    check(content)
    assert content["version"] == benchbcss.__version__
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert f'license = "{content["license"]}"' in pyproject
    (bcss,) = content["references"]
    assert bcss["doi"] == "10.1093/bioinformatics/btz083"
    assert len(bcss["authors"]) == 31


def test_cff_with_the_papers_of_models():
    content = yaml.safe_load(citation.text("cff", ["transunet", "unetpp"]))
    check(content)
    assert [entry["title"] for entry in content["references"][1:]] == ["TransUNet", "UNet++"]
    assert yaml.safe_load(citation.text("cff")) == yaml.safe_load(
        (ROOT / "CITATION.cff").read_text()
    )


def test_the_file_that_ships_is_the_one_that_github_reads():
    assert citation.path().read_bytes() == (ROOT / "CITATION.cff").read_bytes()


#: models that were released with a model card alone, or in a journal without a preprint
NO_PAPER = {"foundation_hoptimus0", "foundation_hoptimus1", "foundation_gigapath"}


def test_every_model_that_ships_names_its_paper():
    models = [name for name, entry in registry.load().backends.items() if not entry.info.floor]
    for name in models:
        assert citation.papers([name]) or name in NO_PAPER, name
    together = citation.papers(["sam2_v1", "sam2_v2"])
    assert [entry["notes"] for entry in together] == ["Model of sam2_v1, sam2_v2"]
    assert citation.papers(["floor_majority"]) == []
    with pytest.raises(UnknownNameError, match="Did you mean 'unetpp'"):
        citation.papers(["unetp"])


def test_bibtex_is_balanced_with_fields_and_distinct_keys():
    text = citation.text("bibtex", list(registry.load().backends))
    entries = re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}$", text, re.S | re.M)
    assert len(entries) == text.count("@")
    keys = [key for _, key, _ in entries]
    assert len(set(keys)) == len(keys)
    assert keys[:2] == ["benchbcss", "amgad2019structured"]
    for _, _, fields in entries:
        assert fields.count("{") == fields.count("}")
        assert re.search(r"^  author = \{", fields, re.M)
        assert re.search(r"^  title = \{", fields, re.M)
    assert "H\\&E" in text
    assert "sam2\\_v1" in text


def test_apa():
    text = citation.text("apa", ["transunet"])
    assert "Chen et al. (2021). TransUNet. arXiv:2102.04306." in text
    bcss = next(line for line in text.splitlines() if line.startswith("Amgad"))
    assert "Alhusseiny, A. M., Khalaf, M. M., ... Cooper, L. A. D. (2019)." in bcss
    assert "Bioinformatics, 35(18), 3461-3467. https://doi.org/10.1093/bioinf" in bcss


def test_the_command_names_models_that_have_run(tmp_path):
    for backend in ("transunet", "nnunet"):
        folder = tmp_path / "runs" / "bcss5" / backend / "seed0-1"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    shown = cli("cite", "--workspace", tmp_path, check=0).stdout
    assert "2102.04306" in shown
    assert "1807.10165" not in shown
    shown = cli("cite", "unetpp", "--workspace", tmp_path, "--format", "apa", check=0).stdout
    assert "1807.10165" in shown
    assert "2102.04306" not in shown
    assert "Did you mean 'unetpp'" in cli("cite", "unetp", check=2).stderr
