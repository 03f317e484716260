"""The folder of one reading: its fixations, its ellipses and its box round the chest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array
from heatproof_cohorts.contours import box
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
"""What was asked for in any of the three phases; the first asked for other things than the others."""
WORDS = "Other"
"""What readers wrote in words in every phase, empty where they had nothing to add."""

FIXATIONS, ELLIPSES, CHEST = "fixations.csv", "anomaly_location_ellipses.csv", "chest_bounding_box.csv"
TIMES = ("timestamp_start_fixation", "timestamp_end_fixation")
PLACES = ("y_position", "x_position")
DEGREES = ("angular_resolution_y_pixels_per_degree", "angular_resolution_x_pixels_per_degree")
SHOWN = ("ymin_shown_from_image", "ymax_shown_from_image", "xmin_shown_from_image", "xmax_shown_from_image")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Folder:
    """The files of one reading."""

    path: Path

    @property
    def files(self) -> list[Path]:
        """Those that are there."""
        return [path for name in (FIXATIONS, ELLIPSES, CHEST) if (path := self.path / name).is_file()]

    def fixations(self) -> Array:
        """Place, seconds, pixels per degree, and what was shown (n, 9); raises ``DataError`` where none can be read."""
        rows = read_rows(self.path / FIXATIONS, (*TIMES, *PLACES, *DEGREES, *SHOWN))
        values = np.array([[_number(row[name]) for name in (*PLACES, *TIMES, *DEGREES, *SHOWN)] for row in rows])
        values = values.reshape(len(rows), 10)
        return np.column_stack([values[:, :2], values[:, 3] - values[:, 2], values[:, 4:]])

    def reading(self, shape: tuple[int, ...]) -> Reading:
        """The fixations on an image (h, w), without those that are beside it or no numbers, and their frames."""
        values = self.fixations()
        values = values[usable(values) & on(values, shape)]
        shown = values[:, 5:].reshape(-1, 2, 2)
        return Reading(values[:, :3], dwelt(values[:, :2], values[:, 2], values[:, 3:5], shown, shape))

    def ellipses(self, least: int, shape: tuple[int, ...]) -> dict[str, Array]:
        """Label → mask (h, w) bool of the ellipses that are at least so certain; labels without any are not there."""
        masks: dict[str, Array] = {}
        for row in read_rows(self.path / ELLIPSES, (*CORNERS, "certainty"), LABELS):
            if _number(row["certainty"]) >= least:
                drawn = ellipse(_corners(row), shape)
                for label in LABELS:
                    if plain_name(row[label]) in ("true", "1"):
                        masks[label] = masks[label] | drawn if label in masks else drawn
        return masks

    def chest(self, shape: tuple[int, ...]) -> Array:
        """The share of each pixel (h, w) that the box round the chest covers."""
        rows = read_rows(self.path / CHEST, CORNERS)
        if len(rows) != 1:
            raise DataError(f"{self.path / CHEST} has {len(rows)} rows; one box is allowed.")
        left, top, right, bottom = _corners(rows[0])
        return box((top, bottom), (left, right), shape)


def usable(values: Array) -> Array:
    """Whether fixations (n, 9) are numbers and have a duration and a size."""
    return np.asarray(np.isfinite(values).all(axis=1) & (values[:, 2:5] > 0).all(axis=1))


def on(values: Array, shape: tuple[int, ...]) -> Array:
    """Whether fixations (n, 9) lie on an image (h, w)."""
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
    left, top, right, bottom = corners = tuple(_number(row[name]) for name in CORNERS)
    if not (left < right and top < bottom):
        raise DataError(f"{row.source}: {CORNERS} are {corners}, which is no box; correct them.")
    return corners


def _number(text: str) -> float:
    """A number, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
