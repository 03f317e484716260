"""Tables in the terminal, for all commands."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    numbers: Sequence[str] = (),
    fold: Sequence[str] = (),
) -> Group:
    """Make a table in which no text is read as markup; columns in ``numbers`` align right.

    A column in ``fold`` with equal values in all rows moves to the title, which leaves more width for the others.
    """
    cells = [[cell(value) for value in row] for row in rows]
    common = {name: column[0] for name, column in zip(columns, zip(*cells)) if name in fold and len(set(column)) == 1}
    grid = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, collapse_padding=True)
    for name in columns:
        if name not in common:
            grid.add_column(Text(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(text) for name, text in zip(columns, row) if name not in common))
    values = ", ".join(f"{name} {text}" for name, text in common.items() if text)
    if values:
        title = f"{title} ({values})"
    return Group(Text(title, style="bold"), grid)


def cell(value: Any) -> str:
    r"""Format a value: floats with three decimals, empty for None and NaN, control characters escaped.

    >>> cell(0.12345), cell(float("nan")), cell("a\x1b[2Jb")
    ('0.123', '', 'a\\x1b[2Jb')
    """
    if value is None or value != value:
        return ""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def show(console: Console, table: Group) -> None:
    """Print a table and an empty line."""
    console.print(table)
    console.print()
