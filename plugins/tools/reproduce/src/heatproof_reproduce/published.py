"""The published numbers of a paper, read from ``published.csv``, and where heatproof's own numbers are."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from heatproof.errors import ConfigError, near

FILE = "published.csv"
COLUMNS = (
    "table", "quantity", "value", "low", "high", "n", "misprint", "step", "file", "select", "column", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """One published number, or name such as that of the best method.

    ``misprint``: why it is documented to be wrong. ``step``, ``file``, ``select`` and ``column`` say where heatproof's
    own is: a column of the one row of a CSV file whose values are those of ``select``, or begin with them before ``*``.
    Without a step, ``reason`` says why there is none.
    """

    table: str
    quantity: str
    value: str
    low: float | None
    high: float | None
    n: int | None
    misprint: str
    step: str
    file: str
    select: Mapping[str, str]
    column: str
    reason: str

    @property
    def number(self) -> float | None:
        """The value as a number; None for a name."""
        return _number(self.value)


def published(folder: Path, steps: tuple[str, ...]) -> list[Published]:
    """Read the published numbers of a paper; raises ``ConfigError`` with all mistakes, each with file and line."""
    path = folder / FILE
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows = [(reader.line_num, row) for row in reader]
            head = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as CSV ({error}).") from None
    if head != COLUMNS:
        raise ConfigError(f"{path}:1: the columns are {', '.join(head)}; they must be {', '.join(COLUMNS)}.")
    problems = [f"{path}:{line}: {problem}" for line, row in rows for problem in _problems(row, steps)]
    if problems:
        raise ConfigError("\n".join(problems))
    return [_published(row) for _, row in rows]


def _problems(row: Mapping[str | None, str | None], steps: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with a row."""
    if None in row or None in row.values():
        yield f"a row has {len(COLUMNS)} cells"
        return
    for name in ("table", "quantity", "value"):
        if not row[name]:
            yield f"{name} is empty"
    for name in ("low", "high", "n"):
        if row[name] and _number(str(row[name])) is None:
            yield f"{name} is {row[name]!r}, not a number"
    if row["step"] and row["step"] not in steps:
        yield f"there is no step {row['step']!r}; {near(str(row['step']), steps)}"
    if row["step"] and not (row["file"] and row["select"]):
        yield "a row with a step also has file and select"
    if not row["step"] and not row["reason"]:
        yield "a row without a step has a reason"
    if any("=" not in part for part in str(row["select"]).split(";") if part.strip()):
        yield f"select is {row['select']!r}; write column=value; column=value"


def _published(row: Mapping[str, str]) -> Published:
    pairs = [part.strip().partition("=") for part in row["select"].split(";") if part.strip()]
    n = _number(row["n"])
    return Published(
        table=row["table"], quantity=row["quantity"], value=row["value"], low=_number(row["low"]),
        high=_number(row["high"]), n=None if n is None else int(n), misprint=row["misprint"], step=row["step"],
        file=row["file"], select={name.strip(): value.strip() for name, _, value in pairs},
        column=row["column"] or "value", reason=row["reason"],
    )  # fmt: skip


def _number(text: str) -> float | None:
    """The number that a text is; None for another text."""
    try:
        return float(text)
    except ValueError:
        return None
