"""A board as LaTeX tables (booktabs), to be included in a document."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from benchbcss.board import cells, summary
from benchbcss.board.model import Board, Table

MARKS = {
    "pass": r"$\surd$",
    "fail": r"$\times$",
    "undecided": "?",
    "not measured": "--",
    "not applicable": r"$\cdot$",
}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
#: of a table; more would be too small to read where it is made to fit
CLASSES = 8
#: letters up to here are set up in every LaTeX: those of European languages
_LATIN = "\u017f"
#: A dozen columns are wider than a page, and thirty models higher: such a table is made to fit,
#: others stay as they are. Box 0 is the table.
_FIT = r"""
  \ifdim\wd0>\textwidth\setbox0\hbox{\resizebox{\textwidth}{!}{\box0}}\fi
  \ifdim\ht0>0.4\textheight\setbox0\hbox{\resizebox*{!}{0.8\textheight}{\box0}}\fi
  \leavevmode\box0
\end{table}
"""


def latex(board: Board, stream: TextIO) -> None:
    """Write a table for each suite and track, with the reasons of its verdicts below it."""
    body = io.StringIO()
    _write(board, body)
    text = body.getvalue()
    stream.write("% needs \\usepackage{booktabs,graphicx}\n")
    if max(text, default="") > _LATIN:
        stream.write(
            "% holds letters that pdflatex lacks: compile with xelatex or lualatex, in a font that "
            "has them\n"
        )
    stream.write(text)


def _write(board: Board, stream: TextIO) -> None:
    for part in board.tables:
        _table(part, stream)
    reported = cells.reported(board)
    if reported:
        columns = "".join("l" if i in reported.left else "r" for i in range(len(reported.columns)))
        lines = [[escape(cell) for cell in row] for row in reported.rows]
        head = [escape(name) for name in reported.columns]
        _tabular(stream, escape(reported.title) + ".", columns, [head], lines)
    for text in cells.troubles(board):
        stream.write(f"% {' '.join(text.split())}\n")


def _table(part: Table, stream: TextIO) -> None:
    """Of many classes, the first few; the others in tables of their own."""
    classes, criteria = cells.classes_of(part), cells.criteria(part)
    caption = f"{cells.title(part)}: {summary.about(part)}. {summary.sentence(part)} "
    caption += "Dice per class (mean over ROIs) with 95 % intervals."
    first = [*_means(part), *_dice(part, classes[:CLASSES]), *_others(part, criteria)]
    _columns(part, first, escape(caption) + _legend(criteria), stream)
    for start in range(CLASSES, len(classes), CLASSES):
        caption = f"{cells.title(part)}, continued: Dice of further classes."
        _columns(part, _dice(part, classes[start : start + CLASSES]), escape(caption), stream)
    notes = [*cells.notes(part), *summary.warnings(part, every=True), *cells.reasons(part)]
    notes += [f"not comparable: {row.name}: {why}" for row, why in part.not_comparable]
    stream.write("\\begin{itemize}\\footnotesize\\raggedright\n")
    stream.writelines(f"  \\item {_safe(escape(note))}\n" for note in notes)
    stream.write("\\end{itemize}\n\n")


@dataclass(frozen=True)
class _Column:
    """``head`` and ``cells`` as LaTeX; ``side`` is l, r or c."""

    head: str
    side: str
    cells: Sequence[str]


def _columns(part: Table, columns: Sequence[_Column], caption: str, stream: TextIO) -> None:
    """A table of them, after the rank and the name of each row."""
    ranks = ["floor" if row.floor else row.rank_text.replace("-", "--") for row in part.rows]
    names = [escape(row.name) for row in part.rows]
    columns = [_Column("rank", "l", ranks), _Column("model", "l", names), *columns]
    lines = list(zip(*(column.cells for column in columns), strict=True))
    heads = [[column.head for column in columns]]
    _tabular(stream, caption, "".join(column.side for column in columns), heads, lines)


def _means(part: Table) -> list[_Column]:
    parts = [row.scores.headline.per_roi for row in part.rows]
    means = [f"{cells.mean(one)} {cells.interval(one.mean_interval, one.mean)}" for one in parts]
    rois = [str(row.scores.rois) for row in part.rows]
    return [_Column("$n$", "r", rois), _Column("mean Dice", "r", [text.rstrip() for text in means])]


def _dice(part: Table, classes: Sequence[str]) -> list[_Column]:
    parts = [row.scores.headline.per_roi for row in part.rows]
    return [
        _Column(escape(name), "r", [cells.class_cell(one, name) for one in parts])
        for name in classes
    ]


def _others(part: Table, criteria: Sequence[str]) -> list[_Column]:
    """Registered metrics, then a column for each criterion."""
    scores = [row.scores for row in part.rows]
    metrics = [
        _Column(escape(column.title), "r", [column.cell(one) for one in scores])
        for column in cells.registered(scores)
    ]
    given = [
        {} if row.floor else {v.label: MARKS[v.status] for v in row.verdicts} for row in part.rows
    ]
    marks = [
        _Column(str(place), "c", [verdicts.get(label, "") for verdicts in given])
        for place, label in enumerate(criteria, start=1)
    ]
    return [*metrics, *marks]


def _legend(criteria: Sequence[str]) -> str:
    if not criteria:
        return ""
    numbered = ", ".join(f"{i + 1}: {escape(label)}" for i, label in enumerate(criteria))
    marks = ", ".join(f"{mark} {status}" for status, mark in MARKS.items())
    return f" Criteria: {numbered}; {marks}."


def _tabular(
    stream: TextIO,
    caption: str,
    columns: str,
    heads: Sequence[Sequence[str]],
    lines: Sequence[Sequence[str]],
) -> None:
    stream.write("\\begin{table}\n  \\centering\\footnotesize\n")
    stream.write(f"  \\caption{{{caption}}}\n")
    stream.write(f"  \\setbox0\\hbox{{\\begin{{tabular}}{{{columns}}}\n    \\toprule\n")
    stream.writelines(f"    {_safe(' & '.join(line))} \\\\\n" for line in heads)
    stream.write("    \\midrule\n")
    stream.writelines(f"    {_safe(' & '.join(line))} \\\\\n" for line in lines)
    stream.write("    \\bottomrule\n  \\end{tabular}}%")
    stream.write(_FIT)


def _safe(text: str) -> str:
    """After the end of a row or an item, a bracket or an asterisk would begin an argument."""
    return "{}" * (text[:1] in ("[", "*")) + text


def escape(text: str) -> str:
    """Text in which nothing is a command; line breaks become spaces."""
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))
