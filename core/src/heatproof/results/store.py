"""A run's folder: one folder per unit, committed by one rename, and the tables built from the units.

Everything can be read without heatproof: scores and predictions are Parquet, heatmaps Zarr v3, one per chunk, the rest
JSON, YAML and CSV. As units appear complete or not at all, a run may be killed, and processes may share one folder.
"""

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

import duckdb
import numpy as np
import zarr
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from zarr.codecs import BloscCodec

from ..errors import StoreError
from ..records import Array, UnitKind
from .parquet import damaged

KINDS: tuple[UnitKind, ...] = ("predictions", "heatmaps", "scores", "execution")
MAPS = "maps.zarr"


class Run:
    """The folder of a run and its committed units, by kind and key."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @classmethod
    def create(cls, folder: Path) -> "Run":
        """The run in ``folder``, created if missing; raises ``StoreError`` when it cannot be written."""
        run = cls(folder)
        with writing(run.folder):
            for kind in KINDS:
                (run.folder / kind).mkdir(parents=True, exist_ok=True)
            with _working(run.folder):
                return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run; raises ``StoreError`` when ``folder`` holds no run."""
        if not (Path(folder) / "config.yaml").is_file():
            raise StoreError(
                f"{folder} is not a run's folder (it has no config.yaml); give the output of `heatproof run`."
            )
        return cls(folder)

    def unit(self, kind: UnitKind, key: str) -> Path:
        """The folder of a unit, committed or not."""
        return self.folder / kind / key

    def has(self, kind: UnitKind, key: str) -> bool:
        """Whether a unit is committed."""
        return (self.unit(kind, key) / "unit.json").is_file()

    def keys(self, kind: UnitKind) -> set[str]:
        """The keys of all committed units of a kind."""
        names = (path.parent.name for path in (self.folder / kind).glob("*/unit.json"))
        return {name for name in names if not name.startswith(".")}

    @contextmanager
    def commit(self, kind: UnitKind, key: str, meta: Mapping[str, Any]) -> Iterator[Path]:
        """Give a folder to fill; it becomes the unit by one rename, unless another process was first."""
        with writing(self.folder), _working(self.folder / kind) as partial:
            yield partial
            _replace(partial / "unit.json", _json({"key": key, **meta}))
            _rename(partial, self.unit(kind, key))

    def meta(self, kind: UnitKind, key: str) -> dict[str, Any]:
        """The ``meta`` that a unit was committed with."""
        return read_json(self.unit(kind, key) / "unit.json")

    def settled(self, key: str, **values: Any) -> dict[str, Any]:
        """Commit values that results depend on besides the config; returns those of the first process to do so."""
        with self.commit("execution", key, values):
            pass
        return self.meta("execution", key)

    def remove(self, kind: UnitKind, key: str) -> None:
        """Remove a unit by one rename; the next run computes it again."""
        with writing(self.folder):
            discarded = _partial(self.folder / kind)
            self.unit(kind, key).rename(discarded)
            shutil.rmtree(discarded)

    def sweep(self) -> None:
        """Remove the partial files and folders of dead processes of this machine; those of others stay."""
        for partial in [*self.folder.glob(".partial-*"), *self.folder.glob("*/.partial-*")]:
            if _abandoned(partial):
                # Another process may be sweeping too.
                if partial.is_dir():
                    shutil.rmtree(partial, ignore_errors=True)
                else:
                    partial.unlink(missing_ok=True)

    def log(self, text: str) -> None:
        """Append to the run's log, the only file with times."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        with writing(self.folder), open(self.folder / "log.txt", "a", encoding="utf-8") as stream:
            stream.write(f"{stamp} {text}\n")

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Give a path to write; it becomes the run's file ``name`` by one rename."""
        with writing(self.folder), _working(self.folder) as partial:
            yield partial / name
            os.replace(partial / name, self.folder / name)

    def put_maps(self, unit: Path, maps: Array, name: str = MAPS) -> None:
        """Write maps (n, *space), one map per chunk."""
        codec = BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle", typesize=maps.dtype.itemsize)
        stored = zarr.create_array(
            unit / name, shape=maps.shape, chunks=(1, *maps.shape[1:]), dtype=maps.dtype, compressors=codec,
            # A map of zeros is written too: a missing chunk means damage.
            config={"write_empty_chunks": True},
        )  # fmt: skip
        # Written one by one: in a single assignment zarr goes on after a map that failed.
        for row, values in enumerate(maps):
            stored[row] = values

    def maps(self, key: str, index: int | slice = slice(None), name: str = MAPS) -> Array:
        """All maps of a heatmap unit, or one of them; raises ``StoreError`` if any is missing or damaged."""
        path = self.unit("heatmaps", key) / name
        try:
            stored = zarr.open_array(path, mode="r")
            maps = np.asarray(stored[index])
            if stored.nchunks_initialized != stored.nchunks:
                raise ValueError(f"maps missing: {stored.nchunks - stored.nchunks_initialized} of {stored.nchunks}")
        except Exception as error:
            raise damaged(path, error) from error
        return maps

    def kept(self, key: str, index: int) -> dict[str, Array]:
        """The arrays that an explainer kept of one case of a heatmap unit, by name, padded with NaN."""
        names = sorted(path.name for path in self.unit("heatmaps", key).glob("kept_*.zarr"))
        return {name[len("kept_") : -len(".zarr")]: self.maps(key, index, name) for name in names}


