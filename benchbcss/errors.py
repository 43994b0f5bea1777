"""Every error a user can meet, as one tree.

::

    BenchError                    exit code 1
    ├── InputError                exit code 2: bad usage or bad input
    │   ├── DataError             images, masks, codes, splits
    │   ├── SuiteError            a suite or a label map
    │   ├── RecipeError           a recipe or a --set override
    │   ├── UnknownNameError      a misspelt backend, suite or split; suggests near misses
    │   └── WeightsError          pretrained weights missing, truncated or of another variant
    ├── PluginError               a plugin broke the contract (shape, NaN, labels out of range)
    │   └── NonFiniteError        its predictions are NaN or infinite
    └── RunError                  a worker failed

Each message says what is wrong, where, and what to do next.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

#: measures what finished runs lack for want of weights, as several messages advise
COMPLETE = "benchbcss rescore --complete"
#: known names that a message lists, and how many of more
MOST_LISTED, NEAREST_LISTED = 40, 8


class BenchError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is the process's exit status."""

    exit_code = 1


class InputError(BenchError):
    """The user's input cannot be used."""

    exit_code = 2


class DataError(InputError):
    """An image, mask, code table or split is missing, corrupt or contradictory."""


class SuiteError(InputError):
    """A suite or label map is invalid."""


class RecipeError(InputError):
    """A recipe file or an override is invalid."""


class WeightsError(InputError):
    """Pretrained weights are not available or do not fit the model."""


class UnknownNameError(InputError):
    """A name nobody registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f" Did you mean '{near[0]}'?" if near else ""
        listing = _listing(name, names)
        tail = f" {hint}" if hint else ""
        super().__init__(f"There is no {kind} '{name}'.{guess} Known: {listing}.{tail}")


def _listing(name: str, names: Sequence[str]) -> str:
    """All of them, or of too many to be read those that are most like ``name``."""
    if len(names) <= MOST_LISTED:
        return ", ".join(names) if names else "none"
    nearest = difflib.get_close_matches(name, names, n=NEAREST_LISTED, cutoff=0.0)
    return f"{', '.join(nearest)} and {len(names) - len(nearest)} more"


class PluginError(BenchError):
    """A backend broke the contract: wrong shape, NaN logits, labels out of range."""


class NonFiniteError(PluginError):
    """A prediction is NaN or infinite; while training, that is a divergence."""


class RunError(BenchError):
    """A worker failed; the message carries its reason and its log file."""


def explain(error: BaseException, code: str = "") -> str:
    """An error in one line: our own in its words, others with their type, and with file and line
    where they passed through ``code``, a package or module (a plugin's, say)."""
    said = " ".join(_own_words(error).split())
    if isinstance(error, BenchError):
        return said
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    place = "" if isinstance(error, SyntaxError) else _place(error, code)
    return f"{text} ({place})" if place else text


def _own_words(error: BaseException) -> str:
    """What an error says; of one that torch passed on from a process that reads samples, with its
    traceback as the message, what that said."""
    said = str(error)
    if not said.startswith("Caught ") or "Original Traceback" not in said:
        return said
    return said.rstrip().splitlines()[-1].partition(": ")[2]


def _place(error: BaseException, code: str) -> str:
    """The innermost line of ``code`` that ``error`` passed through: "package/file.py, line 3"."""
    package = code.partition(".")[0]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = str(frame.f_globals.get("__name__", ""))
        if package and name.partition(".")[0] == package:
            path = Path(frame.f_code.co_filename)
            depth = name.count(".") + 1 + (path.name == "__init__.py")
            return f"{'/'.join(path.parts[-depth:])}, line {line}"
    return ""
