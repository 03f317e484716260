"""Reads tables of gaze, which have up to 1.5 million rows, and groups their rows by image."""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array
from heatproof_cohorts.tables import DELIMITERS, plain_name

COLUMNS = ("DICOM_ID", "FPOGX", "FPOGY", "FPOGD")
SESSION = "SESSION_ID"
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte order mark → encoding. Files without one are read as Latin-1, in which ids and numbers are as in UTF-8."""


@dataclass(frozen=True)
class GazeTable:
    """Rows (n, 3) by image, in the order of the file: FPOGX and FPOGY as shares of the screen, FPOGD in seconds.

    Values that are no numbers are NaN. ``sessions`` is the number of sessions, ``faults`` that of unreadable lines.
    """

    rows: Mapping[str, Array]
    sessions: int
    faults: int

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(map(len, self.rows.values()))


def read_gaze(path: Path) -> GazeTable:
    """Read a table of gaze; raise ``DataError`` where it is missing, lacks a column or cannot be read."""
    encoding, header, delimiter = _header(path)
    id, *numbers = (_quoted(_column(name, header, path)) for name in COLUMNS)
    session = next((_quoted(name) for name in header if plain_name(name) == plain_name(SESSION)), "''")
    values = ", ".join(f"coalesce(try_cast({name} AS DOUBLE), 'nan') AS v{n}" for n, name in enumerate(numbers))
    query = (
        f"CREATE TABLE gaze AS SELECT trim({id}) AS id, {session} AS session, {values} FROM read_csv(?, header = true,"
        " all_varchar = true, delim = ?, quote = '\"', encoding = ?, strict_mode = false, store_rejects = true)"
    )
    with duckdb.connect() as database:
        try:
            database.execute(query, [str(path), delimiter, encoding])
        except duckdb.Error as error:
            raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); replace it.") from error
        names = database.sql("SELECT id, count(*) FROM gaze GROUP BY id ORDER BY id").fetchall()
        columns = database.sql("SELECT v0, v1, v2 FROM gaze ORDER BY id, rowid").fetchnumpy()
        (sessions,) = database.sql("SELECT count(DISTINCT session) FROM gaze").fetchall()[0]
        (faults,) = database.sql("SELECT count(DISTINCT line) FROM reject_errors").fetchall()[0]
    rows = np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in ("v0", "v1", "v2")])
    edges = np.cumsum([0, *(count for _, count in names)]).tolist()
    grouped = {name or "": rows[start:end] for (name, _), (start, end) in zip(names, pairwise(edges))}
    return GazeTable(grouped, int(sessions), int(faults))


def _header(path: Path) -> tuple[str, list[str], str]:
    """Encoding, names of the columns, and delimiter."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(8192)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); download it, or correct the path.") from None
    mark = next((mark for mark in BYTE_ORDER_MARKS if start.startswith(mark)), b"")
    encoding = BYTE_ORDER_MARKS.get(mark, "latin-1")
    first = (start.decode(encoding, errors="ignore").removeprefix("\ufeff").splitlines() or [""])[0]
    delimiter = max(DELIMITERS, key=first.count)
    return encoding, [name.strip().strip('"') for name in first.split(delimiter)], delimiter


def _column(column: str, header: list[str], path: Path) -> str:
    """The name of a column as the header writes it."""
    matches = [name for name in header if plain_name(name) == plain_name(column)]
    if len(matches) != 1:
        columns = ", ".join(filter(None, header)) or "none"
        raise DataError(f"{path} must have one column {column!r} (its columns: {columns}); rename, add or delete one.")
    return matches[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
