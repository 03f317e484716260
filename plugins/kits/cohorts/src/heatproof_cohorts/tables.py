"""Reads the tables of datasets as downloads have them, and says of every row where it stands."""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heatproof.errors import DataError, near

DELIMITERS = (",", ";", "\t")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Row:
    """One row: its values under the names that were asked for, and its source (file and line) for messages."""

    values: Mapping[str, str]
    source: str

    def __getitem__(self, name: str) -> str:
        return self.values[name]


@dataclass(frozen=True)
class Table:
    """The rows that can be read, a sentence for each that cannot, and the encoding that was found."""

    rows: tuple[Row, ...]
    faults: tuple[str, ...]
    encoding: str


def read_table(path: Path, required: Sequence[str], optional: Sequence[str] = (), comment: str = "") -> Table:
    """The columns asked for, values stripped; an optional column that is not there is empty everywhere.

    Names match whatever their case, blanks, hyphens and underscores (`` url``, ``Patient ID``); commas, semicolons or
    tabs part the values; UTF-8, UTF-16 with its mark, else Latin-1. Empty rows, lines that begin with ``comment``, and
    empty values beyond the header are passed over. Raises ``DataError`` where the file or a required column is missing.
    """
    text, encoding = _decoded(path)
    lines = _lines(text, path, _delimiter(text, [*required, *optional], comment), comment)
    _, header = next(lines, (0, []))
    places = _places(header, path, required, optional)
    needed = max((places[name] for name in required), default=-1)
    rows, faults = [], []
    for line, values in lines:
        if not needed < len(values) or any(values[len(header) :]):
            faults.append(
                f"{path}, line {line}: {len(values)} values for {len(header)} columns; quote values with commas."
            )
            continue
        chosen = {name: values[at] if at < len(values) else "" for name, at in places.items()}
        rows.append(Row(dict.fromkeys(optional, "") | chosen, f"{path}, line {line}"))
    return Table(tuple(rows), tuple(faults), encoding)


def read_rows(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> tuple[Row, ...]:
    """The rows of a table of which none may be missing; raises ``DataError`` for one that cannot be read, too."""
    table = read_table(path, required, optional)
    if table.faults:
        raise DataError(table.faults[0])
    return table.rows


def read_lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a list that hold anything, stripped, each with its place; encodings as of a table."""
    lines = enumerate(_decoded(path)[0].splitlines(), 1)
    return [(line.strip(), f"{path}, line {number}") for number, line in lines if line.strip()]


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and its rows, parted by commas, in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])


def plain_name(name: str) -> str:
    """A name's letters and digits in small letters, by which columns and classes are matched.

    >>> plain_name(" Patient_ID")
    'patientid'
    """
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _decoded(path: Path) -> tuple[str, str]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; download it, or correct the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give yourself the permission.") from error
    for encoding in ("utf-16",) if content.startswith(UTF_16) else ("utf-8-sig", "latin-1"):
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} is no text, though it begins as UTF-16; save it again as UTF-8.")


def _lines(text: str, path: Path, delimiter: str, comment: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    try:
        for values in reader:
            stripped = [value.strip() for value in values]
            if any(stripped) and not (comment and stripped[0].startswith(comment)):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} cannot be read ({error}); correct it.") from error


def _delimiter(text: str, names: Sequence[str], comment: str) -> str:
    """The delimiter under which the first line names most of the columns."""
    first = next(
        (line for line in text.splitlines() if line.strip() and not (comment and line.startswith(comment))), ""
    )
    wanted = {plain_name(name) for name in names}

    def found(delimiter: str) -> int:
        return sum(plain_name(name) in wanted for name in first.replace('"', "").split(delimiter))

    return max(DELIMITERS, key=found)


def _places(header: list[str], path: Path, required: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """The place of each column asked for; raises ``DataError`` where one is missing or there twice."""
    plain = [plain_name(name) for name in header]
    for name in [*required, *optional]:
        if plain.count(plain_name(name)) > 1:
            raise DataError(f"{path} has the column {name!r} twice; delete one of them.")
        if name in required and plain_name(name) not in plain:
            raise DataError(f"{path} has no column {name!r}; {near(name, filter(None, header))}")
    return {name: plain.index(plain_name(name)) for name in [*required, *optional] if plain_name(name) in plain}
