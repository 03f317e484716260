"""A box cut out of a scan, with everything that was marked inside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from heatproof.errors import DataError
from heatproof.imaging.images import read_image
from heatproof.imaging.transforms import windowed
from heatproof.records import Annotation, Array, Geometry
from heatproof_dicom_files.series import Series
from heatproof_dicom_files.units import CT_OFFSET

from .markup import Mark
from .scan import Scan


@dataclass(frozen=True)
class Cut:
    """The voxels from ``start`` on, ``lengths`` along slices, rows and columns; ``flat`` is one slice with two axes.

    It may leave the scan: there it shows air and has no field.
    """

    scan: Scan
    series: Series
    start: tuple[int, int, int]
    lengths: tuple[int, int, int]
    flat: bool = False

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The slice of each UID."""
        return {part.uid: index for index, part in enumerate(self.series.slices)}

    @cached_property
    def field(self) -> Array:
        """Where the cut lies in the scan (*space) bool."""
        places = [np.arange(first, first + length) for first, length in zip(self.start, self.lengths)]
        deep, high, wide = ((at >= 0) & (at < native) for at, native in zip(places, self.series.shape))
        return self._spatial(deep[:, None, None] & high[:, None] & wide)

    @property
    def geometry(self) -> Geometry:
        """The cut's own grid, with the scan's spacing and orientation."""
        axes = self.field.ndim
        spacing, orientation = self.series.spacing[-axes:], self.series.orientation[-axes:]
        return Geometry(np.eye(axes + 1), self.field.shape, str(self.scan.folder), spacing, orientation)

    def image(self, window: tuple[float, float]) -> Array:
        """The voxels (1, *space) uint16: the window's ends in Hounsfield units are 0 and 65535."""
        low, high = (end + CT_OFFSET for end in window)
        values = np.zeros(self.lengths, dtype=np.uint16)
        stops = [
            min(first + length, native) for first, length, native in zip(self.start, self.lengths, self.series.shape)
        ]
        rows, columns = (slice(max(first, 0), stop) for first, stop in zip(self.start[1:], stops[1:]))
        for index in range(max(self.start[0], 0), stops[0]):
            pixels, _ = read_image(self.series.slices[index].path)
            part = windowed(pixels[0, rows, columns], low, high)
            top, left = rows.start - self.start[1], columns.start - self.start[2]
            values[index - self.start[0], top : top + part.shape[0], left : left + part.shape[1]] = part
        return self._spatial(values)[None]

    def annotations(self) -> tuple[Annotation, ...]:
        """The nodules of every reader of the scan, all zero where he marked none."""
        masks = {reader: np.zeros(self.lengths, dtype=bool) for reader in self.scan.markup.readers}
        for mark in self.scan.markup.marks:
            masks[mark.reader][tuple(self._inside(mark).T)] = True
        source = str(self.scan.markup.path)
        return tuple(
            Annotation("nodule", self._spatial(mask), "mask", reader, source) for reader, mask in masks.items()
        )

    def ratings(self) -> tuple[Mapping[str, Any], ...]:
        """Every mark in the cut: number of its nodule in the scan, reader, box ((start, stop) by axis), and ratings."""
        found = []
        for number, nodule in enumerate(self.scan.nodules, 1):
            for mark in nodule:
                voxels = self._inside(mark)[:, self.flat :]
                if len(voxels):
                    box = tuple(zip(voxels.min(axis=0).tolist(), (voxels.max(axis=0) + 1).tolist()))
                    found.append({"nodule": number, "reader": mark.reader, "box": box, **mark.ratings})
        return tuple(found)

    def small(self) -> tuple[Mapping[str, Any], ...]:
        """The points that mark nodules below 3 mm in the cut: reader and voxel."""
        found = []
        for mark in self.scan.markup.small:
            (outline,) = mark.outlines
            place = np.array([self.order[outline.uid], *outline.points[0].tolist()]) - self.start
            if ((place >= 0) & (place < self.lengths)).all():
                found.append({"reader": mark.reader, "place": tuple(place[self.flat :].tolist())})
        return tuple(found)

    def _inside(self, mark: Mark) -> Array:
        """The voxels (n, 3) of a mark that lie in the cut, counted from its start."""
        places = voxels(mark, self.order) - self.start
        return np.asarray(places[((places >= 0) & (places < self.lengths)).all(axis=1)])

    def _spatial(self, values: Array) -> Array:
        return np.asarray(values[0] if self.flat else values)


def voxels(mark: Mark, order: Mapping[str, int]) -> Array:
    """The voxels (n, 3) of a mark: slice, row and column."""
    parts = [np.insert(pixels, 0, order[uid], axis=1) for uid, pixels in mark.pixels.items()]
    return np.concatenate([np.empty((0, 3), dtype=int), *parts])


def whole(scan: Scan, series: Series) -> Cut:
    """All of a scan."""
    return Cut(scan, series, (0, 0, 0), series.shape)


def around(scan: Scan, series: Series, nodule: Iterable[Mark], lengths: tuple[int, int, int], flat: bool) -> Cut:
    """The box about the centre of a nodule, each voxel counting as often as it was marked.

    ``flat`` takes the one slice on which the readers together marked most, the lowest of equals.
    """
    order = {part.uid: index for index, part in enumerate(series.slices)}
    marked = np.concatenate([voxels(mark, order) for mark in nodule])
    middle = marked.mean(axis=0) + 0.5
    start = [round(float(place - length / 2)) for place, length in zip(middle, lengths)]
    if flat:
        start[0], lengths = int(np.bincount(marked[:, 0]).argmax()), (1, *lengths[1:])
    return Cut(scan, series, (start[0], start[1], start[2]), lengths, flat)


def require_fitting(scan: Scan, series: Series) -> None:
    """Raise ``DataError`` unless the XML is of this series, and its marks lie on slices that are there."""
    markup = scan.markup
    if markup.series != series.uid:
        raise DataError(f"{markup.path} is of series {markup.series}, its slices of {series.uid}; restore the folder.")
    here = {part.uid for part in series.slices}
    for mark in (*markup.marks, *markup.small):
        absent = [outline.uid for outline in mark.outlines if outline.uid not in here]
        if absent:
            raise DataError(
                f"{markup.path}: {mark.name} of {mark.reader} refers to slice {absent[0]}, which is not in its folder; "
                "complete the series."
            )
        if (mark.extent[1] >= series.shape[1:]).any():
            raise DataError(
                f"{markup.path}: {mark.name} of {mark.reader} reaches row and column {tuple(mark.extent[1].tolist())}, "
                f"slices have {series.shape[1:]}; replace the XML by the published one."
            )
