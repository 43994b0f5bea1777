"""``benchbcss data``: verify a folder, show its statistics, write a suite for it, a phantom."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchbcss.cli import complete
from benchbcss.cli.main import Positive, format_option, say, workspace_option
from benchbcss.contract import COARSEST, FINEST

if TYPE_CHECKING:
    from benchbcss.data.dataset import Dataset, Roi
    from benchbcss.data.labels import LabelMap


SUITE = click.option(
    "--suite",
    shell_complete=complete.suites,
    metavar="NAME|FILE",
    help="Label map, reader and split of a suite.",
)
LABEL_MAP = click.option("--label-map", help="A built-in label map instead.  [default: bcss5]")


@click.group()
def data() -> None:
    """Verify a data folder, show statistics, write a suite for it, write a phantom."""


@dataclass(frozen=True)
class _Opened:
    """A folder with what a suite, or a label map alone, says of it."""

    source: Dataset
    labels: LabelMap
    name: str
    mpp: float = 0.30
    split: str | None = None
    bcss_codes: bool = True


def _open(folder: Path, suite: str | None, label_map: str | None, workspace: Path) -> _Opened:
    from benchbcss.data.dataset import Dataset
    from benchbcss.data.labels import label_map as resolve
    from benchbcss.data.splits import is_table
    from benchbcss.data.store import TileStore

    store = TileStore(workspace / "store")
    if suite is None:
        source = Dataset(folder, store)
        name = label_map or "bcss5"
        return _Opened(source, resolve(name, source.code_table()), name)
    if label_map is not None:
        raise click.UsageError("--suite has a label map already; leave out --label-map.")
    from benchbcss import registry
    from benchbcss.suites import find_suite, load_suite

    known = {name: entry.load() for name, entry in registry.load().suites.items()}
    definition, _ = load_suite(find_suite(suite, known))
    source = Dataset(folder, store, definition.reading())
    split = definition.split
    if is_table(split):
        split = str(folder / split)  # a suite names the CSV beside its data
    labels = definition.labels(source.code_table())
    return _Opened(
        source, labels, definition.name, definition.mpp, split, definition.has_bcss_codes
    )


@data.command(short_help="Check every file, codes and split; exits 2 on a problem.")
@click.argument("folder", type=click.Path(path_type=Path))
@SUITE
@LABEL_MAP
@click.option("--split", help="brief, official, eva, or a CSV; checked for leakage.")
@workspace_option
def verify(
    folder: Path, suite: str | None, label_map: str | None, split: str | None, workspace: Path
) -> None:
    """Decode every file of FOLDER and check sizes, codes and split; exits 2 on a problem."""
    from benchbcss.cli import progress
    from benchbcss.data.dataset import identical
    from benchbcss.errors import DataError

    opened = _open(folder, suite, label_map, workspace)
    source, labels, name = opened.source, opened.labels, opened.name
    store, split = source.store, split or opened.split
    problems: list[str] = []
    good: dict[str, Roi] = {}
    with progress.shown() as display:
        for roi in display.counted(source.names, doing="reading"):  # every problem is listed
            try:
                good |= source.rois([roi], labels)
            except DataError as error:
                problems.append(str(error))
    for problem in problems:
        say(f"problem: {problem}")
    pixels = sum(roi.shape[0] * roi.shape[1] for roi in good.values())
    click.echo(
        f"{len(good)} of {len(source.names)} ROIs are sound, {pixels / 1e6:.1f} Mpx; "
        f"label map {name} {labels.fingerprint()[:12]}; "
        f"tile store {store.size() / 1e6:.1f} MB in {store.root} (safe to delete)"
    )
    if source.colour_normalised:
        click.echo("The images are colour-normalised already; do not normalise them again.")
    for doubt in source.doubts(good, opened.mpp, bcss_codes=opened.bcss_codes):
        click.echo(f"  warning: {doubt}")
    if problems:
        raise DataError(f"{len(problems)} of {len(source.names)} ROIs cannot be used.")
    if split is not None:
        parts = source.split(split)
        leakage = parts.leakage()
        click.echo(
            f"split {parts.name}: {len(parts.train)} train, {len(parts.val)} val, "
            f"{len(parts.test)} test; {leakage.claim}"
        )
        for title, files in (
            ("in no part of the split", parts.unassigned),
            ("in the split but not in the folder", parts.absent),
        ):
            for file in files:
                click.echo(f"  {title}: {file}")
        for hint in parts.hints:
            click.echo(f"  near miss: {hint}")
        for warning in leakage.warnings:
            click.echo(f"  warning: {warning}")
        errors = [*leakage.errors, *identical(good, parts)]
        if errors:
            raise DataError(" ".join(errors))


@data.command(short_help="Pixels, ROIs and components per class, ROIs per institute.")
@click.argument("folder", type=click.Path(path_type=Path))
@SUITE
@LABEL_MAP
@click.option(
    "--mpp",
    type=Positive(COARSEST, FINEST),
    help="Scale in um per pixel.  [default: the suite's, or 0.30]",
)
@format_option
@workspace_option
def stats(
    folder: Path,
    suite: str | None,
    label_map: str | None,
    mpp: float | None,
    form: str,
    workspace: Path,
) -> None:
    """Pixels, ROIs and 8-connected components of every class, and ROIs per institute."""
    from benchbcss.cli import progress
    from benchbcss.data.statistics import statistics
    from benchbcss.errors import DataError

    opened = _open(folder, suite, label_map, workspace)
    source, labels = opened.source, opened.labels
    if opened.split is not None:
        with contextlib.suppress(DataError):
            source.split(opened.split)  # its CSV may name the institutes
    with progress.shown() as display:
        rois = source.rois(display.counted(source.names, doing="reading"), labels)
        content = statistics(rois.values(), labels, mpp or opened.mpp, display)
    if form == "json":
        click.echo(json.dumps(content, indent=1))
        return
    from benchbcss.cli.listing import show_rows

    show_rows(content["classes"], "table", "")
    click.echo(
        f"{content['rois']} ROIs, {content['pixels'] / 1e6:.2f} Mpx at {content['mpp']} um/px; "
        f"ignored {content['ignored'] / content['pixels']:.1%}; institutes: "
        + ", ".join(f"{site} {count}" for site, count in content["institutes"].items())
    )


@data.command(short_help="Write a suite file that fits a folder, with a split.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Suite file.  [default: in FOLDER]")
@click.option("--images", help="Folder of the images, within FOLDER.")
@click.option("--masks", help="Folder of the masks, within FOLDER.")
@click.option("--mask-suffix", help="What a mask's name has beyond its image's, such as _anno.")
@click.option("--pairs", help="CSV with the columns image,mask, within FOLDER.")
@click.option(
    "--classes",
    type=click.Path(path_type=Path),
    help="YAML, JSON or CSV that names the masks' values or colours.  [default: a dataset.json]",
)
@click.option("--patient-pattern", help="Regular expression: its group in a name is the patient.")
@click.option("--site-pattern", help="Likewise for the institute.")
@workspace_option
def prepare(
    folder: Path, output: Path | None, classes: Path | None, workspace: Path, **reading: Any
) -> None:
    """Look at FOLDER and write a suite file that fits it, with a split grouped by patient."""
    from benchbcss.cli import progress
    from benchbcss.data import prepare as preparing
    from benchbcss.data.reader import Reading
    from benchbcss.data.store import TileStore

    with progress.shown() as display:
        store = TileStore(workspace / "store")
        proposal = preparing.look(folder, store, Reading(**reading), classes, display)
    total = sum(proposal.pixels.values())
    click.echo(f"{len(proposal.rois)} ROIs, {total / 1e6:.2f} Mpx, layout {proposal.reader}")
    for code, pixels in proposal.pixels.items():
        click.echo(f"  code {code}: {pixels} px, {pixels / total:.1%}")
    for note in proposal.notes:
        say(f"note: {note}")
    suite = output or folder / f"{preparing.suite_name(folder)}.yaml"
    suite, table = preparing.write(proposal, folder, suite)
    click.echo(f"wrote {suite} and {table}: read their comments, then")
    where = [shlex.quote(str(path)) for path in (folder, suite)]
    click.echo("  benchbcss data verify {} --suite {}".format(*where))
    click.echo("  benchbcss run BACKEND --data {} --suite {}".format(*where))


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--rois", type=click.IntRange(6, 10_000), default=24, show_default=True, help="How many ROIs."
)
@click.option(
    "--size",
    type=click.IntRange(64, 8192),
    default=512,
    show_default=True,
    help="Their side in pixels.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Another seed, other images.",
)
def phantom(folder: Path, rois: int, size: int, seed: int) -> None:
    """Write a synthetic dataset in BCSS's layout to FOLDER."""
    from benchbcss.cli import progress
    from benchbcss.data.phantom import generate
    from benchbcss.errors import InputError

    try:
        with progress.shown() as display:
            generate(folder, rois=rois, size=size, seed=seed, progress=display)
    except ValueError as error:
        raise InputError(str(error)) from error
    click.echo(f"{rois} synthetic ROIs of {size} px in {folder}; not BCSS")
