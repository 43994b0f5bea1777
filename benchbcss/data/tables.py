"""Tables as people keep them: CSV and TSV from spreadsheets, editors and scripts."""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchbcss.errors import DataError
from benchbcss.io import read_bytes

Row = tuple[int, dict[str, str]]  # line as a spreadsheet numbers it, cells by lower-case column


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of ``path`` that hold anything, cells stripped, columns in lower case.

    Read are commas, semicolons and tabs, UTF-8 with or without a byte-order mark, UTF-16 with one,
    any line ends, an Excel ``sep=`` line, blanks around cells, empty rows and columns. Raises
    DataError naming file and row, or the columns that are missing.
    """
    text = _text(path)
    lines = text.splitlines()
    skipped = 0
    delimiter = None
    if lines and lines[0].strip().strip('"').lower().startswith("sep="):
        delimiter = lines[0].strip().strip('"')[4:5] or None
        skipped = 1
    header = next((line for line in lines[skipped:] if line.strip()), "")
    delimiter = delimiter or max(",;\t", key=header.count)
    body = "\n".join(lines[skipped:])
    try:
        rows = list(csv.reader(io.StringIO(body), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    names: list[str] | None = None
    table: list[Row] = []
    for number, cells in enumerate(rows, start=1 + skipped):
        cells = [unicodedata.normalize("NFC", cell).strip() for cell in cells]
        if not any(cells):
            continue
        if names is None:
            names = [cell.lower() for cell in cells]
            _check_header(path, names, columns)
            continue
        if any(cells[len(names) :]):
            raise DataError(
                f"{path}, row {number}: there are more cells than columns. A name that holds a "
                f"'{delimiter}' needs double quotes."
            )
        table.append((number, dict(zip(names, cells + [""] * len(names), strict=False))))
    if names is None:
        raise DataError(f"{path} needs the columns {','.join(columns)}; it is empty.")
    return table


def _check_header(path: Path, names: list[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column.lower() not in names]
    if missing:
        shown = [name for name in names if name]
        raise DataError(
            f"{path} needs the columns {','.join(columns)}; it has {','.join(shown)}"
            f"{_guess(missing[0].lower(), shown)}."
        )
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} has the column '{twice}' twice. Remove one.")


def _guess(wanted: str, shown: Iterable[str]) -> str:
    near = near_miss(wanted, shown)
    return f". Rename '{near}' to '{wanted}'" if near else ""


def near_miss(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of ``known`` that is most like ``name``, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def _text(path: Path) -> str:
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if content[:4] == b"PK\x03\x04":
        raise DataError(f"{path} is an Excel workbook. Save it as 'CSV UTF-8'.")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} cannot be read: row {line} is not UTF-8. Save it as 'CSV UTF-8'."
        ) from error
    if "\0" in text:
        raise DataError(f"{path} cannot be read: it is not text. Save it as 'CSV UTF-8'.")
    return text
