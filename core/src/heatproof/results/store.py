"""A run's folder: one folder per unit, committed by one rename, and the tables built from the units.

Everything can be read without heatproof: scores and predictions are Parquet, heatmaps Zarr v3, one per chunk, the rest
JSON, YAML and CSV. As units appear complete or not at all, a run may be killed, and processes may share one folder.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

import numpy as np
import zarr
from ruamel.yaml import YAML
from zarr.codecs import BloscCodec

from ..digests import file_digest
from ..errors import StoreError
from ..records import Array, UnitKind
from ..shell import command
from .checksums import UNIT, DamagedUnit, digests_of, sealed, unsealed, verify
from .parquet import read_table
from .partial import abandoned, partial_path, reason_of, working, writing

Result = TypeVar("Result")

KINDS: tuple[UnitKind, ...] = ("predictions", "heatmaps", "scores", "execution")
MAPS = "maps.zarr"
REPAIRS = 2
"""How often a damaged unit is computed again: twice, as processes that share the folder may remove it both."""


class Run:
    """The folder of a run and its committed units, by kind and key.

    Units name the ``environment`` that made them, by its key. ``notice`` is called with each remark for the user.
    ``discarded`` contains the kind and key of damaged units that were removed.
    """

    def __init__(self, folder: Path, environment: str = "", notice: Callable[[str], object] = str):
        self.folder = Path(folder)
        self.environment = environment
        self.notice = notice
        self.discarded: set[tuple[str, str]] = set()

    @classmethod
    def create(cls, folder: Path) -> "Run":
        """The run in ``folder``, created if missing; raises ``StoreError`` when it cannot be written."""
        run = cls(folder)
        with writing(run.folder):
            for kind in KINDS:
                (run.folder / kind).mkdir(parents=True, exist_ok=True)
            with working(run.folder):
                return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run; raises ``StoreError`` when ``folder`` holds no run."""
        if not (Path(folder) / "config.yaml").is_file():
            raise StoreError(
                f"{folder} is not a run's folder (it has no config.yaml); give the output of `{command('run')}`."
            )
        return cls(folder)

    def unit(self, kind: UnitKind, key: str) -> Path:
        """The folder of a unit, committed or not."""
        return self.folder / kind / key

    def has(self, kind: UnitKind, key: str) -> bool:
        """Whether a unit is committed."""
        return (self.unit(kind, key) / UNIT).is_file()

    def keys(self, kind: UnitKind) -> set[str]:
        """The keys of all committed units of a kind."""
        names = (path.parent.name for path in (self.folder / kind).glob(f"*/{UNIT}"))
        return {name for name in names if not name.startswith(".")}

    @contextmanager
    def commit(self, kind: UnitKind, key: str, meta: Mapping[str, Any]) -> Iterator[Path]:
        """Give a folder to fill; it becomes the unit by one rename, unless another process was first."""
        with writing(self.folder), working(self.folder / kind) as partial:
            yield partial
            content = {"key": key, "environment": self.environment, "digests": digests_of(partial), **meta}
            (partial / UNIT).write_text(sealed(_json(content)), encoding="utf-8")
            unit = self.unit(kind, key)
            if unit.exists() and not self.has(kind, key):
                self.discard(DamagedUnit(unit, UNIT, "it is missing"))
            try:
                partial.rename(unit)
            except OSError:
                if not self.has(kind, key):
                    raise

    def meta(self, kind: UnitKind, key: str) -> dict[str, Any]:
        """The ``meta`` that a unit was committed with, its environment and digests; raises ``DamagedUnit``."""
        unit = self.unit(kind, key)
        try:
            content = unsealed((unit / UNIT).read_bytes())
        except (OSError, ValueError) as error:
            raise DamagedUnit(unit, UNIT, reason_of(error)) from error
        if content["key"] != key:
            raise DamagedUnit(unit, UNIT, f"it belongs to the unit {content['key']}")
        return content

    def verified(self, kind: UnitKind, key: str, *prefixes: str) -> Path:
        """The folder of a unit after a look at its files, or at those below ``prefixes``; raises ``DamagedUnit``."""
        verify(self.unit(kind, key), self.meta(kind, key)["digests"], prefixes or ("",))
        return self.unit(kind, key)

    def table(self, kind: UnitKind, key: str) -> dict[str, Array]:
        """The columns of a unit of predictions or scores; raises ``DamagedUnit``."""
        return read_table(self.verified(kind, key) / f"{kind}.parquet")

    def settled(self, key: str, **values: Any) -> dict[str, Any]:
        """Commit values that results depend on besides the config; returns those of the first process to do so."""

        def settle() -> dict[str, Any]:
            with self.commit("execution", key, values):
                pass
            return self.meta("execution", key)

        return self.repairing(settle)

    def remove(self, kind: UnitKind, key: str) -> None:
        """Remove a unit by one rename, unless another process did; the next run computes it again."""
        discarded = partial_path(self.folder / kind)
        with writing(self.folder), suppress(FileNotFoundError):
            self.unit(kind, key).rename(discarded)
            shutil.rmtree(discarded)

    def discard(self, damage: DamagedUnit) -> None:
        """Remove a damaged unit, unless another process has computed it again, and say so; then it is missing."""
        with suppress(DamagedUnit):
            self.verified(damage.kind, damage.key)
            return
        self.remove(damage.kind, damage.key)
        self.discarded.add((damage.kind, damage.key))
        self.say(f"{damage.path} was damaged ({damage.reason}); its unit was removed and is computed again")

    def repairing(self, compute: Callable[[], Result]) -> Result:
        """The result of ``compute``, which is called again without a damaged unit that it came upon.

        Raises ``StoreError`` when a unit is damaged again and again.
        """
        counts: Counter[Path] = Counter()
        while True:
            try:
                return compute()
            except DamagedUnit as damage:
                counts[damage.path.parent] += 1
                if counts[damage.path.parent] > REPAIRS:
                    raise StoreError(
                        f"{damage.path} was damaged again after it was written anew ({damage.reason}); the disk is at "
                        "fault: choose another output folder."
                    ) from damage
                self.discard(damage)

    def say(self, text: str) -> None:
        """Say something in the log and to the user."""
        self.log(text)
        self.notice(text)

    def say_once(self, text: str) -> None:
        """Say something unless the log of this run has it, whichever process wrote it."""
        log = self.folder / "log.txt"
        if not log.is_file() or f" {text}\n" not in log.read_text(encoding="utf-8", errors="replace"):
            self.say(text)

    def sweep(self) -> None:
        """Remove the partial files and folders of dead processes of this machine; those of others stay."""
        for partial in [*self.folder.glob(".partial-*"), *self.folder.glob("*/.partial-*")]:
            if abandoned(partial):
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

    def overtime(self, key: str) -> Path:
        """The file that names a unit which took so long that its worker process ended, until the run ends."""
        return self.folder / f".overtime-{key}"

    def forget_overtime(self) -> None:
        """Remove the files of ``overtime``."""
        for path in self.folder.glob(".overtime-*"):
            path.unlink(missing_ok=True)

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Give a path to write; it becomes the run's file ``name`` by one rename."""
        with writing(self.folder), working(self.folder) as partial:
            yield partial / name
            checksum = self._checksum(name, partial / name)
            checksum.parent.mkdir(exist_ok=True)
            # Before the rename, as others may read the file directly afterwards.
            checksum.touch()
            os.replace(partial / name, self.folder / name)

    @contextmanager
    def replacing_folder(self, name: str) -> Iterator[Path]:
        """Give an empty folder to fill; it takes the place of the run's folder ``name`` by a rename."""
        with writing(self.folder), working(self.folder) as partial:
            content = partial / "new"
            content.mkdir()
            yield content
            with suppress(FileNotFoundError):
                (self.folder / name).rename(partial / "old")
            content.rename(self.folder / name)

    def write(self, name: str, text: str) -> None:
        """Replace the content of the run's file ``name`` in one step."""
        with self.replacing(name) as partial:
            partial.write_text(text, encoding="utf-8")

    def withdraw(self, name: str) -> None:
        """Remove the run's file ``name``, which does not belong to the present config, if there is one."""
        with writing(self.folder):
            (self.folder / name).unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON with sorted keys in one step."""
        self.write(name, _json(value))

    def intact(self, name: str) -> Path:
        """The path of the run's file ``name``; raises ``StoreError`` if it is not as a run wrote it."""
        path = self.folder / name
        try:
            if self._checksum(name, path).exists():
                return path
            problem = "was changed or damaged since the run wrote it"
        except FileNotFoundError:
            raise StoreError(f"{path} is missing: the run has not finished; run the same config again.") from None
        except OSError as error:
            problem = f"cannot be read ({reason_of(error)})"
        raise StoreError(f"{path} {problem}; run the same config again to write it anew.")

    def read(self, name: str) -> str:
        """The text of the run's file ``name``; raises ``StoreError`` if it is not as a run wrote it."""
        return self.intact(name).read_text(encoding="utf-8")

    def mapping(self, name: str) -> dict[str, Any]:
        """The mapping in the run's YAML file ``name``, empty without this file; raises ``StoreError`` as ``read``."""
        if not (self.folder / name).exists():
            return {}
        return dict(YAML(typ="safe").load(self.read(name)))

    def _checksum(self, name: str, path: Path) -> Path:
        """The empty file that stands for this content of the run's file ``name``.

        Processes that share the folder write their tables at any time; a common list of checksums would lose some.
        """
        return self.folder / "checksums" / f"{name}-{file_digest(path)}"

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

    def maps(self, key: str, index: int | None = None, name: str = MAPS) -> Array:
        """All maps of a heatmap unit, or one of them; raises ``DamagedUnit`` if one that is read is damaged."""
        chunks = f"{name}/c/" if index is None else f"{name}/c/{index}/"
        path = self.verified("heatmaps", key, f"{name}/zarr.json", chunks) / name
        return np.asarray(zarr.open_array(path, mode="r")[slice(None) if index is None else index])

    def kept(self, key: str, index: int) -> dict[str, Array]:
        """The arrays that an explainer kept of one case of a heatmap unit, by name, padded with NaN."""
        files = self.meta("heatmaps", key)["digests"]
        names = sorted({path.split("/")[0] for path in files if path.startswith("kept_")})
        return {name.removeprefix("kept_").removesuffix(".zarr"): self.maps(key, index, name) for name in names}


def require_writable(folder: Path) -> None:
    """Raise ``StoreError`` unless a run can be written to ``folder``, which is not created."""
    for path in (folder, *(folder / kind for kind in KINDS)):
        with writing(folder), TemporaryFile(dir=next(part for part in (path, *path.parents) if part.exists())):
            pass


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
