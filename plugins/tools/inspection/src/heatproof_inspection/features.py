"""The features of all cases, taken once per case and layer, and kept on disk in pieces that a later run continues."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from heatproof.digests import digest
from heatproof.errors import DataError, HeatproofError, StoreError
from heatproof.records import Array, Sample
from heatproof_fresh_folders.file import replace_file
from heatproof_inspectors.memory import pooled

from .cohort import Cohort, require_finite

PIECE = 256
"""Cases per piece, which is a chunk on disk and what an interrupted inspection loses at most."""
LOGITS = "logits"


@dataclass(frozen=True)
class Row:
    """What is kept of a case besides its features; ``reason`` says why it could not be read, empty if it could."""

    id: str
    patient: str = ""
    labels: tuple[str, ...] = ()
    reason: str = ""


class Features:
    """The features of a cohort at some layers in a folder; ``say`` hears how far they are.

    ``features/<digest>/<layer>.zarr`` holds (case, channel) float32, NaN for a case that could not be read, and a file
    per piece that it is whole. Other cases, files or weights have another digest.
    """

    def __init__(self, cohort: Cohort, layers: Sequence[str], say: Callable[[str], None]):
        self.cohort = cohort
        self.layers = tuple(dict.fromkeys(layers))
        self.ids = list(cohort.splits)
        self.folder = cohort.config.output / "features" / cohort.digest
        self.say = say

    @property
    def pieces(self) -> list[slice]:
        """The pieces of all cases."""
        return [slice(start, min(start + PIECE, len(self.ids))) for start in range(0, len(self.ids), PIECE)]

    def take(self) -> None:
        """Take what is missing; raises ``DataError`` if no case can be read, ``StoreError`` if it cannot be written."""
        for number, piece in enumerate(self.pieces):
            missing = [name for name in (LOGITS, *self.layers) if not self._mark(name, number).is_file()]
            if missing:
                self.say(f"features of case {piece.start + 1} to {piece.stop} of {len(self.ids)}")
                self._take(number, piece, missing)
        if all(row.reason for row in self.rows):
            raise DataError(f"no case can be read; the first reason: {self.rows[0].reason}")

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of all cases, in the order of ``ids``."""
        marks = [self._mark(LOGITS, number).read_text(encoding="utf-8") for number in range(len(self.pieces))]
        return [Row(**row | {"labels": tuple(row["labels"])}) for mark in marks for row in json.loads(mark)]

    @cached_property
    def read(self) -> Array:
        """The positions (n,) of the cases that could be read."""
        return np.array([position for position, row in enumerate(self.rows) if not row.reason])

    def of(self, name: str) -> Array:
        """Return the features (n, channel) of a layer, or the ``logits``, of the cases that could be read."""
        array = zarr.open_array(self._path(name), mode="r")
        if len(self.read) == len(self.ids):
            return OnDisk(array)  # type: ignore[return-value]
        return np.asarray(array.oindex[self.read])

    def _take(self, number: int, piece: slice, missing: Sequence[str]) -> None:
        """Run the network over a piece, and write what was missing, its mark last."""
        rows: list[Row] = []
        parts: dict[str, list[tuple[int, Array]]] = {name: [] for name in missing}
        waiting: list[tuple[int, Sample]] = []
        for position in range(piece.start, piece.stop):
            row, sample = self._row(self.ids[position])
            rows.append(row)
            if sample is not None:
                waiting.append((position - piece.start, sample))
            if len(waiting) == self.cohort.config.rows or (position == piece.stop - 1 and waiting):
                self._pass(waiting, missing, parts)
                waiting = []
        with writing(self.folder):
            for name in missing:
                self._write(name, piece, parts[name])
            for name in missing:
                content: Any = [vars(row) for row in rows] if name == LOGITS else []
                replace_file(self._mark(name, number), json.dumps(content, ensure_ascii=False).encode())

    def _row(self, id: str) -> tuple[Row, Sample | None]:
        """A case and its sample, or why there is none."""
        try:
            sample = require_finite(self.cohort.sample(id))
        except (HeatproofError, OSError, ValueError) as error:
            return Row(id, reason=str(error).rstrip(".") or type(error).__name__), None
        return Row(id, sample.patient, self.cohort.names(sample)), sample

    def _pass(
        self,
        waiting: Sequence[tuple[int, Sample]],
        missing: Sequence[str],
        parts: Mapping[str, list[tuple[int, Array]]],
    ) -> None:
        """One pass over some samples; the results go into ``parts`` with their positions in the piece."""
        samples = [sample for _, sample in waiting]
        layers = [name for name in missing if name != LOGITS]
        for offset, logits, activations in self._forward(samples, layers):
            positions = [position for position, _ in waiting[offset : offset + len(logits)]]
            for name in missing:
                values = logits if name == LOGITS else pooled(activations[name])
                parts[name].extend(zip(positions, values))

    def _forward(
        self, samples: Sequence[Sample], layers: Sequence[str]
    ) -> Iterator[tuple[int, Array, Mapping[str, Array]]]:
        batch = self.cohort.batch(samples, [0] * len(samples))
        offset = 0
        with torch.no_grad():
            for logits, activations in batch.pieced(lambda part: part.forward(capture=layers)):
                numbers = logits.float().cpu().numpy()
                yield offset, numbers, {name: activations[name].float().cpu().numpy() for name in layers}
                offset += len(numbers)

    def _write(self, name: str, piece: slice, part: Sequence[tuple[int, Array]]) -> None:
        """Write a piece of an array, which is created as soon as its width is known."""
        path = self._path(name)
        if not path.is_dir():
            if not part:
                return
            self._create(path, len(part[0][1]))
        array = zarr.open_array(path, mode="r+")
        values = np.full((piece.stop - piece.start, array.shape[1]), np.nan, np.float32)
        for position, numbers in part:
            values[position] = numbers
        array[piece] = values

    def _create(self, path: Path, width: int) -> None:
        """Make an array of NaN by one rename: a process that is killed leaves none, or a whole one."""
        partial = path.with_name(f".partial-{path.name}")
        shutil.rmtree(partial, ignore_errors=True)
        shape = (len(self.ids), width)
        zarr.create_array(partial, shape=shape, chunks=(PIECE, width), dtype="float32", fill_value=np.nan)
        partial.rename(path)

    def _path(self, name: str) -> Path:
        return self.folder / f"{digest(name)[:16]}.zarr"

    def _mark(self, name: str, number: int) -> Path:
        return self.folder / f"{digest(name)[:16]}-{number}.json"


class OnDisk:
    """An array of two dimensions on disk, whose rows are read by slices or indices, as numpy's are."""

    def __init__(self, array: Any):
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        if isinstance(rows, (int, np.integer, slice)):
            return np.asarray(self._array[rows])
        return np.asarray(self._array.oindex[np.asarray(rows)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self._array[:], dtype)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make a folder, and turn errors of the disk into a ``StoreError`` that says what to do."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        advice = "make room, or choose another output, and run the same command again: finished pieces are kept"
        raise StoreError(f"cannot write to {folder}: {error.strerror or error}; {advice}.") from error
