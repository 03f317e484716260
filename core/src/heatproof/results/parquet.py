"""Tables of a run as Parquet files, written and read with DuckDB."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

import duckdb
import numpy as np

from ..errors import StoreError
from ..records import Array, Score, Status

Rows: TypeAlias = Sequence[Sequence[Any]]
SQL: Mapping[Any, str] = {
    str: "VARCHAR", Status: "VARCHAR", str | None: "VARCHAR", int | None: "INTEGER", float | None: "DOUBLE",
    list[int] | None: "INTEGER[]", list[float] | None: "DOUBLE[]", list[str] | None: "VARCHAR[]",
}  # fmt: skip
"""Type of a record's field → SQL type of its column."""


@dataclass(frozen=True)
class PredictedCase:
    """One row of the predictions: a model's outputs for one case, or why it has none.

    ``findings`` are those that the prepared annotations show, None for a case that nobody examined or could read.
    """

    case: str
    patient: str
    label: list[int] | None = None
    decision: int | None = None
    logits: list[float] | None = None
    probabilities: list[float] | None = None
    status: Status = "valid"
    reason: str = ""
    findings: list[str] | None = None


FIRST_VALID = """window of_case as (
        partition by units.combination, units.split, units.metric, units.metric_settings, scores."case")
    qualify units.rank = coalesce(
        min(units.rank) filter (where scores.status = 'valid') over of_case, min(units.rank) over of_case)"""
"""The condition of the rows of a case that count."""


def columns_of(record: type) -> dict[str, str]:
    """Name → SQL type of a record's columns, in the order of its fields."""
    return {name: SQL[kind] for name, kind in get_type_hints(record).items()}


SCORE_COLUMNS: Mapping[str, str] = columns_of(Score)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with its own temporary tables, and one thread, as equal rows must give equal bytes."""
    # Opening a database in memory takes longer than writing a unit's rows.
    with _database().cursor() as connection:
        try:
            yield connection
        except RuntimeError as error:
            # DuckDB turns Ctrl-C during a query into this error.
            if str(error) == "Query interrupted":
                raise KeyboardInterrupt from error
            raise
        except (duckdb.FatalException, duckdb.InternalException):
            # DuckDB refuses every further query of this database, also those of healthy files.
            _database.cache_clear()
            raise


def write_table(path: Path, columns: Mapping[str, str], rows: Rows) -> None:
    """Write rows of values in the order of ``columns`` (name → SQL type) as Parquet."""
    with connect() as connection:
        fill_table(connection, "rows", columns, rows)
        copy_table(connection, "rows", path)


def write_records(path: Path, record: type, rows: Sequence[Any]) -> None:
    """Write records of one type as Parquet, one row per record."""
    columns = columns_of(record)
    write_table(path, columns, [[getattr(row, name) for name in columns] for row in rows])


def fill_table(connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str], rows: Rows) -> None:
    """Create a temporary table from rows by one statement, with a typed list per column."""
    # Registered numpy arrays would turn NaN within lists into NULL, and ``executemany`` takes a millisecond per row.
    values = [[row[index] for row in rows] for index in range(len(columns))]
    selected = ", ".join(f'unnest(?::{kind}[]) as "{column}"' for column, kind in columns.items())
    connection.execute(f"create temp table {name} as select {selected}", values)


def copy_table(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Write a connection's table as Parquet."""
    quoted = str(path).replace("'", "''")
    connection.execute(f"copy {name} to '{quoted}' (format parquet)")


def read_table(path: Path) -> dict[str, Array]:
    """A Parquet file as one numpy array per column: missing numbers are NaN, missing strings and lists None.

    Raises ``StoreError`` if it cannot be read.
    """
    try:
        with connect() as connection:
            table = connection.execute("from read_parquet(?, hive_partitioning=false)", [str(path)]).fetchnumpy()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"{path} cannot be read ({reason}); run the same config again to write it anew.") from error
    return {name: _plain(values) for name, values in table.items()}


def _plain(values: Any) -> Array:
    """A column without a mask: missing numbers are NaN, other missing values None."""
    if not np.ma.is_masked(values):
        return np.asarray(values)
    if values.dtype.kind in "fiu":
        return np.asarray(values.astype(np.float64).filled(np.nan))
    return np.where(values.mask, np.array(None), values.data)


def join_units(
    connection: duckdb.DuckDBPyConnection, units: list[list[Any]], columns: Mapping[str, str], order: Sequence[str]
) -> None:  # fmt: skip
    """Join the rows of files of scores with columns of their combinations (name → type), as the table ``joined``.

    ``units`` are rows of a file, its rank and these columns. Of a case with rows in files of several ranks, those of
    the first rank with a valid one count.
    """
    fill_table(connection, "units", {"filename": "VARCHAR", "rank": "INTEGER", **columns}, units)
    selected = [*(f"units.{name}" for name in columns), *(f"scores.{name}" for name in SCORE_COLUMNS)]
    condition = FIRST_VALID if any(row[1] for row in units) else ""
    connection.execute(
        f"create temp table joined as select {', '.join(selected)} "
        "from read_parquet(?, filename=true, hive_partitioning=false) scores "
        f"join units on scores.filename = units.filename {condition} order by {', '.join(order)}",
        [sorted({row[0] for row in units})],
    )
