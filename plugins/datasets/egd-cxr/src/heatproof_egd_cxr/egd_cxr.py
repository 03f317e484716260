"""EGD-CXR: chest radiographs of MIMIC-CXR with the gaze of the radiologist who read them."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.component import Location, Seed
from heatproof.dataset import Tally
from heatproof.errors import DataError
from heatproof.imaging.outlines import box
from heatproof.records import Annotation, Array, Geometry, Sample
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.manifest import ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, Table, plain_name, read_lines, read_table, write_table
from heatproof_eyetracking.gaze import SIGMA, counted, fixations_of
from heatproof_eyetracking.mimic import GAZE, MimicDataset, MimicParams, Reading, write_image

from .gaze_table import GazeTable, read_gaze
from .screen import Screen

CLASSES = ("Normal", "CHF", "pneumonia")
PADS = ("image_top_pad", "image_bottom_pad", "image_left_pad", "image_right_pad")
SHEET = ("dicom_id", "path", "patient_id", *PADS, *CLASSES)
BOXES = ("dicom_id", "bbox_name", "x1", "x2", "y1", "y2")
WRITTEN = ("SESSION_ID", "DICOM_ID", "CNT", "Time (in secs)", "FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGID", "FPOGV")
STRUCTURES = (
    "right_lung", "right_upper_lung_zone", "right_mid_lung_zone", "right_lower_lung_zone", "right_hilar_structures",
    "right_costophrenic_angle", "right_clavicle", "left_lung", "left_upper_lung_zone", "left_mid_lung_zone",
    "left_lower_lung_zone", "left_hilar_structures", "left_costophrenic_angle", "left_clavicle", "upper_mediastinum",
    "cardiac_silhouette", "trachea",
)  # fmt: skip
NAMES = {plain_name(name): name for name in STRUCTURES}
ROWS = {"fixations": 48_959, "eye_gaze": 1_498_953}
ALLOWED = 1_017


class EgdCxrParams(MimicParams):
    """The images and the table of gaze to use, the width of a fixation, and the division of patients.

    ``division: reference`` is that of the authors' experiments; ``shares`` divides patients by name and seed.
    """

    table: Literal["fixations", "eye_gaze"] = "fixations"
    sigma: float = Field(default=SIGMA, gt=0, le=10_000)
    boxes: bool = False
    allow_list: Location | None = None
    division: Literal["shares", "reference"] = "shares"
    shares: Shares = Shares(train=0.8, tuning=0.1, test=0.1)
    seed: Seed = 0


class EgdCxr(MimicDataset[EgdCxrParams]):
    """1,083 frontal radiographs, normal, of heart failure or of pneumonia, with the gaze of one radiologist.

    Karargyris et al. 2021, "Creation and validation of a chest X-ray dataset with eye-tracking and report dictation for
    AI development", Scientific Data 8:92, doi:10.1038/s41597-021-00863-5. Gaze becomes maps as in the authors' program:
    one map per fixation, without regard to its duration and without the first row of the image. Unlike in that program,
    the last image of a session has a map, too. ``boxes`` adds the boxes of 17 anatomical structures.
    """

    classes = CLASSES
    splits = SPLITS
    tuning = "tuning"
    citation = "Karargyris et al. 2021, Scientific Data 8:92, doi:10.1038/s41597-021-00863-5 (PhysioNet, credentialed)"
    licence = "PhysioNet Credentialed Health Data License; only for credentialed users who signed its agreement"
    obtain = "obtain it from the page 'MIMIC-CXR Database' of PhysioNet, and set images to the folder that holds files/"

    @property
    def findings(self) -> tuple[str, ...]:
        """Gaze, and with ``boxes`` the anatomical structures."""
        if self.params.boxes:
            return (GAZE, *STRUCTURES)
        return (GAZE,)

    @property
    def published(self) -> Mapping[str, int]:
        """The authors' count of images, or, with an allow-list, that of Watanabe et al. 2022."""
        if self.params.allow_list is None:
            return {"samples": 1_083}
        return {"samples": ALLOWED}

    @cached_property
    def sheet(self) -> Table:
        """The master sheet; raise ``DataError`` where it is missing or lacks a column."""
        path = self.params.root / "master_sheet.csv"
        if not path.is_file():
            raise DataError(
                f"{self.params.root} holds no master_sheet.csv; obtain it from the page 'Eye Gaze Data for Chest "
                "X-rays' of PhysioNet."
            )
        return read_table(path, SHEET)

    @cached_property
    def gaze(self) -> GazeTable:
        """The table of gaze."""
        return read_gaze(self.params.root / f"{self.params.table}.csv")

    @cached_property
    def screens(self) -> Mapping[str, Screen]:
        """The borders of each image on the screen, by id."""
        return {row["dicom_id"]: Screen(*(float(row[pad]) for pad in PADS)) for row in self._sound}

    @cached_property
    def _sound(self) -> list[Row]:
        return [row for row in self.sheet.rows if not _problem(row)]

    @cached_property
    def _allowed(self) -> set[str] | None:
        if self.params.allow_list is None:
            return None
        return {_named(line) for line, _ in read_lines(self.params.allow_list)}

    def listed(self) -> Listing:
        """List the rows of the master sheet."""
        entries, faults = gathered(self._entries())
        problems = [f"{row.source}: {_problem(row)}" for row in self.sheet.rows if _problem(row)]
        faults["rows that cannot be used"] = [*self.sheet.faults, *problems, *self._outlines.faults]
        names = ["master_sheet.csv", f"{self.params.table}.csv"]
        if self.params.boxes:
            names.append("bounding_boxes.csv")
        paths = [self.params.root / name for name in names]
        return Listing(entries, faults, self._unused(), [path for path in paths if path.is_file()])

    def _unused(self) -> dict[str, list[str]]:
        """The differences between the sheet and the allow-list, where there is one."""
        if self._allowed is None:
            return {}
        ids = {row["dicom_id"] for row in self._sound}
        return {
            "rows that are not on the allow-list": [row.source for row in self._sound if not self._takes(row)],
            "names on the allow-list that are not in the sheet": sorted(self._allowed - ids),
        }

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        reference = reference_division([row["patient_id"] for row in self.sheet.rows if row["patient_id"]])
        for row in filter(self._takes, self._sound):
            patient = row["patient_id"]
            split = split_of(patient, self.params.shares, self.params.seed)
            if self.params.division == "reference":
                split = reference[patient]
            path = self.image_path(row["path"])
            label = _classes(row)[0]
            yield row["dicom_id"], ListedSample(path, split, label, patient, row.source, attributes=attributes(row))

    def _takes(self, row: Row) -> bool:
        return self._allowed is None or row["dicom_id"] in self._allowed

    def readings(self, id: str, shape: tuple[int, ...]) -> Mapping[str, Reading]:
        """The gaze on an image in all sessions; empty where the table has no row of the image."""
        if id not in self.gaze.rows:
            return {}
        rows = self.gaze.rows[id]
        screen = self.screens[id]
        rows = rows[screen.meets(rows)]
        points = np.column_stack([screen.points(rows[:, :2], shape), rows[:, 2]])
        pixels = np.floor(points[:, :2])
        points = points[(pixels[:, 0] >= 1) & (pixels < shape).all(axis=1)]
        return {"": Reading(points, counted(points[:, :2], shape, self.params.sigma))}

    @cached_property
    def _outlines(self) -> Table:
        if not self.params.boxes:
            return Table((), (), "")
        return read_table(self.params.root / "bounding_boxes.csv", BOXES)

    @cached_property
    def _boxes(self) -> Mapping[str, Sequence[Row]]:
        boxes: dict[str, list[Row]] = {}
        for row in self._outlines.rows:
            boxes.setdefault(row["dicom_id"], []).append(row)
        return boxes

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """The boxes of an image; raise ``DataError`` for a box of an unknown structure, without size or outside."""
        return tuple(_boxed(row, geometry.native) for row in self._boxes.get(id, ()))

    def rejected(self) -> list[Tally]:
        """The faults of the sheet, missing images, and unusable gaze."""
        return [*super().rejected(), *(tally for tally in self._unusable if tally.count)]

    @property
    def _gaze_by_id(self) -> Mapping[str, Array]:
        """The rows of gaze (n, 3) of each listed image."""
        return {id: self.gaze.rows.get(id, np.zeros((0, 3))) for id in self.listing.entries}

    @cached_property
    def _unusable(self) -> tuple[Tally, ...]:
        counts = {id: int(np.isnan(rows[:, :2]).any(axis=1).sum()) for id, rows in self._gaze_by_id.items()}
        broken = [id for id, count in counts.items() if count]
        return (
            Tally("rows of gaze that are not numbers", sum(counts.values()), 0, *broken[:1]),
            Tally("lines of gaze that cannot be read", self.gaze.faults, 0),
        )

    def check(self) -> list[Tally]:
        """Compare counts with the published ones, and count unusable gaze."""
        rows_by_id = self._gaze_by_id
        hits = {id: int(self.screens[id].meets(rows).sum()) for id, rows in rows_by_id.items()}
        misses = sum(map(len, rows_by_id.values())) - self._unusable[0].count - sum(hits.values())
        unknown = [id for id in self.gaze.rows if id not in self.screens]
        without_gaze = [id for id, rows in rows_by_id.items() if not len(rows)]
        without_hit = [id for id, rows in rows_by_id.items() if len(rows) and not hits[id]]
        tallies = [
            *super().check(),
            Tally(f"rows of {self.params.table}", self.gaze.count, ROWS[self.params.table]),
            Tally("sessions", self.gaze.sessions, 38),
            *self._unusable,
            Tally("gaze beside its image", misses),
            Tally("images of gaze that are not in the sheet", len(unknown), None, *unknown[:1]),
            Tally("images without gaze", len(without_gaze), 0, *without_gaze[:1]),
            Tally("images on which no gaze lies", len(without_hit), 0, *without_hit[:1]),
        ]
        if self.params.boxes:
            tallies.append(Tally("boxes", sum(map(len, self._boxes.values())), 18_405))
        return tallies

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples with their gaze in this layout under an empty folder; return their number.

        Images become DICOM below ``files``, readers become sessions, and masks of anatomy become boxes around them.
        Splits are not written; patients are divided anew when the samples are read.
        """
        require_new(root)
        sheet: list[Sequence[object]] = []
        gaze: list[Sequence[object]] = []
        boxes: list[Sequence[object]] = []
        for number, sample in enumerate(samples, 1):
            name = self.name_to_write(sample)
            label = self.class_to_write(sample)
            screen = Screen.fitting(sample.space)
            path = write_image(sample, root, name, number)
            pads = (screen.top, screen.bottom, screen.left, screen.right)
            sheet.append((name, path, sample.patient, *pads, *(int(label == index) for index in range(len(CLASSES)))))
            gaze += _gaze_rows(sample, name, screen)
            boxes += _box_rows(sample, name)
        write_table(root / "master_sheet.csv", SHEET, sheet)
        write_table(root / "fixations.csv", WRITTEN, gaze)
        write_table(root / "bounding_boxes.csv", BOXES, boxes)
        return len(sheet)


def reference_division(patients: Sequence[str]) -> dict[str, str]:
    """Split of each patient, in the order of the sheet, as in the authors' experiments, which shuffle with seed 42."""
    order = list(dict.fromkeys(patients))
    random.Random(42).shuffle(order)
    train = round(0.8 * len(order))
    tuning = train + round(0.5 * (len(order) - train))
    splits: dict[str, str] = {}
    for split, members in zip(SPLITS, (order[:train], order[train:tuning], order[tuning:])):
        splits |= dict.fromkeys(members, split)
    return splits


