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

from torch import nn

from benchbcss.contract import Context
from benchbcss.errors import WeightsError
from benchbcss.weights.hub import COMMIT, OF_MODELS, cached_commit, missing, reachable
from benchbcss.weights.value import Auto, Folder, Hub, short

N = TypeVar("N")

CONFIG = "config.json"
#: parts of an encoder that are behind its maps, or only used to pretrain it
_BESIDE_MAPS = {"pooler", "mask_token"}
#: buffers that older versions of transformers saved
_DERIVED = ("relative_position_index", "attn_mask", "inv_freq", "position_ids", "mask_token")


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
    assert isinstance(given, Hub)  # a folder's trouble is raised above
    raise missing(str(given), reason, _download(given, remedy), remedy)


def _download(given: Hub, remedy: str) -> str:
    which = f" --revision {given.revision}" if given.revision else ""
    return f"hf download {given.id}{which}" + " --local-dir DIR" * (remedy == OF_MODELS)


def with_absent(
    load: Callable[..., Any], given: Hub | Folder, **options: Any
) -> tuple[Any, set[str]]:
    """A transformers network, and the names of what was not there for it: a head of other classes
    is made anew.

    transformers only warns of weights that its configuration does not describe. Raises WeightsError
    where blocks of the network lack some of what is there for them, or have fewer than there are.
    """
    network, about = from_pretrained(
        load, given, ignore_mismatched_sizes=True, output_loading_info=True, **options
    )
    foreign = [name for name in about["unexpected_keys"] if _in_blocks(name, network)]
    if foreign:
        raise WeightsError(
            f"The weights {short(given)} are not of the network that their {CONFIG} describes: it "
            f"has no {short(sorted(foreign)[0], 80)}, and so on ({len(foreign)} such tensors)."
        )
    if isinstance(given, Hub):
        setattr(network, COMMIT, cached_commit(given.id, given.revision, CONFIG))
    mismatched = {name for name, *_ in about["mismatched_keys"]}
    return network, set(about["missing_keys"]) | mismatched


def encoder(load: Callable[..., Any], given: Hub | Folder, **options: Any) -> tuple[Any, set[str]]:
    """A transformers encoder of which every part that makes maps was there, and the names of what
    was not. Raises WeightsError, also where transformers itself would leave it at a random start.
    """
    network, lacking = with_absent(load, given, **options)
    absent = sorted(name for name in lacking if not set(name.split(".")) & _BESIDE_MAPS)
    if absent:
        raise WeightsError(
            f"The weights {short(given)} are not of the network that their {CONFIG} describes: "
            f"they lack {short(absent[0], 80)}, or have it in another shape, and so on "
            f"({len(absent)} such tensors)."
        )
    return network, lacking


def _in_blocks(name: str, network: Any) -> bool:
    """Whether a tensor that ``network`` has not lies in one of its lists of blocks, and is no
    buffer that follows from the architecture."""
    beginning = f"{network.base_model_prefix}."  # of files of a whole network around an encoder
    words = (name if hasattr(network, beginning[:-1]) else name.removeprefix(beginning)).split(".")
    if words[-1] in _DERIVED:
        return False
    module, inside = network, False
    for word in words:
        inside = inside or isinstance(module, nn.ModuleList)
        module = getattr(module, word, None)
        if not isinstance(module, nn.Module):
            return inside
    return inside


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
