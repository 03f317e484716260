"""Tables of a result: pandas' where it is installed, else lists of rows, which write themselves as CSV and LaTeX."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..results.tabular import as_csv, as_latex


class Rows(list[dict[str, Any]]):
    """The rows of a table, each a mapping from column to value."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self[0]) if self else []

    def to_csv(self, path: Any = None) -> str | None:
        """The table as CSV: written to ``path``, or returned."""
        return _written(as_csv(self._cells()), path)

    def to_latex(self, path: Any = None) -> str | None:
        """The table in LaTeX (package booktabs): written to ``path``, or returned."""
        return _written(as_latex(self._cells()), path)

    def _cells(self) -> list[list[Any]]:
        """The names of the columns, and the values of every row."""
        return [self.columns, *(list(row.values()) for row in self)]


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


def _written(text: str, path: Any) -> str | None:
    if path is None:
        return text
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
    return None