def require_writable(folder: Path) -> None:
    """Raise ``StoreError`` unless a run can be written to ``folder``, which is not created."""
    for path in (folder, *(folder / kind for kind in KINDS)):
        with writing(folder), TemporaryFile(dir=next(part for part in (path, *path.parents) if part.exists())):
            pass


@contextmanager
def _working(folder: Path) -> Iterator[Path]:
    """Create a partial folder within another; it is removed at the end unless it was renamed."""
    partial = _partial(folder)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _rename(partial: Path, unit: Path) -> None:
    try:
        partial.rename(unit)
    except OSError as error:
        if (unit / "unit.json").is_file():
            return
        if unit.exists():
            raise StoreError(f"{unit} is damaged (it has no unit.json); remove the folder and run again.") from error
        raise


def _partial(folder: Path) -> Path:
    """A new path with the host and process in its name."""
    return folder / f".partial-{socket.gethostname()}-{os.getpid()}-{uuid4().hex}"


def _abandoned(partial: Path) -> bool:
    """Whether a partial folder belongs to a process of this machine that has ended."""
    match = re.fullmatch(r"\.partial-(.+)-(\d+)-[^-]+", partial.name)
    if match is None or match[1] != socket.gethostname():
        return False
    # A restarted container may give this process an old number; it sweeps before it writes anything itself.
    return int(match[2]) == os.getpid() or not _running(int(match[2]))


def _running(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:
        return True
    # A killed process remains as a zombie until its parent waits for it, which in a container may never happen.
    return state != "Z"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into a ``StoreError`` that says what to do."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        raise StoreError(
            f"cannot write to {folder}: {_reason(error)}; make room, or choose another output folder, and run the same "
            "command again: everything committed so far is kept."
        ) from error


def _reason(error: Exception) -> str:
    """The operating system's message, which DuckDB wraps in JSON."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    number = re.search(r'"errno":"(\d+)"', str(error))
    if number:
        return os.strerror(int(number[1]))
    return str(error).splitlines()[0]


def write_text(path: Path, text: str) -> None:
    """Replace a file's content in one step."""
    with writing(path.parent):
        _replace(path, text)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys in one step."""
    write_text(path, _json(value))


def _replace(path: Path, text: str) -> None:
    partial = _partial(path.parent)
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises ``StoreError`` when the file cannot be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise damaged(path, error) from error


def read_yaml(path: Path, remedy: str = "run the same config again to write it anew") -> dict[str, Any]:
    """A YAML mapping, empty if there is no file; raises ``StoreError`` with the remedy when it cannot be read."""
    if not path.is_file():
        return {}
    try:
        return dict(YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {})
    except (YAMLError, TypeError, ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({error}); {remedy}.") from error
