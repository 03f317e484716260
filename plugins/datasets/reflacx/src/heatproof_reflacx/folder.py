"""Reads the folder of one reading: its fixations, its ellipses and its box around the chest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heatproof.errors import DataError
from heatproof.imaging.outlines import box
from heatproof.records import Array
from heatproof_cohorts.tables import Row, plain_name, read_rows
from heatproof_eyetracking.gaze import dwelt
from heatproof_eyetracking.mimic import Reading

LABELS = (
    "Abnormal mediastinal contour", "Acute fracture", "Airway wall thickening", "Atelectasis", "Consolidation",
    "Emphysema", "Enlarged cardiac silhouette", "Enlarged hilum", "Fibrosis", "Fracture", "Groundglass opacity",
    "Hiatal hernia", "High lung volume / emphysema", "Interstitial lung disease", "Lung nodule or mass", "Mass",
    "Nodule", "Other", "Pleural abnormality", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary edema", "Quality issue", "Support devices", "Wide mediastinum",
)  # fmt: skip
"""The labels of all three phases; those of phase 1 differ from those of phases 2 and 3."""
WORDS = "Other"
"""The label that readers answered in words in every phase, empty where they had nothing to add."""

FIXATIONS = "fixations.csv"
ELLIPSES = "anomaly_location_ellipses.csv"
CHEST = "chest_bounding_box.csv"
TIMES = ("timestamp_start_fixation", "timestamp_end_fixation")
POSITIONS = ("y_position", "x_position")
DEGREES = ("angular_resolution_y_pixels_per_degree", "angular_resolution_x_pixels_per_degree")
SHOWN = ("ymin_shown_from_image", "ymax_shown_from_image", "xmin_shown_from_image", "xmax_shown_from_image")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Folder:
    """The files of one reading."""

    path: Path

    @property
    def files(self) -> list[Path]:
        """The files that exist."""
        paths = [self.path / name for name in (FIXATIONS, ELLIPSES, CHEST)]
        return [path for path in paths if path.is_file()]

    def fixations(self) -> Array:
        """Position, seconds, pixels per degree, and shown part of the image, (n, 9).

        Raises ``DataError`` where the file is missing or cannot be read.
        """
        rows = read_rows(self.path / FIXATIONS, (*TIMES, *POSITIONS, *DEGREES, *SHOWN))
        columns = (*POSITIONS, *TIMES, *DEGREES, *SHOWN)
        values = np.array([[_number(row[name]) for name in columns] for row in rows]).reshape(len(rows), 10)
        return np.column_stack([values[:, :2], values[:, 3] - values[:, 2], values[:, 4:]])

    def reading(self, shape: tuple[int, ...]) -> Reading:
        """The usable fixations on an image (h, w), and their frames."""
        values = self.fixations()
        values = values[usable(values) & on(values, shape)]
        shown = values[:, 5:].reshape(-1, 2, 2)
        return Reading(values[:, :3], dwelt(values[:, :2], values[:, 2], values[:, 3:5], shown, shape))

    def ellipses(self, least: int, shape: tuple[int, ...]) -> dict[str, Array]:
        """Mask (h, w) bool, by label, of the ellipses whose certainty is at least ``least``."""
        masks: dict[str, Array] = {}
        for row in read_rows(self.path / ELLIPSES, (*CORNERS, "certainty"), LABELS):
            if _number(row["certainty"]) >= least:
                mask = ellipse(_corners(row), shape)
                for label in LABELS:
                    if plain_name(row[label]) in ("true", "1"):
                        masks[label] = masks.get(label, False) | mask
        return masks

    def chest(self, shape: tuple[int, ...]) -> Array:
        """The share of each pixel (h, w) that the box around the chest covers."""
        rows = read_rows(self.path / CHEST, CORNERS)
        if len(rows) != 1:
            raise DataError(f"{self.path / CHEST} must have one row with a box (got {len(rows)}).")
        left, top, right, bottom = _corners(rows[0])
        return box((top, bottom), (left, right), shape)


def usable(values: Array) -> Array:
    """Whether fixations (n, 9) are finite and have a positive duration and resolution, (n,) bool."""
    return np.asarray(np.isfinite(values).all(axis=1) & (values[:, 2:5] > 0).all(axis=1))


def on(values: Array, shape: tuple[int, ...]) -> Array:
    """Whether fixations (n, 9) lie on an image (h, w), (n,) bool."""
    return np.asarray(((values[:, :2] >= 0) & (values[:, :2] < shape)).all(axis=1))


def ellipse(corners: Sequence[float], shape: tuple[int, ...]) -> Array:
    """The pixels (h, w) whose centres lie in the upright ellipse that fills a box (left, top, right, bottom).

    >>> ellipse((0, 0, 3, 2), (2, 4)).astype(int).tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0]]
    """
    left, top, right, bottom = corners
    rows, columns = (
        (np.arange(length) + 0.5 - (low + high) / 2) * 2 / (high - low)
        for length, low, high in zip(shape, (top, left), (bottom, right))
    )
    return np.asarray(rows[:, None] ** 2 <= 1 - columns**2)


def _corners(row: Row) -> tuple[float, ...]:
    corners = tuple(_number(row[name]) for name in CORNERS)
    left, top, right, bottom = corners
    if not (left < right and top < bottom):
        raise DataError(f"{row.source}: {', '.join(CORNERS)} are {corners}, which is not a box; correct them.")
    return corners


def _number(text: str) -> float:
    """Parse a number; NaN where the text is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
