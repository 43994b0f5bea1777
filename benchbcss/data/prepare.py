"""Look at a folder and write a suite that fits it, with a split grouped by patient.

What the files do not say (what a code means, um per pixel, whose tissue it is) is written as a
comment for a person to settle, never guessed in silence.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchbcss.data import bcss
from benchbcss.data.dataset import Dataset, Roi
from benchbcss.data.images import Colour
from benchbcss.data.reader import Reading, choose, matched, open_reader
from benchbcss.data.splits import PARTS
from benchbcss.data.store import TileStore
from benchbcss.errors import BenchError, DataError, InputError
from benchbcss.io import write_bytes
from benchbcss.progress import SILENT, Progress

SHARES = {"test": 0.25, "val": 0.15}  # of the ROIs; train is the rest
MOST_COLOURS = 64  # a mask with more was not coloured by hand


@dataclass(frozen=True)
class Proposal:
    """What was found, and what is proposed."""

    reader: str
    reading: Reading
    rois: Mapping[str, Roi]
    pixels: Mapping[int, int]  # per code
    patients: Mapping[str, str]
    parts: Mapping[str, str]  # ROI -> part
    official: bool  # BCSS's own codes
    notes: tuple[str, ...] = field(default=())

    @property
    def splits_csv(self) -> str:
        """``filename,split,patient,site``; cells are empty where a file does not tell."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("filename", "split", "patient", "site"))
        for part in PARTS:
            for name in sorted(name for name, where in self.parts.items() if where == part):
                roi = self.rois[name]
                writer.writerow((name, part, self.patients.get(name, ""), roi.site or ""))
        return table.getvalue()


def look(folder: Path, store: TileStore, reading: Reading, progress: Progress = SILENT) -> Proposal:
    """Decode everything in ``folder`` and propose. Raises DataError naming what cannot be used."""
    named = choose(folder, reading)
    reading = replace(reading, reader=named)
    reader = open_reader(folder, reading)
    notes = []
    if named != "bcss" and any(matched(bcss.PATIENT, roi, "patient") for roi in reader.ids):
        reading = replace(
            reading,
            patient_pattern=bcss.PATIENT.lstrip("^").rstrip("-"),
            site_pattern=bcss.SITE.lstrip("^").rstrip("-"),
        )
    if colours := _colours([reader.source(roi).mask for roi in reader.ids]):
        reading = replace(reading, colours=colours)
    source = Dataset(folder, store, reading)
    rois, problems = {}, []
    for name in progress.counted(source.names, doing="reading"):
        try:
            rois[name] = source.roi(name)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(
            f"{len(problems)} of {len(source.names)} ROIs cannot be read: {' '.join(problems[:3])}"
        )
    pixels: Counter[int] = Counter()
    for roi in rois.values():
        pixels.update(roi.mask_entry.codes)
    if len(pixels) > 254:
        raise DataError(
            f"The masks in {folder} have {len(pixels)} different values; at most 254 classes fit. "
            f"Are they instance numbers, or resampled with interpolation?"
        )
    patients = {name: who for name in rois if (who := source.reader.patient(name))}
    if len(patients) < len(rois):
        notes.append(
            f"patients are unknown for {len(rois) - len(patients)} of {len(rois)} ROIs: fill the "
            f"column 'patient' of the split's CSV, or set patient_pattern, before trusting it"
        )
    official = named == "bcss" and (source.code_table() is not None or len(patients) == len(rois))
    parts = propose_split(rois, patients)
    return Proposal(
        named, reading, rois, dict(sorted(pixels.items())), patients, parts, official, tuple(notes)
    )


def propose_split(rois: Mapping[str, Roi], patients: Mapping[str, str]) -> dict[str, str]:
    """{ROI: part}; a patient's ROIs, and identical images, stay together.

    Groups are taken in an order that depends on their names alone. Raises DataError when there are
    fewer than two groups.
    """
    groups = _groups(rois, patients)
    if len(groups) < 2:
        raise DataError(
            "All ROIs are of one patient or one image, so nothing can be held out for a test."
        )
    largest = max(groups, key=len)
    groups.remove(largest)
    groups.sort(key=lambda names: hashlib.sha256(names[0].encode()).hexdigest())
    wanted = {part: max(1, round(share * len(rois))) for part, share in SHARES.items()}
    parts = dict.fromkeys(largest, "train")
    for place, names in enumerate(groups):
        empty = [part for part in wanted if part not in parts.values()]
        if len(groups) - place <= len(empty):
            part = empty[0]  # every part gets a group while there are any
        else:
            part = next((part for part in wanted if wanted[part] > 0), "train")
        if part in wanted:
            wanted[part] -= len(names)
        parts |= dict.fromkeys(names, part)
    return parts


