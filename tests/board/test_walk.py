"""Every state of a workspace, looked at with every command, in a real terminal of 80 columns."""

import re

import board_states as states
import pytest
from pty_support import Terminal

#: runs each command on each workspace, in one process
WALK = """
import sys
from benchbcss.cli.main import cli
for line in sys.argv[1].split(";"):
    print("=== " + line)
    state, command = line.split(": ")
    try:
        cli([*command.split(), "--workspace", state], standalone_mode=False)
    except Exception as error:
        print("error:", error)
"""
BOARD, STATUS, LIST = "leaderboard", "status", "runs list"
#: state and command -> what is said, in regular expressions
SAID = {
    ("empty", BOARD): [r"^No results yet\. Run: benchbcss run BACKEND$"],
    ("empty", STATUS): [r"^done: 0 runs$"],
    ("empty", LIST): [r"^no run in empty/runs$"],
    ("empty", "compare unetpp eomt"): [r"^error: There is no result .*Run it first\.$"],
    ("one_failed", BOARD): [
        r"^  unetpp seed0-0123456789ab: RuntimeError: Error\(s\) in loading state_dict: Mi",
        r"^  log of the first: one_failed/runs/bcss5/unetpp/seed0-0123456789ab/log\.txt$",
        r"^  dismiss it: benchbcss runs rm seed0-0123456789ab --workspace one_failed$",
    ],
    ("several_failed", BOARD): [
        r"^  sam2_v3_no_early_stopping seed0-0123456789a0: CUDA out of memory\.",
        r"^  and 2 more: --details$",
    ],
    ("several_failed", STATUS): [
        r"^failed: sam2_v3_no_early.*…",
        r"^  40 min ago: nothing is logged",
    ],
    ("several_failed", LIST): [
        r"^backend +run +state +changed +MB$",
        r"^unetpp +seed2-\S+ +failed",
    ],
    ("interrupted", BOARD): [
        r"^interrupted: unetpp seed0-0123456789ab: training, step 120/300, epoch 3/10$",
        r"^interrupted: sam2_v3\S+…\S+: training, step 120/300",
        r"^  the same command continues what was interrupted$",
    ],
    ("interrupted", STATUS): [r"^interrupted: unetpp", r"^  66 min ago: epoch 3: loss 1\.2$"],
    ("interrupted", LIST): [r"^unetpp$", r"^  interrupted .* seed0-0123456789ab$"],
    ("running", BOARD): [
        r"^running: unetpp seed0-0123456789ab: training, step 120/300, 2:43 left",
        r"^running: transunet seed0-0123456789ab: predicting semantic, ROI 3/45, 2:43",
    ],
    ("running", STATUS): [
        r"^running: unetpp seed0-0123456789ab: training, step 120/300, 2:43 left"
    ],
    ("running", LIST): [r"^bcss5 +unetpp +seed0-0123456789ab +running"],
    ("variants", BOARD): [
        r"^\S+ +unetpp lr=1e-3 +0\.\d+ ",
        r"^\S+ +unetpp lr=5e-4 +0\.\d+ ",
        r"^\S+ +unetpp slow +0\.\d+ ",
    ],
    ("variants", "compare unetpp slow"): [r"^error: 'unetpp' means 4 results here: 'unetpp lr="],
    ("ties", BOARD): [
        r"share rank 1 of 4 models on 20 test ROIs",
        r"^1-3 +unetpp ",
        r"^4 +eomt ",
        r"^floor +floor_colour +0\.200",
        r"^ranks such as 1-3 are shared by models without a significant difference$",
    ],
    ("below_floor", BOARD): [
        r"^unetpp is best of 3 models on 20 test ROIs: mean Dice 0\.\d+ \[",
        r"the difference is significant",
        r"^not above the floor floor_colour \(0\.300\): \w+ and \w+$",
    ],
    ("only_floors", BOARD): [r"^No model yet, only baselines\.$"],
    ("unranked", BOARD): [r"^Nothing is ranked here: it is an audit of codes\.$", r"^- +unetpp "],
    ("old_metrics", BOARD): [r"^1 not comparable, by metrics_version: eomt$"],
    ("old_metrics", "leaderboard --details"): [
        r"^not comparable: eomt: metrics_version differs \(1 here, 3 in the ranking\)$"
    ],
    ("damaged", BOARD): [
        r"^records that cannot be read:$",
        r"^  \w+ seed0-0123456789ab: the field 'headline' is missing$",
        r"^  and 3 more: --details$",
        r"^  the same benchbcss run makes one again; benchbcss runs rm removes it$",
    ],
    ("eight", BOARD): [
        r"^bcss5 / semantic: preset full, 20 test ROIs$",
        r"^bcss5 / prompted by box, class: preset full, 20 test ROIs$",
        r"^running: sam2_lora seed0",
        r"^failed, newest first:$",
    ],
    ("eight", "leaderboard --details"): [r"^mean and per-class Dice with 95 % intervals$"],
    ("eight", "leaderboard --costs"): [r"^what it cost$"],
    ("eight", "leaderboard --reported"): [r"^Reported elsewhere: never ranked"],
    ("eight", "leaderboard --all"): [r"^what it cost$", r"^Reported elsewhere", r"^mean and per"],
    ("eight", LIST): [r"^bcss5 +hf_semantic +seed0-aaaaaaaaaaaa +failed"],
    ("eight", STATUS): [r"^done: 11 runs, see benchbcss leaderboard$"],
    ("thirty", BOARD): [r"of 30 results on 20\b", r"^\S+ +unetpp s2 +0\.", r"^\S+ +sam2_lora +0\."],
    ("thirty", "leaderboard --seed 1"): [r"share rank 1 of 10 models\b", r"^\S+ +eomt s1 "],
    ("long_names", BOARD): [
        r"^\S+ +a_backend\w+…\w*twork +0\.",
        r"^\S+ +a_backend\w+….*s1 +0\.",
        r"^  a_backend\S+…\S+: CUDA out of memory",
    ],
    ("long_names", STATUS): [r"^failed: a_backend\S+…\S+: CUDA"],
    ("long_names", LIST): [rf"^{states.LONG_BACKEND}$"],
}
#: what is copied is whole, however long
COPIED = re.compile(
    r"  (log of the first|dismiss it): |error: |  \S+ +\d{4}-\d\d-\d\d \d\d:\d\d +\d"
)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """{(state, command): lines of a terminal of 80 columns}, all of them seen in one process."""
    folder = tmp_path_factory.mktemp("walk")
    for make in states.STATES:
        make(folder / make.__name__)
    lines = ";".join(f"{state}: {command}" for state, command in SAID)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        terminal = Terminal("-c", WALK, lines, columns=80, NO_COLOR="1")
        terminal.end()
    shown = {}
    for part in terminal.sent.decode().split("=== ")[1:]:
        head, *rest = part.replace("\r\n", "\n").split("\n")
        state, command = head.split(": ")
        shown[state, command] = rest
    return shown


