"""Loads what a library's ``from_pretrained`` reads: a folder, or a hub repository, from the cache
first. A network that is not available is an error within seconds, and no library's progress bar is
shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from benchbcss.contract import Context
from benchbcss.errors import WeightsError
from benchbcss.weights.hub import OF_MODELS, missing, reachable
from benchbcss.weights.value import Auto, Folder, Hub, short

N = TypeVar("N")

CONFIG = "config.json"


def has_config(folder: Folder) -> bool:
    """Whether ``save_pretrained`` wrote it, so that it brings its architecture."""
    return (Path(folder.path) / CONFIG).is_file()


def from_pretrained(
    load: Callable[..., Any], given: Hub | Folder, *, remedy: str = OF_MODELS, **options: Any
) -> Any:
    """``load(source, local_files_only=..., **options)`` of a folder or hub repository.

    Raises WeightsError naming what is missing, or what a folder holds that cannot be read.
    """
    from huggingface_hub import constants

    folder = isinstance(given, Folder)
    source = str(given.verified()) if isinstance(given, Folder) else given.id
    revision = {} if isinstance(given, Folder) else {"revision": given.revision or "main"}
    reason = ""
    with _quiet():
        for local in (True, False):
            if not local and not reachable():
                reason += f", and {constants.ENDPOINT} cannot be reached"
                break
            try:
                return load(source, local_files_only=local, **revision, **options)
            except Exception as error:
                lines = str(error).strip().splitlines() or [""]
                reason = f"{type(error).__name__}: {lines[0][:200]}"
                if folder:
                    raise WeightsError(
                        f"Weights {short(source)} cannot be read: {reason}"
                    ) from error
    raise missing(str(given), reason, _download(source, remedy), remedy)


def _download(source: str, remedy: str) -> str:
    return f"hf download {source}" + " --local-dir DIR" * (remedy == OF_MODELS)


def with_absent(
    load: Callable[..., Any], given: Hub | Folder, **options: Any
) -> tuple[Any, set[str]]:
    """A transformers network, and the names of what was not there for it: a head of other classes
    is made anew."""
    network, about = from_pretrained(
        load, given, ignore_mismatched_sizes=True, output_loading_info=True, **options
    )
    mismatched = {name for name, *_ in about["mismatched_keys"]}
    return network, set(about["missing_keys"]) | mismatched


def of_repository(
    context: Context, automatic: Hub | None, load: Callable[[Hub | Folder], N]
) -> tuple[N | None, str]:
    """What ``load`` makes of the weights asked for (of ``automatic`` ones, unless others are named)
    where they are a hub repository or a folder of ``save_pretrained``, which bring an architecture.

    None where they are something else, with '', or where automatic ones are not available and may
    be missing, with a note that says so. Raises WeightsError.
    """
    asked = context.weights
    given = automatic if isinstance(asked, Auto) else asked
    if not (isinstance(given, Hub) or (isinstance(given, Folder) and has_config(given))):
        return None, ""
    try:
        return load(given), ""
    except WeightsError:
        if context.strict_weights or not isinstance(asked, Auto):
            raise
    return None, f"random (pretrained weights {given} were not available)"


@contextmanager
def _quiet() -> Iterator[None]:
    """A new class head is intended: transformers' table of mismatched shapes is noise here."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
