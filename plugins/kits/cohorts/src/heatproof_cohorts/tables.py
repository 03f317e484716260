"""Reads the tables of downloads; every row knows its file and line."""

import codecs
import csv
import io
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heatproof.errors import DataError
from heatproof.spreadsheet import literal, neutral

DELIMITERS = (",", ";", "\t")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""The first bytes of .xlsx and .ods, which are archives, and of .xls."""


@dataclass(frozen=True)
class Row:
    """One row: its values by the column names of the caller, and its source (file and line) for messages.

    ``header`` and ``cells`` are all columns of the file as they are, also those that the caller does not read.
    """

    values: Mapping[str, str]
    source: str
    header: tuple[str, ...] = field(default=(), compare=False)
    cells: tuple[str, ...] = field(default=(), compare=False)

    def __getitem__(self, name: str) -> str:
        return self.values[name]


@dataclass(frozen=True)
class Table:
    """The readable rows of a file, a sentence for each row that cannot be read, and the encoding of the file.

    ``columns`` are the columns of the caller that the file has.
    """

    rows: tuple[Row, ...]
    faults: tuple[str, ...]
    encoding: str
    columns: frozenset[str] = frozenset()


def read_table(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), comment: str = "", neutralised: bool = False
) -> Table:  # fmt: skip
    """Read columns of a table, values stripped; a missing optional column is empty in every row.

    Names match regardless of case, blanks, hyphens and underscores (`` url``, ``Patient ID``). Values are separated by
    commas, semicolons or tabs. The encoding is UTF-8, UTF-16 with a byte order mark, or else Latin-1. Empty rows, lines
    that begin with ``comment`` and empty values beyond the header are ignored. Raises ``DataError`` where the file or a
    required column is missing, for a workbook of a spreadsheet, and for a quote that swallows rows. ``neutralised``
    undoes what ``write_table`` does by this name.
    """
    text, encoding = _decoded(path)
    lines = _lines(text, path, _delimiter(text, [*required, *optional], comment), comment)
    _, header = next(lines, (0, []))
    positions = _positions(header, path, required, optional)
    names = tuple(header)
    last_required = max((positions[name] for name in required), default=-1)
    rows = []
    faults = []
    for line, values in lines:
        source = f"{path}, line {line}"
        if len(values) <= last_required or any(values[len(header) :]):
            faults.append(f"{source}: {len(values)} values for {len(header)} columns; quote values with commas.")
            continue
        columns = {name: values[position] for name, position in positions.items() if position < len(values)}
        if neutralised:
            columns = {name: literal(value) for name, value in columns.items()}
            values = [*map(literal, values)]
        # Most columns have few different values, which then take little memory.
        rows.append(Row(dict.fromkeys(optional, "") | columns, source, names, tuple(map(sys.intern, values))))
    return Table(tuple(rows), tuple(faults), encoding, frozenset(positions))


def read_rows(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), neutralised: bool = False
) -> tuple[Row, ...]:  # fmt: skip
    """Read a table like ``read_table``; raises ``DataError`` also for a single row that cannot be read."""
    table = read_table(path, required, optional, neutralised=neutralised)
    if table.faults:
        raise DataError(table.faults[0])
    return table.rows


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Read the lines of a text file that are not empty, stripped, each with its source; encodings as of a table."""
    lines = enumerate(_decoded(path)[0].splitlines(), 1)
    return [(line.strip(), f"{path}, line {number}") for number, line in lines if line.strip()]


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], neutralised: bool = False
) -> None:  # fmt: skip
    """Write a header and rows with commas, in UTF-8.

    ``neutralised`` makes text that a spreadsheet would run as a formula plain text. Tables of a published layout are
    written as they are: other programs read them, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([neutral(value) if neutralised else value for value in row] for row in rows)


def plain_name(name: str) -> str:
    """Reduce a name to its letters and digits in lower case, by which columns and classes are matched.

    >>> plain_name(" Patient_ID")
    'patientid'
    """
    return "".join(character for character in name.casefold() if character.isalnum())


def _decoded(path: Path) -> tuple[str, str]:
    """The text of a file and its encoding."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; download it, or correct the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); correct the path or its permissions.") from error
    if content.startswith(WORKBOOKS):
        raise DataError(f"{path} is a workbook of a spreadsheet, not a table of text; save it as CSV.")
    if content.startswith(UTF_16):
        try:
            return content.decode("utf-16"), "utf-16"
        except UnicodeDecodeError:
            raise DataError(f"{path} begins as UTF-16 but is not valid text; save it again as UTF-8.") from None
    try:
        return content.decode("utf-8-sig"), "utf-8-sig"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def _lines(text: str, path: Path, delimiter: str, comment: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its last line."""
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    columns = 0
    end = 0
    try:
        for values in reader:
            columns = columns or len(values)
            if reader.line_num > end + 1:
                _require_closed(lines[end : reader.line_num], columns, delimiter, f"{path}, line {end + 1}")
            end = reader.line_num
            stripped = [value.strip() for value in values]
            if any(stripped) and not (comment and stripped[0].startswith(comment)):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} cannot be read ({error}); correct it.") from error


def _require_closed(lines: Sequence[str], columns: int, delimiter: str, source: str) -> None:
    """Raise ``DataError`` where the lines of one row look like several rows, or their quotes do not match."""
    try:
        list(csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True))
        matching = True
    except csv.Error:
        matching = False
    whole = [line.count(delimiter) == columns - 1 for line in lines]
    if not matching or (columns > 1 and (all(whole) or any(whole[1:-1]))):
        raise DataError(
            f"{source}: a quote that opens there swallows the {len(lines) - 1} lines after it; close or delete it. A "
            "text of several lines must not look like rows."
        )


def form_of(path: Path) -> list[str]:
    """List what is unusual in the form of a table, in words: a byte order mark, the delimiter, or the encoding."""
    text, encoding = _decoded(path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    forms = [
        (path.read_bytes().startswith((codecs.BOM_UTF8, *UTF_16)), "a byte order mark"),
        (header.count(";") > header.count(","), "semicolons between values"),
        (encoding == "latin-1", "text that is not UTF-8, read as Latin-1"),
    ]
    return [form for present, form in forms if present]


def number(text: str, source: str, name: str) -> float:
    """Read a finite number; raises ``DataError`` that names a decimal comma.

    >>> number("2.5", "a.csv, line 3", "x")
    2.5
    """
    try:
        value = float(text)
    except ValueError:
        advice = "give a number"
        if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text):
            advice = f"it has a decimal comma: write {text.replace(',', '.')}"
        raise DataError(f"{source}: {name} is {text!r}; {advice}.") from None
    if not math.isfinite(value):
        raise DataError(f"{source}: {name} is {text!r}; give a finite number.")
    return value


def _delimiter(text: str, names: Sequence[str], comment: str) -> str:
    """Guess the delimiter: the one that splits the header into the most of the column names."""
    lines = (line for line in text.splitlines() if line.strip() and not (comment and line.startswith(comment)))
    header = next(lines, "").replace('"', "")
    columns = {plain_name(name) for name in names}

    def matches(delimiter: str) -> int:
        return sum(plain_name(name) in columns for name in header.split(delimiter))

    return max(DELIMITERS, key=matches)


def _positions(header: list[str], path: Path, required: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """The position of each column; raises ``DataError`` for a column that is missing but required, or there twice."""
    plain = [plain_name(name) for name in header]
    for name in [*required, *optional]:
        if plain.count(plain_name(name)) > 1:
            raise DataError(f"{path} has the column {name!r} twice; delete one of them.")
        if name in required and plain_name(name) not in plain:
            columns = ", ".join(filter(None, header)) or "none"
            raise DataError(f"{path} has no column {name!r} (its columns: {columns}); rename or add it.")
    return {name: plain.index(plain_name(name)) for name in [*required, *optional] if plain_name(name) in plain}
