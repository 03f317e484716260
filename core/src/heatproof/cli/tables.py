"""Tables in the terminal, for every command."""

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
    """A table whose cells are shown as they are, never read as markup; columns in ``numbers`` align right.

    A column in ``fold`` that says the same in every row is told once in the title, so that a line holds the rest.
    """
    cells = [[cell(value) for value in row] for row in rows]
    told = {name: column[0] for name, column in zip(columns, zip(*cells)) if name in fold and len(set(column)) == 1}
    made = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, collapse_padding=True)
    for name in columns:
        if name not in told:
            made.add_column(Text(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in cells:
        made.add_row(*(Text(text) for name, text in zip(columns, row) if name not in told))
    common = ", ".join(f"{name} {text}" for name, text in told.items() if text)
    return Group(Text(f"{title} ({common})" if common else title, style="bold"), made)


def cell(value: Any) -> str:
    r"""A value in a table: numbers to three places, nothing for a missing one, no character that moves the cursor.

    >>> cell(0.12345), cell(float("nan")), cell("a\x1b[2Jb")
    ('0.123', '', 'a\\x1b[2Jb')
    """
    if value is None or value != value:
        return ""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def show(console: Console, made: Group) -> None:
    """Print a table, and a line's distance to what follows."""
    console.print(made)
    console.print()
