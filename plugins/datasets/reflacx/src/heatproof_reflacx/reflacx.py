"""REFLACX: chest radiographs of MIMIC-CXR with the gaze, labels and ellipses of five radiologists."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.component import Seed
from heatproof.dataset import Tally
from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Geometry, Label, Sample
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.manifest import ListedSample, Listing, gathered
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, Table, read_table
from heatproof_eyetracking.mimic import GAZE, MimicDataset, MimicParams, Reading

from .folder import LABELS, WORDS, Folder, on, usable
from .writing import write

COLUMNS = ("id", "split", "eye_tracking_data_discarded", "image", "dicom_id", "subject_id")
SIZES = ("image_size_y", "image_size_x")
PARTS = {"train": "train", "validate": "tuning", "test": "test"}
PUBLISHED = {"samples": 2_616, "readings": 3_032}
CHEST = "chest"
BROKEN = "fixations without place, duration or resolution"


def named(label: str) -> str:
    """The name of a finding for a label.

    >>> named("High lung volume / emphysema")
    'high_lung_volume_emphysema'
    """
    return re.sub("[^a-z]+", "_", label.lower())


class ReflacxParams(MimicParams):
    """The phases to use, the least certainty of readers, boxes around the chest, and the division of patients.

    ``certainty`` of an ellipse or a label is 1 (unlikely) to 5 (consistent with). ``division: published`` is that of
    MIMIC-CXR; ``shares`` divides patients by name and seed.
    """

    phases: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    certainty: int = Field(default=3, ge=1, le=5)
    chest: bool = False
    division: Literal["published", "shares"] = "published"
    shares: Shares = Shares()
    seed: Seed = 0


class Reflacx(MimicDataset[ReflacxParams]):
    """2,616 frontal radiographs in 3,032 readings, with gaze, labels and ellipses around findings.

    Bigolin Lanfredi et al. 2022, "REFLACX, a dataset of reports and eye-tracking data for localization of abnormalities
    in chest x-rays", Scientific Data 9:350, doi:10.1038/s41597-022-01441-z. A sample is an image. Each reading has its
    own gaze, masks and box; the reader of an annotation is the id of the reading. A label applies if more than half of
    the readings that were asked for it state it; all were asked for ``Other``, which is free text. The mask of a
    finding that a reading denies is all zero; one that it states without an ellipse, or was not asked for, has no mask.
    """

    classes = (*LABELS, "No finding")
    splits = SPLITS
    tuning = "tuning"
    citation = (
        "Bigolin Lanfredi et al. 2022, Scientific Data 9:350, doi:10.1038/s41597-022-01441-z (PhysioNet, credentialed)"
    )
    licence = "PhysioNet Credentialed Health Data License; only for credentialed users who signed its agreement"
    obtain = "obtain it from the page 'MIMIC-CXR Database' of PhysioNet, and set images to the folder that holds files/"

    @property
    def findings(self) -> tuple[str, ...]:
        """Gaze, the labels that ellipses surround, and the chest if it is asked for."""
        if self.params.chest:
            return (GAZE, *map(named, LABELS), CHEST)
        return (GAZE, *map(named, LABELS))

    @property
    def published(self) -> Mapping[str, int]:
        """The authors' counts, which they state for all phases together only."""
        if set(self.params.phases) != {1, 2, 3}:
            return {}
        return PUBLISHED

    @cached_property
    def sheets(self) -> Mapping[Path, Table]:
        """The metadata of the phases; raise ``DataError`` where a table is missing or lacks a column."""
        folder = self.params.root / "main_data"
        paths = [folder / f"metadata_phase_{phase}.csv" for phase in sorted(set(self.params.phases))]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{missing[0]} does not exist; obtain it from the page 'REFLACX: Reports and eye-tracking data for "
                "localization of abnormalities in chest x-rays' of PhysioNet, or leave the phase out of phases."
            )
        return {path: read_table(path, (*COLUMNS, *SIZES), LABELS) for path in paths}

    @cached_property
    def rows(self) -> Mapping[str, Sequence[Row]]:
        """The usable readings of each image."""
        rows: dict[str, dict[str, Row]] = {}
        for row in self._rows:
            if not self._problem(row):
                rows.setdefault(row["dicom_id"], {}).setdefault(row["id"], row)
        return {id: list(readings.values()) for id, readings in rows.items()}

    @cached_property
    def _rows(self) -> list[Row]:
        return [row for table in self.sheets.values() for row in table.rows]

    def _problem(self, row: Row) -> str:
        """The problem of a reading, empty for a sound one."""
        if not all(row[name] for name in ("id", "image", "dicom_id")) or Path(row["id"]).name != row["id"]:
            return "it names no reading or no image"
        if not all(row[name].removesuffix(".0").isdigit() for name in SIZES):
            return "the size of its image is not a number"
        if self.params.division == "published" and row["split"].lower() not in PARTS:
            return f"split {row['split']!r} is not one of {', '.join(PARTS)}"
        return ""

    def listed(self) -> Listing:
        """List the images of the readings."""
        entries, faults = gathered(self._entries())
        # An image has one row per reading, so rows with the same image are no fault.
        del faults["samples listed twice"]
        broken = list(chain.from_iterable(table.faults for table in self.sheets.values()))
        problems = [f"{row.source}: {self._problem(row)}" for row in self._rows if self._problem(row)]
        first = {row["id"]: row.source for row in reversed(self._rows)}
        twice = [row.source for row in self._rows if row["id"] and first[row["id"]] != row.source]
        faults |= {"rows that cannot be used": [*broken, *problems], "readings listed twice": twice}
        unused = {"readings whose gaze was discarded": [row.source for row in self._rows if _discarded(row)]}
        return Listing(entries, faults, unused, list(self.sheets))

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for id, readings in self.rows.items():
            label = self._label(readings)
            for row in readings:
                if self.params.division == "published":
                    split = PARTS[row["split"].lower()]
                else:
                    split = split_of(row["subject_id"] or id, self.params.shares, self.params.seed)
                path = self.image_path(row["image"])
                known = attributes(row)
                yield id, ListedSample(path, split, label, row["subject_id"], row.source, attributes=known)

    def _label(self, readings: Sequence[Row]) -> Label:
        """The labels that more than half of the readings asked for them state, or "No finding"."""
        labels = []
        for index, label in enumerate(LABELS):
            votes = [stated(row, label, self.params.certainty) for row in readings if row[label] or label == WORDS]
            if 2 * sum(votes) > len(votes):
                labels.append(index)
        if len(labels) > 1:
            return tuple(labels)
        return next(iter(labels), len(LABELS))

    def readings(self, id: str, shape: tuple[int, ...]) -> Mapping[str, Reading]:
        """The readings of an image whose gaze was not discarded; raise ``DataError`` for an image of another size."""
        for row in self.rows[id]:
            if _size(row) != shape:
                raise DataError(
                    f"{self.entry(id).path} has {shape} pixels, but was read at {_size(row)} ({row.source}); "
                    "replace it by the published image."
                )
        return {row["id"]: self._folder(row).reading(shape) for row in self.rows[id] if not _discarded(row)}

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """A mask per reading and finding, and, with ``chest``, the box of each reading around the chest."""
        return tuple(chain.from_iterable(self._annotations(row, geometry.native) for row in self.rows[id]))

    def _annotations(self, row: Row, shape: tuple[int, ...]) -> Iterator[Annotation]:
        """The annotations of one reading."""
        folder = self._folder(row)
        masks = folder.ellipses(self.params.certainty, shape)
        for label in LABELS:
            if label in masks:
                yield Annotation(named(label), masks[label], reader=row["id"], source=str(folder.path))
            elif row[label] and not stated(row, label, self.params.certainty):
                # A broadcast array takes no memory: an image has a dozen such masks per reading.
                yield Annotation(named(label), np.broadcast_to(np.zeros((), bool), shape), reader=row["id"])
        if self.params.chest:
            yield Annotation(CHEST, folder.chest(shape), "box", row["id"], str(folder.path))

    def _folder(self, row: Row) -> Folder:
        return Folder(self.params.root / "main_data" / row["id"])

    def marks(self, id: str) -> Iterable[Path]:
        """The files of the readings of an image."""
        return chain.from_iterable(self._folder(row).files for row in self.rows[id])

    def _listed_rows(self) -> list[Row]:
        """The readings of listed images."""
        return list(chain.from_iterable(self.rows[id] for id in self.listing.entries))

    def rejected(self) -> list[Tally]:
        """The faults of the tables, missing images, and unusable fixations."""
        broken = [tally for tally in self._gaze_tallies if tally.what == BROKEN and tally.count]
        return [*super().rejected(), *broken]

    def check(self) -> list[Tally]:
        """Compare counts with the published ones, and count unusable fixations."""
        return [*super().check(), *self._gaze_tallies]

    @cached_property
    def _gaze_tallies(self) -> tuple[Tally, ...]:
        """Counts of readings and fixations, from the files of all readings."""
        readings = self._listed_rows()
        total = 0
        broken = 0
        misses = 0
        with_broken: list[str] = []
        without_hit: list[str] = []
        for row, values in self._fixations(readings):
            sound = usable(values)
            hits = sound & on(values, _size(row))
            total += len(values)
            broken += int((~sound).sum())
            misses += int((sound & ~hits).sum())
            if not sound.all():
                with_broken.append(row.source)
            if not hits.any():
                without_hit.append(row.source)
        return (
            Tally("readings", len(readings), self.published.get("readings")),
            Tally("fixations", total),
            Tally(BROKEN, broken, 0, *with_broken[:1]),
            Tally("fixations beside their image", misses),
            Tally("readings without a fixation on the image", len(without_hit), 0, *without_hit[:1]),
        )

    def _fixations(self, readings: Iterable[Row]) -> Iterator[tuple[Row, Array]]:
        """The fixations of each reading whose gaze was not discarded and can be read."""
        for row in readings:
            try:
                if not _discarded(row):
                    yield row, self._folder(row).fixations()
            except DataError:
                # ``check`` counts its sample as unreadable.
                continue

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in this layout, as readings of phase 3, under an empty folder; return their number.

        Images become DICOM below ``files``. Each reader with gaze becomes a reading, with the reader's annotations and
        those of readers without gaze. Masks become ellipses around their connected parts.
        """
        names = {named(label): label for label in LABELS}
        parts = {split: part for part, split in PARTS.items()}
        return write(self, samples, root, names, parts)


def stated(row: Row, label: str, least: int) -> bool:
    """Whether a reading states a label: with certainty ``least`` or more, as true, or in words (``Other``)."""
    try:
        return float(row[label]) >= least
    except ValueError:
        return row[label].lower() not in ("", "false")


def _discarded(row: Row) -> bool:
    return row["eye_tracking_data_discarded"].lower() in ("true", "1", "1.0")


def _size(row: Row) -> tuple[int, ...]:
    """Height and width of the image in the reading."""
    return tuple(round(float(row[name])) for name in SIZES)