@pytest.mark.parametrize("place", SAID, ids=": ".join)
def test_each_state_says_what_is_asked(walked, place):
    text = "\n".join(walked[place])
    for wanted in SAID[place]:
        assert re.search(wanted, text, re.M), f"{wanted}\n{text}"


def test_no_line_is_broken_by_the_terminal(walked):
    wide = [
        (place, line)
        for place, lines in walked.items()
        for line in lines
        if len(line) > 80 and not COPIED.match(line)
    ]
    assert wide == []


def test_every_state_is_looked_at(walked):
    assert {state for state, _ in walked} == {make.__name__ for make in states.STATES}


def test_one_line_a_model(walked):
    """Whatever is wrong beside them, the standings are as many lines as there are rows."""
    models = {"ties": 5, "below_floor": 4, "thirty": 31, "long_names": 3, "unranked": 2}
    for state, rows in models.items():
        found = [line for line in walked[state, BOARD] if re.search(r"  [01]\.\d{3}  \[", line)]
        assert len(found) == rows, state


def test_nothing_is_said_twice_or_left_empty(walked):
    for place, lines in walked.items():
        text = "\n".join(lines)
        assert "\n\n\n" not in text, place
        assert not re.search(r"^.*: *$\n^$", text, re.M) or "newest first" in text, place
