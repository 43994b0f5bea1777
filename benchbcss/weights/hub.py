"""Files of the Hugging Face hub, from the local cache or the hub.

Errors come within seconds: the hub's own client retries for half a minute before it says that
there is no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchbcss.errors import COMPLETE, WeightsError

PROBE_SECONDS = 3.0
COMMIT = "_benchbcss_commit"  # the attribute of a network that says which commit it was loaded from
#: what to do with downloaded weights, after "Download them on a machine with network access"
OF_MODELS = "and pass them with --weights PATH, or start from random weights with --weights none"
OF_CLIP = (
    "into the cache that runs read (HF_HOME); what finished runs lack is then measured, without "
    f"training, by: {COMPLETE}"
)


def reachable() -> bool:
    """Whether the hub answers at all."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception:
        return False
    return True


def missing(source: str, reason: str, download: str, remedy: str = OF_MODELS) -> WeightsError:
    """The error for weights that are not available; ``download`` is the command that gets them,
    ``remedy`` says what to do with them."""
    return WeightsError(
        f"Pretrained weights {source} are not available: {reason}. Download them on a machine "
        f"with network access (`{download}`) {remedy}."
    )


def fetch(
    repository: str,
    filename: str | Sequence[str],
    revision: str | None = None,
    remedy: str = OF_MODELS,
) -> Path:
    """A file of a hub repository, from the local cache or the hub; of several names, the first that
    can be had. Raises WeightsError, whose advice is to get the whole repository where it is not
    known which of several names the file has."""
    names = (filename,) if isinstance(filename, str) else filename
    reason = ""
    for name in names:
        fetched = _fetched(repository, name, revision)
        if isinstance(fetched, Path):
            return fetched
        reason = fetched
    what = [names[0]] if len(names) == 1 else []
    which = [] if revision is None else ["--revision", revision]
    where = [] if what else ["--local-dir DIR"]
    raise missing(
        repository, reason, " ".join(["hf download", repository, *what, *which, *where]), remedy
    )


def commit_of(path: Path) -> str:
    """The commit that a file of the hub's cache is of; empty for any other file."""
    for folder in path.parents:
        if folder.parent.name == "snapshots":
            return folder.name
    return ""


def cached_commit(repository: str, revision: str | None, filename: str) -> str:
    """The commit of a revision that the hub's cache has a file of; empty where it has none."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, filename, revision=revision)
    return commit_of(Path(path)) if isinstance(path, str) else ""


def is_known_absent(repository: str, filename: str, revision: str | None = None) -> bool:
    """Whether the hub's cache remembers that a repository has no such file."""
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    return try_to_load_from_cache(repository, filename, revision=revision) is _CACHED_NO_EXIST


def _fetched(repository: str, name: str, revision: str | None) -> Path | str:
    """The file, or why it cannot be had."""
    from huggingface_hub import constants, hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
    except Exception as error:
        reason = f"not in the cache ({type(error).__name__})"
    if not reachable():
        return f"{reason}, and {constants.ENDPOINT} cannot be reached"
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
