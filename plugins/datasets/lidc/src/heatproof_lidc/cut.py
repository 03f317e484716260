"""Boxes cut out of a scan: their image, annotations, ratings and geometry."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from heatproof.errors import DataError
from heatproof.imaging.images import read_image
from heatproof.imaging.window import windowed
from heatproof.records import Annotation, Array, Geometry
from heatproof_dicom_files.series import Series
from heatproof_dicom_files.units import CT_OFFSET

from .markup import Reading
from .scan import Scan


@dataclass(frozen=True)
class Cut:
    """The box of a scan that begins at voxel ``start`` and has ``lengths`` along slices, rows and columns.

    ``flat`` boxes are one slice and lose the first axis. Where a box leaves the scan, its image is air and its field
    of view False.
    """

    scan: Scan
    series: Series
    start: tuple[int, int, int]
    lengths: tuple[int, int, int]
    flat: bool = False

    @cached_property
    def order(self) -> Mapping[str, int]:
        """UID of each slice → its index."""
        return {part.uid: index for index, part in enumerate(self.series.slices)}

    @cached_property
    def field(self) -> Array:
        """The voxels of the box that lie in the scan, (*space) bool."""
        axes = [np.arange(first, first + length) for first, length in zip(self.start, self.lengths)]
        slices, rows, columns = (
            (indices >= 0) & (indices < length) for indices, length in zip(axes, self.series.shape)
        )
        return self._spatial(slices[:, None, None] & rows[:, None] & columns)

    @property
    def geometry(self) -> Geometry:
        """The grid of the box, with the spacing and the orientation of the scan."""
        axes = self.field.ndim
        spacing = self.series.spacing[-axes:]
        orientation = self.series.orientation[-axes:]
        return Geometry(np.eye(axes + 1), self.field.shape, str(self.scan.folder), spacing, orientation)

    def image(self, window: tuple[float, float]) -> Array:
        """The voxels (1, *space) uint16; ``window``, in Hounsfield units, becomes 0 to 65535."""
        low, high = (end + CT_OFFSET for end in window)
        values = np.zeros(self.lengths, dtype=np.uint16)
        stops = [
            min(first + length, native) for first, length, native in zip(self.start, self.lengths, self.series.shape)
        ]
        rows, columns = (slice(max(first, 0), stop) for first, stop in zip(self.start[1:], stops[1:]))
        for index in range(max(self.start[0], 0), stops[0]):
            pixels, _ = read_image(self.series.slices[index].path)
            part = windowed(pixels[0, rows, columns], low, high)
            top = rows.start - self.start[1]
            left = columns.start - self.start[2]
            values[index - self.start[0], top : top + part.shape[0], left : left + part.shape[1]] = part
        return self._spatial(values)[None]

    def annotations(self) -> tuple[Annotation, ...]:
        """The mask of each reader of the scan, all zero where the reader outlined no nodule."""
        masks = {reader: np.zeros(self.lengths, dtype=bool) for reader in self.scan.markup.readers}
        for reading in self.scan.markup.readings:
            masks[reading.reader][tuple(self._inside(reading).T)] = True
        source = str(self.scan.markup.path)
        return tuple(
            Annotation("nodule", self._spatial(mask), "mask", reader, source) for reader, mask in masks.items()
        )

    def ratings(self) -> tuple[Mapping[str, Any], ...]:
        """The readings in the box: number of the nodule in the scan, reader, box ((start, stop) by axis), ratings."""
        ratings = []
        for number, nodule in enumerate(self.scan.nodules, 1):
            for reading in nodule:
                voxels = self._inside(reading)[:, self.flat :]
                if len(voxels):
                    box = tuple(zip(voxels.min(axis=0).tolist(), (voxels.max(axis=0) + 1).tolist()))
                    ratings.append({"nodule": number, "reader": reading.reader, "box": box, **reading.ratings})
        return tuple(ratings)

    def small(self) -> tuple[Mapping[str, Any], ...]:
        """The points at nodules below 3 mm in the box: ``reader`` and voxel, ``place``."""
        points = []
        for reading in self.scan.markup.small:
            (outline,) = reading.outlines
            voxel = np.array([self.order[outline.uid], *outline.points[0].tolist()]) - self.start
            if ((voxel >= 0) & (voxel < self.lengths)).all():
                points.append({"reader": reading.reader, "place": tuple(voxel[self.flat :].tolist())})
        return tuple(points)

    def _inside(self, reading: Reading) -> Array:
        """The voxels (n, 3) of a reading that lie in the box, counted from its start."""
        offsets = voxels(reading, self.order) - self.start
        return np.asarray(offsets[((offsets >= 0) & (offsets < self.lengths)).all(axis=1)])

    def _spatial(self, values: Array) -> Array:
        if self.flat:
            return np.asarray(values[0])
        return values


def voxels(reading: Reading, order: Mapping[str, int]) -> Array:
    """Slice, row and column of the voxels (n, 3) of a reading."""
    parts = [np.insert(pixels, 0, order[uid], axis=1) for uid, pixels in reading.pixels.items()]
    return np.concatenate([np.empty((0, 3), dtype=int), *parts])


def whole(scan: Scan, series: Series) -> Cut:
    """The box that holds a whole scan."""
    return Cut(scan, series, (0, 0, 0), series.shape)


def around(scan: Scan, series: Series, nodule: Iterable[Reading], lengths: tuple[int, int, int], flat: bool) -> Cut:
    """The box around the centre of a nodule; each voxel counts as often as it was outlined.

    ``flat`` takes the slice with the most outlined voxels of all readers, the lowest of equals.
    """
    order = {part.uid: index for index, part in enumerate(series.slices)}
    outlined = np.concatenate([voxels(reading, order) for reading in nodule])
    middle = outlined.mean(axis=0) + 0.5
    start = [round(float(centre - length / 2)) for centre, length in zip(middle, lengths)]
    if flat:
        start[0] = int(np.bincount(outlined[:, 0]).argmax())
        lengths = (1, *lengths[1:])
    return Cut(scan, series, (start[0], start[1], start[2]), lengths, flat)


def require_fitting(scan: Scan, series: Series) -> None:
    """Raise ``DataError`` unless the XML is of this series, and all outlines lie on slices of it."""
    markup = scan.markup
    if markup.series != series.uid:
        raise DataError(
            f"{markup.path} is of series {markup.series}, its slices are of {series.uid}; restore the folder."
        )
    uids = {part.uid for part in series.slices}
    for reading in (*markup.readings, *markup.small):
        absent = [outline.uid for outline in reading.outlines if outline.uid not in uids]
        if absent:
            raise DataError(
                f"{markup.path}: {reading.name} of {reading.reader} refers to slice {absent[0]}, which is not in its "
                "folder; complete the series."
            )
        _, largest = reading.extent
        if (largest >= series.shape[1:]).any():
            raise DataError(
                f"{markup.path}: {reading.name} of {reading.reader} reaches row and column {tuple(largest.tolist())}, "
                f"slices have {series.shape[1:]}; replace the XML by the published one."
            )
