"""``benchbcss show-roi``: what a run predicted for an ROI, beside the truth, as one picture."""

from __future__ import annotations

import io
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchbcss.cli import complete
from benchbcss.cli.main import say, workspace_option
from benchbcss.tracks import TRACKS

if TYPE_CHECKING:
    from benchbcss.results.schema import RunResult, TrackResult
    from benchbcss.results.spec import RunSpec


@click.command("show-roi")
@click.argument("run", shell_complete=complete.runs)
@click.argument("roi")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The PNG to write.  [default: BACKEND-ROI.png in the current folder]",
)
@click.option(
    "--track",
    type=click.Choice(list(TRACKS)),
    help="Of a run with several.  [default: prompted with --prompting, else its first]",
)
@click.option("--prompting", help="Of the prompted track.  [default: the suite's headline]")
@click.option(
    "--size",
    type=click.IntRange(32, 8192),
    default=768,
    show_default=True,
    help="Pixels along the longer side of each panel.",
)
@workspace_option
def show_roi(
    run: str,
    roi: str,
    output: Path | None,
    track: str | None,
    prompting: str | None,
    size: int,
    workspace: Path,
) -> None:
    """Write image, truth, prediction and errors of an ROI, side by side.

    RUN is a backend, a run's name, its id or its folder; ROI a file name, any part of one that only
    one ROI has, or "worst".
    """
    from benchbcss.io import write_output
    from benchbcss.results import scenes, store
    from benchbcss.runs.stored import find_finished
    from benchbcss.tracks import gallery

    run_dir = find_finished(run, workspace)
    result, spec = store.load(run_dir), store.load_spec(run_dir)
    chosen = _track(result, track, prompting)
    part = result.tracks[chosen]
    key = _prompting(part, prompting)
    name = find_roi(roi, part, spec)
    scene = scenes.scene(TRACKS[chosen].folder(run_dir, key) / name, spec, result, key)
    picture = gallery.picture(scene, _heading(result, key, name), size)
    path = output or Path(f"{result.backend}-{Path(name).stem}.png")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_output(path, buffer.getvalue())
    say(f"wrote {path}")


def find_roi(roi: str, part: TrackResult, spec: RunSpec) -> str:
    """The scored ROI that ``roi`` means: its name, a part of it that no other has, or 'worst'.
    Raises InputError where none is, naming a near miss, or several are."""
    from benchbcss.errors import InputError

    names = spec.scored
    if roi in names:
        return roi
    if roi == "worst" and part.spread and part.spread.worst:
        return part.spread.worst[0].roi
    meant = [name for name in names if Path(name).stem == Path(roi).stem]
    meant = meant or [name for name in names if roi.lower() in name.lower()]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise InputError(
            f"'{roi}' is in the names of {len(meant)} ROIs: {', '.join(sorted(meant)[:5])}"
            f"{', ...' if len(meant) > 5 else ''}. Give more of one name."
        )
    near = max(names, key=lambda name: _common(roi, name))
    raise InputError(
        f"There is no scored ROI '{roi}'. Did you mean '{near}'? The run scored {len(names)} ROIs."
    )


def _common(roi: str, name: str) -> int:
    """Characters that they share, in order; ROIs' names are long, what is typed is short."""
    blocks = SequenceMatcher(None, roi.lower(), name.lower(), autojunk=False).get_matching_blocks()
    return sum(block.size**2 for block in blocks)


def _track(result: RunResult, track: str | None, prompting: str | None) -> str:
    from benchbcss.errors import InputError

    with_prompts = [name for name, part in result.tracks.items() if part.prompting]
    chosen = track or next(iter(with_prompts if prompting else result.tracks), None)
    if chosen is None or chosen not in result.tracks:
        wanted = f"track '{chosen}'" if chosen else "prompted track"
        raise InputError(
            f"This run of {result.backend} has no {wanted}; it has {', '.join(result.tracks)}."
        )
    return chosen


def _prompting(part: TrackResult, wanted: str | None) -> str:
    """The key of the prompting, '' where the track has none. Raises UnknownNameError."""
    from benchbcss.errors import InputError, UnknownNameError

    if part.prompting is None:
        if wanted:
            raise InputError("--prompting is of the prompted track; leave out --track.")
        return ""
    keys = [part.prompting.key, *(other.prompting.key for other in part.others)]
    if wanted is not None and wanted not in keys:
        raise UnknownNameError("prompting of this run", wanted, keys)
    return wanted or keys[0]


def _heading(result: RunResult, key: str, name: str) -> list[str]:
    seed = f" seed {result.seed}" if result.seed else ""
    given = f" {result.name}" if result.name else ""
    how = f"prompted by {key}, from the truth" if key else "label map"
    about = f"{result.suite.name}, {how}"
    if result.data.phantom:
        about += ", synthetic image (phantom)"
    return [f"{result.backend}{given}{seed}: {Path(name).stem}", about]