def _groups(rois: Mapping[str, Roi], patients: Mapping[str, str]) -> list[list[str]]:
    """ROIs that share a patient or an image, directly or through others; sorted."""
    leader = {name: name for name in rois}

    def head(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    first: dict[tuple[str, str], str] = {}
    for name in sorted(rois):
        ties = [("image", rois[name].image_entry.sha256)]
        if name in patients:
            ties.append(("patient", patients[name]))
        for tie in ties:
            leader[head(name)] = head(first.setdefault(tie, name))
    groups: dict[str, list[str]] = {}
    for name in sorted(rois):
        groups.setdefault(head(name), []).append(name)
    return list(groups.values())


def _colours(masks: Sequence[Path]) -> dict[Colour, int]:
    """A code for each colour of RGB masks, darkest first; empty if masks have one channel."""
    present: set[int] = set()
    for path in masks:
        try:
            with Image.open(path) as image:
                if image.mode not in ("RGB", "RGBA"):
                    continue
                rgb = np.asarray(image.convert("RGB"), np.uint32)
        except (OSError, SyntaxError, ValueError):
            continue  # reading it properly says what is wrong with it
        present |= set(np.unique(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).tolist())
        if len(present) > MOST_COLOURS:
            raise DataError(
                f"{path}: the masks have more than {MOST_COLOURS} colours, so they are lossy, or "
                f"resampled with interpolation. Export them anew as PNG with flat colours."
            )
    colours = sorted((value >> 16, value >> 8 & 255, value & 255) for value in present)
    return {colour: code for code, colour in enumerate(sorted(colours, key=sum))}


def suite_text(proposal: Proposal, folder: Path, split: str) -> str:
    """The suite as YAML with comments."""
    total = sum(proposal.pixels.values())
    sides = [side for roi in proposal.rois.values() for side in roi.shape]
    tile = 1024 if min(sides) >= 1024 else max(32, min(sides) // 32 * 32)
    lines = [
        f"# Written by 'benchbcss data prepare' from {len(proposal.rois)} ROIs of "
        f"{min(sides)} to {max(sides)} px, {total / 1e6:.2f} Mpx.",
        "# Check what a comment asks; then: benchbcss suites --validate THIS FILE",
        f"summary: {json.dumps(f'Images of {folder.resolve().name}')}",
        *_label_map(proposal, total),
        f"split: {json.dumps(split)}  # a proposal: "
        + ", ".join(f"{list(proposal.parts.values()).count(part)} {part}" for part in PARTS),
        *(f"# {note}" for note in proposal.notes),
        f"reader: {proposal.reader}",
        *_reading(proposal.reading),
        "mpp: 0.30  # not known: set the um per pixel of these images; sizes in um depend on it",
        f"tile: {{size: {tile}, overlap: {tile // 4}}}  # at most the smallest side",
        "budget: {epochs: 100}",
        "presets:",
        "  smoke:",
        "    budget: {epochs: null, steps: 300}",
    ]
    return "\n".join(lines) + "\n"


def _label_map(proposal: Proposal, total: int) -> list[str]:
    def amount(code: int) -> str:
        pixels = proposal.pixels[code]
        return f"{pixels:,} px, {pixels / total:.1%}"

    if proposal.official:
        counted = "; ".join(f"{code}: {amount(code)}" for code in proposal.pixels)
        return ["label_map: bcss5  # BCSS's codes; others: amgad5, tumor_binary", f"# {counted}"]
    codes = list(proposal.pixels)
    binary = len(codes) == 2 and codes[0] == 0
    names = ["background", "foreground"] if binary else [f"class_{code}" for code in codes]
    hexes = {
        code: "#{:02x}{:02x}{:02x}".format(*rgb) for rgb, code in proposal.reading.colours.items()
    }
    lines = [
        "label_map:",
        "  # What the codes mean is not known: rename them, group them in classes.",
    ]
    lines.append("  codes:")
    for name, code in zip(names, codes, strict=True):
        colour = f", {hexes[code]}" if code in hexes else ""
        lines.append(f"    {name}: {code}  # {amount(code)}{colour}")
    unseen = sorted(set(hexes) - set(codes))
    lines.append("  classes:")
    lines += [f"    {name}: [{name}]" for name in names]
    if codes[0] == 0:
        lines.append(f"  # Is {names[0]} tissue that was looked at? If not annotated, ignore it.")
    lines.append("  ignore: []")
    if binary:
        lines.append("  mean: [foreground]  # classes that count in the mean")
    if hexes:
        lines.append("colours:")
        by_code = dict(zip(codes, names, strict=True))
        lines += [
            f"  {by_code.get(code, code)}: '{text}'"
            for code, text in sorted(hexes.items())
            if code not in unseen
        ]
    return lines


def _reading(reading: Reading) -> list[str]:
    lines = []
    names = ("images", "masks", "mask_suffix", "pairs")
    files = {name: value for name in names if (value := getattr(reading, name)) is not None}
    if files:
        lines.append(f"files: {json.dumps(files)}")
    for name in ("patient_pattern", "site_pattern"):
        if pattern := getattr(reading, name):
            lines.append(f"{name}: '{pattern.replace(chr(39), 2 * chr(39))}'")
    return lines


def write(proposal: Proposal, folder: Path, suite: Path) -> tuple[Path, Path]:
    """The suite file and its split's CSV beside it. Raises InputError where one exists."""
    from benchbcss.suites import mistakes

    table = suite.with_name("splits.csv" if suite.parent == folder else f"{suite.stem}-splits.csv")
    for path in (suite, table):
        if path.exists():
            raise InputError(
                f"{path} exists already and is left as it is. Remove it, or pass --output FILE."
            )
    try:
        suite.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(table, proposal.splits_csv.encode())
        split = table.name if suite.parent == folder else str(table.resolve())
        write_bytes(suite, suite_text(proposal, folder, split).encode())
    except (OSError, BenchError) as error:
        raise InputError(
            f"{suite} cannot be written: {error} Pass --output FILE in a folder of yours."
        ) from error
    if problems := mistakes(suite):
        raise AssertionError(f"the suite that was written is not valid: {problems}")
    return suite, table


def suite_name(folder: Path) -> str:
    """A suite's name from its folder's: lower case, digits and single hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return name or "own"
