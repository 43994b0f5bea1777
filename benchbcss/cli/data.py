"""``benchbcss data``: verify a BCSS folder, show its statistics, write a phantom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from benchbcss.cli.main import say, workspace_option


@click.group()
def data() -> None:
    """Verify a BCSS folder, show statistics, write a phantom."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--label-map", default="bcss5", show_default=True, help="How codes are grouped into classes."
)
@click.option("--split", help="brief, official, eva, or a CSV; checked for leakage.")
@workspace_option
def verify(folder: Path, label_map: str, split: str | None, workspace: Path) -> None:
    """Decode every file of FOLDER and check sizes, codes and split; exits 2 on a problem."""
    from benchbcss.data.dataset import Dataset
    from benchbcss.data.labels import label_map as resolve
    from benchbcss.data.splits import load_split
    from benchbcss.data.store import TileStore
    from benchbcss.errors import DataError

    store = TileStore(workspace / "store")
    source = Dataset(folder, store)
    labels = resolve(label_map, source.code_table())
    problems = []
    good = []
    for name in source.names:  # every problem is listed, not only the first
        try:
            good.append(source.rois([name], labels)[name])
        except DataError as error:
            problems.append(str(error))
    for problem in problems:
        say(f"problem: {problem}")
    pixels = sum(roi.shape[0] * roi.shape[1] for roi in good)
    click.echo(
        f"{len(good)} of {len(source.names)} ROIs are sound, {pixels / 1e6:.1f} Mpx; "
        f"label map {label_map} {labels.fingerprint()[:12]}; "
        f"tile store {store.size() / 1e6:.1f} MB in {store.root} (safe to delete)"
    )
    if source.colour_normalised:
        click.echo("The images are colour-normalised already; do not normalise them again.")
    if problems:
        raise DataError(f"{len(problems)} of {len(source.names)} ROIs cannot be used.")
    if split is not None:
        parts = load_split(split, source.names)
        leakage = parts.leakage()
        click.echo(
            f"split {parts.name}: {len(parts.train)} train, {len(parts.val)} val, "
            f"{len(parts.test)} test"
        )
        for title, files in (
            ("in no part of the split", parts.unassigned),
            ("in the split but not in the folder", parts.absent),
        ):
            for name in files:
                click.echo(f"  {title}: {name}")
        for warning in leakage.warnings:
            click.echo(f"  warning: {warning}")
        if leakage.errors:
            raise DataError(" ".join(leakage.errors))


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--label-map", default="bcss5", show_default=True, help="How codes are grouped into classes."
)
@click.option(
    "--mpp",
    type=click.FloatRange(min=0, min_open=True),
    default=0.30,
    show_default=True,
    help="Scale in um per pixel.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Output format.",
)
@workspace_option
def stats(folder: Path, label_map: str, mpp: float, form: str, workspace: Path) -> None:
    """Pixels, ROIs and 8-connected components of every class, and ROIs per institute."""
    from collections import Counter

    import numpy as np
    from scipy import ndimage

    from benchbcss.data.dataset import Dataset
    from benchbcss.data.labels import label_map as resolve
    from benchbcss.data.store import TileStore

    source = Dataset(folder, TileStore(workspace / "store"))
    labels = resolve(label_map, source.code_table())
    rois = source.rois(source.names, labels)
    total = sum(roi.shape[0] * roi.shape[1] for roi in rois.values())
    rows: list[dict[str, Any]] = []
    sizes: list[list[float]] = [[] for _ in labels.classes]
    for roi in rois.values():
        target = roi.target(labels)
        for label in range(len(labels.classes)):
            parts, count = ndimage.label(target == label, np.ones((3, 3)))
            if count:
                sizes[label] += list(np.bincount(parts.reshape(-1))[1:] * mpp**2)
    for label, (name, codes) in enumerate(labels.classes):
        counts = np.array([roi.class_pixels(labels)[label] for roi in rois.values()])
        rows.append(
            {
                "class": name,
                "codes": " ".join(map(str, codes)),
                "pixels": int(counts.sum()),
                "share of all pixels": round(float(counts.sum() / total), 4),
                "ROIs with it": int((counts > 0).sum()),
                "components": len(sizes[label]),
                "median component um2": round(float(np.median(sizes[label])), 1)
                if sizes[label]
                else None,
            }
        )
    ignored = total - sum(row["pixels"] for row in rows)
    institutes = dict(sorted(Counter(roi.institute for roi in rois.values()).items()))
    if form == "json":
        click.echo(
            json.dumps(
                {
                    "rois": len(rois),
                    "pixels": total,
                    "ignored": ignored,
                    "mpp": mpp,
                    "classes": rows,
                    "institutes": institutes,
                },
                indent=1,
            )
        )
        return
    from benchbcss.cli.listing import _print

    _print(rows, "table", "")
    click.echo(
        f"{len(rois)} ROIs, {total / 1e6:.2f} Mpx at {mpp} um/px; ignored "
        f"{ignored / total:.1%}; institutes: "
        + ", ".join(f"{site} {count}" for site, count in institutes.items())
    )


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--rois", type=int, default=24, show_default=True, help="How many ROIs.")
@click.option("--size", type=int, default=512, show_default=True, help="Their side in pixels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other images.")
def phantom(folder: Path, rois: int, size: int, seed: int) -> None:
    """Write a synthetic dataset in BCSS's layout to FOLDER."""
    from benchbcss.data.phantom import generate
    from benchbcss.errors import InputError

    try:
        generate(folder, rois=rois, size=size, seed=seed)
    except ValueError as error:
        raise InputError(str(error)) from error
    click.echo(f"{rois} synthetic ROIs of {size} px in {folder}; not BCSS")
