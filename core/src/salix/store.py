"""A run's folder: one folder per unit, committed by rename, and the tables built from them.

Everything in it can be read without salix: scores and predictions as Parquet, heatmaps as Zarr v3 with one map per
chunk, the rest as JSON, YAML and CSV. A unit's folder appears whole or not at all, so killing a run at any moment
loses nothing that was committed, and several processes may share one folder.
"""

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import zarr
from zarr.codecs import BloscCodec

from .errors import StoreError
from .records import Array, Kind

KINDS: tuple[Kind, ...] = ("predictions", "heatmaps", "scores")
MAPS = "maps.zarr"


class Run:
    """The folder of a run and its committed units, each found by kind and key."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @classmethod
    def create(cls, folder: Path) -> "Run":
        """The run in ``folder``, made if missing; raises ``StoreError`` when it cannot be written."""
        run = cls(folder)
        with writing(run.folder):
            for kind in KINDS:
                (run.folder / kind).mkdir(parents=True, exist_ok=True)
            handle, probe = tempfile.mkstemp(dir=run.folder, prefix=".probe-")
            os.close(handle)
            os.unlink(probe)
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run; raises ``StoreError`` when ``folder`` is none."""
        if not (Path(folder) / "config.yaml").is_file():
            raise StoreError(f"{folder} is not a run's folder (it has no config.yaml); give the output of `salix run`.")
        return cls(folder)

    def unit(self, kind: Kind, key: str) -> Path:
        """Where a unit lies, or will lie."""
        return self.folder / kind / key

    def has(self, kind: Kind, key: str) -> bool:
        """Whether a unit is committed."""
        return (self.unit(kind, key) / "unit.json").is_file()

    def keys(self, kind: Kind) -> set[str]:
        """The keys of all committed units of a kind."""
        names = (path.parent.name for path in (self.folder / kind).glob("*/unit.json"))
        return {name for name in names if not name.startswith(".")}

    @contextmanager
    def commit(self, kind: Kind, key: str, meta: Mapping[str, Any]) -> Iterator[Path]:
        """A folder to fill; it becomes the unit by one rename, or is removed on an error.

        When another process committed the same unit meanwhile, that one stays and this one is dropped.
        """
        with writing(self.folder):
            partial = Path(tempfile.mkdtemp(dir=self.folder / kind, prefix=_partial_prefix()))
            try:
                yield partial
                write_json(partial / "unit.json", {"key": key, **meta})
                _rename(partial, self.unit(kind, key))
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def meta(self, kind: Kind, key: str) -> dict[str, Any]:
        """What ``commit`` was told of a unit."""
        return read_json(self.unit(kind, key) / "unit.json")

    def sweep(self) -> None:
        """Remove what killed processes of this machine left half written; other processes' partial folders stay."""
        for partial in [*self.folder.glob(".partial-*"), *self.folder.glob("*/.partial-*")]:
            if _abandoned(partial):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """A path to write; it becomes the run's file ``name`` by one rename."""
        with writing(self.folder):
            partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=_partial_prefix()))
            try:
                yield partial / name
                os.replace(partial / name, self.folder / name)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def put_maps(self, unit: Path, maps: Array, name: str = MAPS) -> None:
        """Write maps (n, *space) float32 in one assignment, one map per chunk."""
        chunks = (1, *maps.shape[1:])
        codec = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=maps.dtype.itemsize)
        zarr.create_array(unit / name, shape=maps.shape, chunks=chunks, dtype=maps.dtype, compressors=codec)[:] = maps

    def maps(self, key: str, index: int | slice = slice(None), name: str = MAPS) -> Array:
        """The maps of a heatmap unit, or one of them."""
        path = self.unit("heatmaps", key) / name
        try:
            return np.asarray(zarr.open_array(path, mode="r")[index])
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise StoreError(f"{path} is damaged ({error}); remove the folder {path.parent} and run again.") from error


def _rename(partial: Path, unit: Path) -> None:
    try:
        partial.rename(unit)
    except OSError:
        if not (unit / "unit.json").is_file():
            raise


def _partial_prefix() -> str:
    return f".partial-{socket.gethostname()}-{os.getpid()}-"


def _abandoned(partial: Path) -> bool:
    """Whether the process of this machine that was filling a partial folder is gone."""
    match = re.fullmatch(r"\.partial-(.+)-(\d+)-[^-]+", partial.name)
    if match is None or match[1] != socket.gethostname():
        return False
    try:
        os.kill(int(match[2]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(match[2]) == os.getpid()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into a ``StoreError`` that says what to do."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise StoreError(
            f"cannot write to {folder}: {reason}; make room, or choose another output folder, and run the same command "
            "again: everything committed so far is kept."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file's content in one step."""
    with writing(path.parent):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_partial_prefix())
        try:
            with open(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys in one step."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises ``StoreError`` when the file cannot be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); remove its folder and run again.") from error


SCORE_COLUMNS: Mapping[str, str] = {
    "case": "VARCHAR", "patient": "VARCHAR", "measure": "VARCHAR", "value": "DOUBLE", "status": "VARCHAR",
    "reason": "VARCHAR", "array": "DOUBLE[]", "notes": "VARCHAR", "heatmap": "VARCHAR", "row": "INTEGER",
}  # fmt: skip
PREDICTION_COLUMNS: Mapping[str, str] = {
    "case": "VARCHAR", "patient": "VARCHAR", "label": "INTEGER[]", "decision": "INTEGER", "logits": "DOUBLE[]",
    "probabilities": "DOUBLE[]", "status": "VARCHAR", "reason": "VARCHAR",
}  # fmt: skip


def connect() -> duckdb.DuckDBPyConnection:
    """A connection in memory with one thread, so that the same rows give the same bytes."""
    return duckdb.connect(config={"threads": 1})


def write_table(path: Path, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as Parquet, one per sequence of values in the order of ``columns`` (name → SQL type)."""
    with connect() as connection:
        schema = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        connection.execute(f"create table rows ({schema})")
        if values := [list(row) for row in rows]:
            connection.executemany(f"insert into rows values ({', '.join('?' * len(columns))})", values)
        connection.execute(f"copy rows to '{_quoted(path)}' (format parquet)")


def read_table(path: Path) -> dict[str, Array]:
    """A Parquet file as one numpy array per column (lists and missing texts as objects, missing numbers as NaN)."""
    try:
        with connect() as connection:
            table = connection.execute(f"select * from read_parquet('{_quoted(path)}')").fetchnumpy()
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be read ({str(error).splitlines()[0]}); remove it and run again.") from error
    return {name: _plain(values) for name, values in table.items()}


def _plain(values: Any) -> Array:
    """A masked array as NaN (numbers) or None (the rest)."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    if values.dtype.kind in "fiu":
        return np.asarray(values.astype(np.float64).filled(np.nan)) if values.mask.any() else np.asarray(values.data)
    return np.where(np.ma.getmaskarray(values), None, values.data)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
