"""REFLACX: chest radiographs of MIMIC-CXR, read by five radiologists whose gaze was recorded."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.dataset import Tally
from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Label, Sample
from heatproof_cohorts.manifest import ListedSample, Listing, gathered
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, Table, read_table
from heatproof_eyetracking.mimic import GAZE, MimicDataset, MimicParams, Reading

from .folder import LABELS, WORDS, Folder, on, usable
from .twin import write

COLUMNS = ("id", "split", "eye_tracking_data_discarded", "image", "dicom_id", "subject_id")
SIZES = ("image_size_y", "image_size_x")
PARTS = {"train": "train", "validate": "tuning", "test": "test"}
PUBLISHED = {"samples": 2_616, "readings": 3_032}
CHEST = "chest"
BROKEN = "fixations without place, duration or resolution"


def named(label: str) -> str:
    """A label as the name of a finding.

    >>> named("High lung volume / emphysema")
    'high_lung_volume_emphysema'
    """
    return re.sub("[^a-z]+", "_", label.lower())


class ReflacxParams(MimicParams):
    """Which phases to take, how certain a reader must be, whether to add boxes of the chest, and the division.

    ``certainty`` is that of an ellipse or a label, 1 (unlikely) to 5 (consistent with). ``division: published`` is the
    one of MIMIC-CXR; ``shares`` draws patients by name and seed.
    """

    phases: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    certainty: int = Field(default=3, ge=1, le=5)
    chest: bool = False
    division: Literal["published", "shares"] = "published"
    shares: Shares = Shares()
    seed: int = Field(default=0, ge=0)


class Reflacx(MimicDataset[ReflacxParams]):
    """2,616 frontal radiographs in 3,032 readings, with gaze, labels and ellipses round what was found.

    Bigolin Lanfredi et al. 2022, "REFLACX, a dataset of reports and eye-tracking data for localization of abnormalities
    in chest x-rays", Scientific Data 9:350, doi:10.1038/s41597-022-01441-z. A sample is an image; each reading has its
    own gaze, masks and box, the reader being the reading's id. A label counts where more than half of the readings that
    asked for it give it; all asked for ``Other``, which is words. A finding that a reading denies is all zero; one that
    it states without an ellipse, or did not ask for, has no annotation of it.
    """

    classes = (*LABELS, "No finding")
    findings = (GAZE, *map(named, LABELS), CHEST)
    splits = SPLITS
    tuning = "tuning"
    citation = (
        "Bigolin Lanfredi et al. 2022, Scientific Data 9:350, doi:10.1038/s41597-022-01441-z (PhysioNet, credentialed)"
    )
    licence = "PhysioNet Credentialed Health Data License; only for credentialed users who signed its agreement"
    obtain = "obtain it from the page 'MIMIC-CXR Database' of PhysioNet, and set images to the folder that holds files/"

    @property
    def published(self) -> Mapping[str, int]:
        """The authors' counts, known for all phases together."""
        return PUBLISHED if set(self.params.phases) == {1, 2, 3} else {}

    @cached_property
    def sheets(self) -> Mapping[Path, Table]:
        """The metadata of the phases; raises ``DataError`` where one is missing or lacks a column."""
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
        """The readings that can be used, by image."""
        rows: dict[str, dict[str, Row]] = {}
        for row in self._rows:
            if not self._problem(row):
                rows.setdefault(row["dicom_id"], {}).setdefault(row["id"], row)
        return {id: list(readings.values()) for id, readings in rows.items()}

    @cached_property
    def _rows(self) -> list[Row]:
        return [row for table in self.sheets.values() for row in table.rows]

    def _problem(self, row: Row) -> str:
        """What is wrong with a reading, empty where nothing is."""
        if not all(row[name] for name in ("id", "image", "dicom_id")) or Path(row["id"]).name != row["id"]:
            return "it names no reading or no image"
        if not all(row[name].removesuffix(".0").isdigit() for name in SIZES):
            return "the size of its image is no number"
        known = self.params.division == "shares" or row["split"].lower() in PARTS
        return "" if known else f"split {row['split']!r} is not one of {', '.join(PARTS)}"

    def listed(self) -> Listing:
        """The images of the readings."""
        entries, faults = gathered(self._entries())
        del faults["samples listed twice"]  # that is what several readings of one image are
        broken = [fault for table in self.sheets.values() for fault in table.faults]
        problems = [f"{row.source}: {problem}" for row in self._rows if (problem := self._problem(row))]
        single = {row["id"]: row.source for row in reversed(self._rows)}
        twice = [row.source for row in self._rows if row["id"] and single[row["id"]] != row.source]
        faults |= {"rows that cannot be used": [*broken, *problems], "readings listed twice": twice}
        unused = {"readings whose gaze was discarded": [row.source for row in self._rows if _discarded(row)]}
        return Listing(entries, faults, unused, list(self.sheets))

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for id, readings in self.rows.items():
            label = self._label(readings)
            for row in readings:
                drawn = split_of(row["subject_id"] or id, self.params.shares, self.params.seed)
                split = PARTS[row["split"].lower()] if self.params.division == "published" else drawn
                yield id, ListedSample(self.image_path(row["image"]), split, label, row["subject_id"], row.source)

    def _label(self, readings: Sequence[Row]) -> Label:
        votes = {
            label: [stated(row, label, self.params.certainty) for row in readings if row[label] or label == WORDS]
            for label in LABELS
        }
        given = tuple(place for place, each in enumerate(votes.values()) if 2 * sum(each) > len(each))
        return given if len(given) > 1 else given[0] if given else len(LABELS)

    def readings(self, id: str, shape: tuple[int, ...]) -> Mapping[str, Reading]:
        """The readings of an image whose gaze was kept, by id; raises ``DataError`` where its size is another one."""
        for row in self.rows[id]:
            if _size(row) != shape:
                raise DataError(
                    f"{self.entry(id).path} has {shape} pixels, but was read at {_size(row)} ({row.source}); "
                    "replace it by the published image."
                )
        return {row["id"]: self._folder(row).reading(shape) for row in self.rows[id] if not _discarded(row)}

    def annotations(self, id: str, shape: tuple[int, ...]) -> tuple[Annotation, ...]:
        """The ellipses of every reading as a mask per finding, and its box round the chest on request."""
        return tuple(mark for row in self.rows[id] for mark in self._marks(row, shape))

    def _marks(self, row: Row, shape: tuple[int, ...]) -> Iterator[Annotation]:
        folder, least = self._folder(row), self.params.certainty
        masks = folder.ellipses(least, shape)
        for label in LABELS:
            if label in masks:
                yield Annotation(named(label), masks[label], reader=row["id"], source=str(folder.path))
            elif row[label] and not stated(row, label, least):
                # Nothing is stored for what is not there: an image has a dozen such masks, and more with its readers.
                yield Annotation(named(label), np.broadcast_to(np.zeros((), bool), shape), reader=row["id"])
        if self.params.chest:
            yield Annotation(CHEST, folder.chest(shape), "box", row["id"], str(folder.path))

    def _folder(self, row: Row) -> Folder:
        return Folder(self.params.root / "main_data" / row["id"])

    def marks(self) -> Iterable[Path]:
        """The files of the readings of listed images."""
        return [path for id in self.listing.entries for row in self.rows[id] for path in self._folder(row).files]

    def rejected(self) -> list[Tally]:
        """What is wrong with the tables, missing images, and fixations that cannot be used."""
        return [*super().rejected(), *(found for found in self._looked if found.what == BROKEN and found.count)]

    def check(self) -> list[Tally]:
        """Counts against the published ones, and what of the gaze cannot be used."""
        return [*super().check(), *self._looked]

    @cached_property
    def _looked(self) -> tuple[Tally, ...]:
        """What the tables of all readings hold; it reads every one of them."""
        readings = [row for id in self.listing.entries for row in self.rows[id]]
        total, broken, beside = 0, 0, 0
        blind: list[str] = []
        faulty: list[str] = []
        for row, values in self._fixations(readings):
            good, met = usable(values), usable(values) & on(values, _size(row))
            total, broken, beside = total + len(values), broken + sum(~good), beside + sum(good) - sum(met)
            blind += [] if met.any() else [row.source]
            faulty += [] if good.all() else [row.source]
        return (
            Tally("readings", len(readings), self.published.get("readings")),
            Tally("fixations", total),
            Tally(BROKEN, int(broken), 0, *faulty[:1]),
            Tally("fixations beside their image", int(beside)),
            Tally("readings without a fixation on the image", len(blind), 0, *blind[:1]),
        )

    def _fixations(self, readings: Iterable[Row]) -> Iterator[tuple[Row, Array]]:
        """The fixations of the readings whose gaze was kept and can be read."""
        for row in readings:
            try:
                if not _discarded(row):
                    yield row, self._folder(row).fixations()
            except DataError:
                # Its sample is counted as unreadable already.
                continue

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples with their readings in this layout, as phase 3, under an empty folder; how many.

        Images become DICOM below ``files``. What one reader marked is his reading's; what nobody of those who looked
        marked is everybody's. Masks become the ellipses round their connected parts.
        """
        names = {named(label): label for label in LABELS}
        return write(self, samples, root, names, {own: part for part, own in PARTS.items()})


def stated(row: Row, label: str, least: int) -> bool:
    """Whether a reading states a label: at least so certain, true, or in words (of ``Other``)."""
    try:
        return float(row[label]) >= least
    except ValueError:
        return row[label].lower() not in ("", "false")


def _discarded(row: Row) -> bool:
    return row["eye_tracking_data_discarded"].lower() in ("true", "1", "1.0")


def _size(row: Row) -> tuple[int, ...]:
    """Height and width of the image as it was read."""
    return tuple(round(float(row[name])) for name in SIZES)
