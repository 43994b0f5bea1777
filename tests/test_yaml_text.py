"""libyaml's answers are PyYAML's, and no text ends the process."""

import subprocess
import sys

import pytest
import yaml

from benchbcss import yaml_text

TEXTS = [
    "",
    "a: 1e-4\nb: [1, 2.5, .inf, yes, null, 2026-01-01]\nc: {d: 'x', e: \"y\\u00e9\"}",
    "- &one {a: 1}\n- *one\n- <<: *one\n  b: |\n    two\n    lines\n",
    "x: 0o7\ny: 010\nz: 1_000\n",
    "a: {b: 1}\nc: {b: 1}\n",
    "1: a\n'1': b\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_what_pyyaml_reads(text):
    assert yaml_text.load(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t- x", "!!python/object:os.system {}", "%"])
def test_its_words_are_pyyamls(text):
    with pytest.raises(yaml.YAMLError) as ours:
        yaml_text.load(text)
    with pytest.raises(yaml.YAMLError) as theirs:
        yaml.safe_load(text)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\na: 2\n", (1, 2)),
        ("- x\n- {b: 1,\n   c: 2,\n   b: 3}\n", (2, 4)),
        ("1: a\n1: b\n", (1, 2)),
    ],
)
def test_a_key_that_is_written_twice_is_a_mistake(text, lines):
    """PyYAML keeps the last one: of two names for a code, of two scales."""
    with pytest.raises(yaml.YAMLError, match=r"in line {} and line {}\. Keep one".format(*lines)):
        yaml_text.load(text)


def test_what_nests_without_end_is_an_error_and_no_crash():
    """libyaml's composer would recurse until the stack ends."""
    code = (
        "import yaml\n"
        "from benchbcss import yaml_text\n"
        "for text in ('[' * 10**5, '{a: ' * 10**5, '- ' * 10**5, '? ' * 10**5):\n"
        "    try:\n"
        "        yaml_text.load(text)\n"
        "    except (yaml.YAMLError, RecursionError):\n"
        "        print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, 4 * "refused\n"), done.stderr[-300:]
