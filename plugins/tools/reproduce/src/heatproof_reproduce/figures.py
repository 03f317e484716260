"""The figures of a paper: drawn by its module, and written as PNG, SVG and PDF, each with its table as CSV."""

import io
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from heatproof.errors import PluginError
from heatproof.results.tabular import as_csv

from .disk import replace_file
from .reproduction import Reproduction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "heatproof", "pdf.fonttype": 42, "text.parse_math": False,
    "font.family": "sans-serif", "font.size": 9, "axes.titlesize": 9,
}  # fmt: skip
FORMATS: Mapping[str, Mapping[str, Any]] = {
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "pdf": {"metadata": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}},
    "png": {"metadata": {"Software": None}, "dpi": 200},
}
"""The formats of files, with the options that give the same bytes again."""


@dataclass(frozen=True)
class Drawn:
    """A figure that was written: its name, its PNG, and the rows of its table."""

    name: str
    png: bytes
    rows: Sequence[Mapping[str, Any]]


def draw_all(reproduction: Reproduction) -> list[Drawn]:
    """Draw and write all figures of a paper."""
    return [_drawn(reproduction, name, target) for name, target in reproduction.paper.figures.items()]


def _drawn(reproduction: Reproduction, name: str, target: str) -> Drawn:
    draw = _function(target)
    folder = reproduction.output / "figures"
    with style():
        figure, rows = draw(reproduction)
        files = {suffix: _bytes(figure, suffix) for suffix in FORMATS}
    for suffix, content in files.items():
        replace_file(folder / f"{name}.{suffix}", content)
    head = list(rows[0]) if rows else []
    text = as_csv([head, *([_cell(row[column]) for column in head] for row in rows)])
    replace_file(folder / f"{name}.csv", text.encode())
    return Drawn(name, files["png"], rows)


def _cell(value: Any) -> Any:
    return "" if value is None else value


def _function(target: str) -> "Callable[[Reproduction], tuple[Figure, list[dict[str, Any]]]]":
    """The function that draws a figure; raises ``PluginError`` if there is none."""
    module, _, name = target.partition(":")
    try:
        function: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"the figure {target} cannot be imported ({error}).") from error
    return function  # type: ignore[no-any-return]


def _bytes(figure: "Figure", suffix: str) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix, **FORMATS[suffix])
    return stream.getvalue()


@contextmanager
def style() -> "Iterator[None]":
    """Set the style of figures while the block runs."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield
