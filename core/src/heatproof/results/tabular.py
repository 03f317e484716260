"""Tables as text for other programs: CSV that spreadsheets open, and LaTeX."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from ..spreadsheet import neutral
from .answer import number

LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "×": r"$\times$", "−": r"$-$", "–": "--", "≤": r"$\leq$", "≥": r"$\geq$", "Δ": r"$\Delta$",
    "\n": " ", "\r": " ", "\t": " ",
})  # fmt: skip
"""What LaTeX would read as a command, and signs that its usual fonts lack."""


def as_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; missing numbers are empty, and text that looks like a formula plain text."""
    text = io.StringIO()
    csv.writer(text).writerows([["" if cell != cell else neutral(cell) for cell in row] for row in rows])
    return text.getvalue()


def as_latex(rows: Sequence[Sequence[Any]]) -> str:
    """A head and rows as a LaTeX table for the package booktabs; texts are escaped."""
    head, *body = rows
    columns = "".join("l" if isinstance(cell, str) else "r" for cell in (body or [head])[0])
    lines = [" & ".join(map(_cell, row)) + r" \\" for row in body]
    return "\n".join([
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule", " & ".join(map(_cell, head)) + r" \\", r"\midrule",
        *lines, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def _cell(value: Any) -> str:
    if value is None or isinstance(value, float):
        value = number(value)
    text = "".join(sign for sign in str(value) if sign.isprintable() or sign.isspace())
    return text.translate(LATEX)