def _problem(row: Row) -> str:
    """The problem of a row of the sheet, empty for a sound row."""
    if not all(row[name] for name in ("dicom_id", "path", "patient_id")):
        return "it names no image or no patient"
    try:
        pads = [float(row[pad]) for pad in PADS]
        classes = _classes(row)
    except ValueError:
        return "a border or a class is not a number"
    if not (min(pads) >= 0 and min(Screen(*pads).extent) > 0):
        return "the borders leave nothing of the screen"
    if len(classes) != 1:
        return f"it has {len(classes)} of the classes {', '.join(CLASSES)}; one is allowed"
    return ""


def _classes(row: Row) -> list[int]:
    return [index for index, name in enumerate(CLASSES) if float(row[name] or 0)]


def _named(line: str) -> str:
    """The id in a line of an allow-list: the first value, without folders and without the suffix ``.dcm``."""
    return line.split(",")[0].strip().strip('"').rpartition("/")[2].removesuffix(".dcm")


def _boxed(row: Row, shape: tuple[int, ...]) -> Annotation:
    name = NAMES.get(plain_name(row["bbox_name"]))
    try:
        x1, x2, y1, y2 = (float(row[corner]) for corner in BOXES[2:])
    except ValueError:
        raise DataError(f"{row.source}: a corner is not a number; give x1, x2, y1 and y2 in pixels.") from None
    values = box((y1, y2), (x1, x2), shape)
    if name is None or not values.any():
        raise DataError(
            f"{row.source}: the box of {row['bbox_name']!r} is empty, outside of its image {shape} or of an unknown "
            "structure; correct it."
        )
    return Annotation(name, values, "box", source=row.source)


def _gaze_rows(sample: Sample, name: str, screen: Screen) -> Iterator[tuple[object, ...]]:
    for session, points in enumerate(fixations_of(sample).values(), 1):
        start = 0.0
        gaze = screen.gaze(points[:, :2], sample.space)
        for number, ((x, y), seconds) in enumerate(zip(gaze, points[:, 2]), 1):
            yield session, name, number, start + seconds, x, y, start, seconds, number, 1
            start += seconds


def _box_rows(sample: Sample, name: str) -> Iterator[tuple[object, ...]]:
    for annotation in sample.annotations:
        if annotation.finding in STRUCTURES and annotation.values.any():
            rows, columns = np.nonzero(annotation.values)
            corners = (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
            yield name, annotation.finding.replace("_", " "), *corners
