"""What ``data prepare`` proposes for a folder, and the suite file that says so.

What is not known stands there as a comment, for a person to settle.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbcss.data.class_maps import NOTHING
from benchbcss.data.dataset import Roi
from benchbcss.data.reader import Reading
from benchbcss.data.splits import PARTS
from benchbcss.names import printable

_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # YAML reads them as values


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
    names: Mapping[int, str | None] = field(default_factory=dict)  # of codes; None: no class
    notes: tuple[str, ...] = field(default=())
    mpp: float | None = None  # um per pixel, as the images' files say it

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


def suite_text(proposal: Proposal, folder: Path, split: str) -> str:
    """The suite as YAML with comments."""
    total = sum(proposal.pixels.values())
    sides = [side for roi in proposal.rois.values() for side in roi.shape]
    tile = 1024 if min(sides) >= 1024 else max(32, min(sides) // 32 * 32)
    lines = [
        f"# Written by 'benchbcss data prepare' from {len(proposal.rois)} ROIs of "
        f"{min(sides)} to {max(sides)} px, {total / 1e6:.2f} Mpx.",
        "# Check what a comment asks; then: benchbcss suites --validate THIS FILE",
        f"summary: {_quoted(f'Images of {printable(os.path.basename(os.path.realpath(folder)))}')}",
        *_label_map(proposal, total),
        f"split: {_quoted(split)}  # a proposal: "
        + ", ".join(f"{list(proposal.parts.values()).count(part)} {part}" for part in PARTS),
        *(f"# {note}" for note in proposal.notes),
        f"reader: {proposal.reader}",
        *_reading(proposal.reading),
        _scale(proposal.mpp),
        f"tile: {{size: {tile}, overlap: {tile // 4}}}  # at most the smallest side",
        "budget: {epochs: 100}",
        "presets:",
        "  smoke:",
        "    budget: {epochs: null, steps: 300}",
    ]
    return "\n".join(lines) + "\n"


def _scale(mpp: float | None) -> str:
    if mpp:
        return f"mpp: {mpp:g}  # as tags of the images say: check it; sizes in um depend on it"
    return "mpp: 0.30  # not known: set the um per pixel of these images; sizes in um depend on it"


def _label_map(proposal: Proposal, total: int) -> list[str]:
    def amount(code: int) -> str:
        pixels = proposal.pixels[code]
        return f"{pixels:,} px, {pixels / total:.1%}"

    if proposal.official:
        counted = "; ".join(f"{code}: {amount(code)}" for code in proposal.pixels)
        return ["label_map: bcss5  # BCSS's codes; others: amgad5, tumor_binary", f"# {counted}"]
    codes = list(dict.fromkeys((*proposal.pixels, *proposal.names)))
    hexes = {
        code: "#{:02x}{:02x}{:02x}".format(*rgb) for rgb, code in proposal.reading.colours.items()
    }
    names = _code_names(proposal, codes)
    ignored = [code for code in codes if _is_nothing(proposal, code)]
    kept: dict[str, list[str]] = {}  # class -> its codes' names
    for code in codes:
        if code not in ignored:
            kept.setdefault(proposal.names.get(code) or names[code], []).append(names[code])
    lines = ["label_map:"]
    if not proposal.names:
        lines.append("  # What the codes mean is not known: rename them, group them in classes.")
    lines.append("  codes:")
    for code in sorted(codes):
        colour = f", {hexes[code]}" if code in hexes else ""
        counted = amount(code) if code in proposal.pixels else "0 px"
        lines.append(f"    {_plain(names[code])}: {code}  # {counted}{colour}")
    lines.append("  classes:")
    lines += [
        f"    {_plain(name)}: [{', '.join(map(_plain, group))}]" for name, group in kept.items()
    ]
    background = [name for name in kept if name.lower() in NOTHING or name == "class_0"]
    if background:
        lines.append(
            f"  # Is {background[0]} tissue that was looked at? If not annotated, ignore it."
        )
    if 255 in ignored and not proposal.names:
        lines.append("  # 255 usually marks what is not annotated. If it is a class, make it one.")
    lines.append(f"  ignore: [{', '.join(_plain(names[code]) for code in ignored)}]")
    in_mean = [name for name in kept if name.lower() not in NOTHING]
    if in_mean and len(in_mean) < len(kept):
        shown = ", ".join(map(_plain, in_mean))
        lines.append(f"  mean: [{shown}]  # classes that count in the mean")
    if hexes:
        lines.append("colours:")
        lines += [
            f"  {_plain(names[code])}: '{text}'"
            for code, text in sorted(hexes.items())
            if code in names
        ]
    return lines


def _code_names(proposal: Proposal, codes: Sequence[int]) -> dict[int, str]:
    """A name for every code, none twice: the given ones, or class_CODE."""
    if not proposal.names:
        classes = [code for code in codes if not _is_nothing(proposal, code)]
        binary = {0: "background", classes[-1]: "foreground"}
        if len(classes) == 2 and 0 in classes:
            return {code: binary.get(code, f"code_{code}") for code in codes}
        return {code: f"class_{code}" for code in codes}
    named = Counter(proposal.names.get(code) for code in codes)
    names: dict[int, str] = {}
    for code in codes:
        name = proposal.names.get(code)
        names[code] = name if name is not None and named[name] == 1 else f"code_{code}"
    return names


def _is_nothing(proposal: Proposal, code: int) -> bool:
    """Whether a code is no class: one that is named so, or 255 beside classes that are numbered."""
    if proposal.names:
        return proposal.names.get(code) is None
    small = [other for other in proposal.pixels if other != 255]
    return code == 255 and len(small) > 1 and max(small) < 128


def _plain(name: str) -> str:
    """As YAML reads it back."""
    return (
        name
        if re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in _WORDS
        else _quoted(name)
    )


def _quoted(value: Any) -> str:
    """As YAML reads it back: JSON writes letters beyond 16 bits as two halves, which it keeps."""
    return json.dumps(value, ensure_ascii=False)


def _reading(reading: Reading) -> list[str]:
    lines = []
    if files := reading.files:
        lines.append(f"files: {_quoted(files)}")
    for name in ("patient_pattern", "site_pattern"):
        if pattern := getattr(reading, name):
            lines.append(f"{name}: '{pattern.replace(chr(39), 2 * chr(39))}'")
    return lines
