"""Tables of a result: pandas' where it is installed, else lists of rows, which write themselves as CSV and LaTeX."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$",
}  # fmt: skip
"""Characters with a meaning in LaTeX → how they are printed."""


class Rows(list[dict[str, Any]]):
    """The rows of a table, each a mapping from column to value."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self[0]) if self else []

    def to_csv(self, path: Any = None) -> str | None:
        """The table as CSV: written to ``path``, or returned."""
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, self.columns)
        writer.writeheader()
        writer.writerows(self)
        return _written(stream.getvalue(), path)

    def to_latex(self, path: Any = None) -> str | None:
        """The table in LaTeX (package booktabs): written to ``path``, or returned."""
        lines = [_line(self.columns), r"\midrule", *(_line(map(_cell, row.values())) for row in self)]
        alignment = "l" * len(self.columns)
        text = "\n".join([rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])
        return _written(text + "\n", path)


def table_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """The rows as a data frame of pandas, or as ``Rows`` where pandas is not installed."""
    listed = Rows(dict(row) for row in rows)
    try:
        import pandas
    except ImportError:
        return listed

    class Frame(pandas.DataFrame):  # type: ignore[misc]
        """A data frame whose LaTeX has no special characters."""

        @property
        def _constructor(self) -> Any:
            return Frame

        def to_latex(self, buf: Any = None, **options: Any) -> Any:
            return super().to_latex(buf, **{"escape": True, "index": False, "float_format": "%.3f", **options})

    return Frame(listed)


def _line(cells: Iterable[str]) -> str:
    return " & ".join("".join(SPECIAL.get(char, char) for char in cell) for cell in cells) + r" \\"


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _written(text: str, path: Any) -> str | None:
    if path is None:
        return text
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
    return None
