"""Compares each published number with heatproof's own: value, interval, n and a verdict."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from heatproof.errors import ConfigError, HeatproofError
from heatproof.results.tabular import as_csv
from heatproof.spreadsheet import literal

from .published import Published
from .reproduction import Reproduction

REPRODUCED = "reproduced"
DIFFERS = "differs"
INCOMPARABLE = "cannot be compared"
HEAD = (
    "table", "quantity", "published", "published_low", "published_high", "published_n", "misprint", "value", "low",
    "high", "n", "verdict", "reason", "data", "step",
)  # fmt: skip


@dataclass(frozen=True)
class Own:
    """Heatproof's own number, or name, with its interval and n; ``problem`` says why there is none."""

    value: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    exact: bool = False
    problem: str = ""

    @property
    def number(self) -> float | None:
        """The value as a number; None for a name, for no value, and for one that is undefined."""
        try:
            number = float(self.value)
        except ValueError:
            return None
        return number if isfinite(number) else None


@dataclass(frozen=True)
class Comparison:
    """A published number beside heatproof's own; ``data`` are those that the own number is about."""

    published: Published
    own: Own
    verdict: str
    reason: str
    data: str

    @property
    def row(self) -> list[Any]:
        """The cells of ``comparison.csv``."""
        theirs = self.published
        ours = self.own
        cells = [
            theirs.table, theirs.quantity, theirs.value, theirs.low, theirs.high, theirs.n, theirs.misprint,
            ours.value, ours.low, ours.high, ours.n, self.verdict, self.reason, self.data, theirs.step,
        ]  # fmt: skip
        return ["" if cell is None else cell for cell in cells]


def compared(reproduction: Reproduction, rows: Iterable[Published]) -> list[Comparison]:
    """Compare every published number with heatproof's own."""
    comparisons = []
    for row in rows:
        own = Own(problem=row.reason)
        data = ""
        if row.step:
            own = own_number(reproduction.folder(row.step), row)
            data = reproduction.used(row.step)
        verdict, reason = judged(reproduction, row, own)
        comparisons.append(Comparison(row, own, verdict, reason, data))
    return comparisons


def table(comparisons: Iterable[Comparison]) -> str:
    """Write comparisons as CSV."""
    return as_csv([HEAD, *(comparison.row for comparison in comparisons)])


def judged(reproduction: Reproduction, row: Published, own: Own) -> tuple[str, str]:
    """Return the verdict about a number, and the reason where it cannot be compared."""
    reason = _obstacle(reproduction, row, own)
    if reason:
        return INCOMPARABLE, reason
    if own.exact or row.number is None:
        same = own.value == row.value or (row.number is not None and own.number == row.number)
    else:
        same = bool(own.low is not None and own.high is not None and own.low <= row.number <= own.high)
    return (REPRODUCED if same else DIFFERS), ""


def _obstacle(reproduction: Reproduction, row: Published, own: Own) -> str:
    """Why a number cannot be compared; empty if it can."""
    if row.step and reproduction.synthetic_in(row.step):
        return "the data are a synthetic twin" if reproduction.synthetic else "the data are synthetic"
    if own.problem:
        return own.problem
    if row.misprint:
        return f"the published number is a documented misprint: {row.misprint}"
    strangers = [entry.use for entry in reproduction.data_of[row.step] if not entry.paper]
    if strangers:
        return f"the data ({', '.join(strangers)}) are not those of the paper"
    if reproduction.profile.networks:
        return f"the networks are not those of the paper: {reproduction.profile.networks}"
    if row.number is not None and own.number is None:
        return "our value is undefined"
    if row.number is not None and not own.exact and (own.low is None or own.high is None):
        return "our number has no interval"
    return ""


def own_number(folder: Path, row: Published) -> Own:
    """Read heatproof's own number from a step's folder; raises ``ConfigError`` if several rows are selected."""
    path = folder / row.file
    try:
        rows = _rows(path)
    except FileNotFoundError:
        return Own(problem=f"the step {row.step} has written no {row.file}")
    unknown = [name for name in [*row.select, row.column] if rows and name not in rows[0]]
    if unknown:
        return Own(problem=f"{row.file} of step {row.step} has no column {unknown[0]}")
    matches = [cells for cells in rows if all(_matches(cells[name], value) for name, value in row.select.items())]
    described = "; ".join(f"{name}={value}" for name, value in row.select.items())
    if not matches:
        return Own(problem=f"nothing of ours corresponds to it: {row.file} of step {row.step} has no row {described}")
    if len(matches) > 1:
        raise ConfigError(
            f"published.csv: {row.quantity}: {len(matches)} rows of {path} have {described}; add a column."
        )
    return _own(matches[0], row.column)


def _matches(cell: str, value: str) -> bool:
    """Whether a cell has this value; one that ends with ``*`` is the beginning of the cell."""
    return cell.startswith(value[:-1]) if value.endswith("*") else cell == value


@cache
def _cached_rows(path: Path, stamp: int) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return [{name: literal(cell) for name, cell in cells.items()} for cells in csv.DictReader(stream)]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        return _cached_rows(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HeatproofError(f"{path} cannot be read as CSV ({error}); run the step again.") from None


def _own(cells: Mapping[str, str], column: str) -> Own:
    """The number of a row; a count needs no interval, and a name has none."""
    value = cells[column]
    if column.startswith("n_"):
        return Own(value, exact=True)
    n = _number(cells.get("n_valid", ""))
    own = Own(value, n=None if n is None else int(n))
    if own.number is None:
        return own
    return replace(own, low=_number(cells.get("low", "")), high=_number(cells.get("high", "")))


def _number(text: str) -> float | None:
    """The finite number that a text is; None for another text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None
