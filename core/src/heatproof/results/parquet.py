"""Tables of a run as Parquet files, by DuckDB."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import duckdb
import numpy as np

from ..errors import StoreError
from ..records import Array, Score, Status

INTERRUPTED = "Query interrupted"
SQL: Mapping[Any, str] = {
    str: "VARCHAR", Status: "VARCHAR", str | None: "VARCHAR", int | None: "INTEGER", float | None: "DOUBLE",
    list[int] | None: "INTEGER[]", list[float] | None: "DOUBLE[]",
}  # fmt: skip
"""The type of a record's field → the type of its column."""


@dataclass(frozen=True)
class PredictedCase:
    """One row of the predictions: what a model says of one case, or why it says nothing."""

    case: str
    patient: str
    label: list[int] | None = None
    decision: int | None = None
    logits: list[float] | None = None
    probabilities: list[float] | None = None
    status: Status = "valid"
    reason: str = ""


def columns_of(record: type) -> dict[str, str]:
    """The columns of a table with one row per record: name → SQL type, in the order of the fields."""
    return {name: SQL[kind] for name, kind in get_type_hints(record).items()}


SCORE_COLUMNS: Mapping[str, str] = columns_of(Score)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with temporary tables of its own, with one thread so that the same rows give the same bytes."""
    # A database in memory takes longer to open than a unit's rows take to write.
    with _database().cursor() as connection:
        try:
            yield connection
        except RuntimeError as error:
            # Ctrl-C during a query reaches Python as this error of DuckDB's.
            if str(error) == INTERRUPTED:
                raise KeyboardInterrupt from error
            raise


def write_table(path: Path, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows as Parquet, one per sequence of values in the order of ``columns`` (name → SQL type)."""
    with connect() as connection:
        fill_table(connection, "rows", columns, rows)
        copy_table(connection, "rows", path)


def write_records(path: Path, record: type, rows: Sequence[Any]) -> None:
    """Write records of one type as Parquet, one row each."""
    columns = columns_of(record)
    write_table(path, columns, [[getattr(row, name) for name in columns] for row in rows])


def fill_table(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
) -> None:
    """Make a table of a connection from rows, column by column: row by row takes a millisecond each."""
    values = [[row[number] for row in rows] for number in range(len(columns))]
    chosen = ", ".join(f'unnest(?::{kind}[]) as "{column}"' for column, kind in columns.items())
    connection.execute(f"create temp table {name} as select {chosen}", values)


def copy_table(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Write a connection's table as Parquet."""
    quoted = str(path).replace("'", "''")
    connection.execute(f"copy {name} to '{quoted}' (format parquet)")


def read_table(path: Path) -> dict[str, Array]:
    """A Parquet file as one numpy array per column (lists and missing texts as objects, missing numbers as NaN)."""
    try:
        with connect() as connection:
            table = connection.execute("from read_parquet(?, hive_partitioning=false)", [str(path)]).fetchnumpy()
    except duckdb.Error as error:
        raise damaged(path, error) from error
    return {name: _plain(values) for name, values in table.items()}


def _plain(values: Any) -> Array:
    """A masked array as NaN (numbers) or None (the rest)."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    number = values.dtype.kind in "fiu"
    plain = np.array(values.data, dtype=np.float64 if number and np.ma.is_masked(values) else None)
    plain[np.ma.getmaskarray(values)] = np.nan if number else None
    return plain


def damaged(path: Path, error: Exception) -> StoreError:
    """The error that a file of the run cannot be read, with what to remove: its unit, or the file itself."""
    place = f"the folder {path.parent}" if (path.parent / "unit.json").exists() else "it"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return StoreError(f"{path} is damaged ({reason}); remove {place} and run again.")
