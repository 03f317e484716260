"""Boxes in the maps of a network: what a window of the image reaches, and copies of the pixels in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heatproof.errors import ModelError

from .receptive_field import ReceptiveField

Sides = int | tuple[int, ...]
"""A number of pixels along all axes, or one per axis."""


def per_axis(sides: Sides, axes: int) -> tuple[int, ...]:
    """The number of pixels along each of so many axes."""
    return (sides,) * axes if isinstance(sides, int) else sides


@dataclass(frozen=True)
class Spans:
    """Half-open intervals along one axis of a map, one per window, and the length of the axis."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    length: int

    @classmethod
    def sliding(cls, length: int, size: int, stride: int) -> "Spans":
        """Windows at every multiple of the stride up to the first that reaches the border, which may cut it off."""
        last = -(-(length - size) // stride) * stride
        low = tuple(range(0, min(last + 1, length), stride))
        return cls(low, tuple(min(start + size, length) for start in low), length)

    def through(self, reach: ReceptiveField) -> "Spans":
        """The outputs that read from these intervals; where no output reads from one, the nearest output."""
        length = (self.length + reach.before + reach.after - reach.width) // reach.stride + 1
        first = (-((reach.width - 1 - reach.before - low) // reach.stride) for low in self.low)
        low = tuple(min(max(start, 0), length - 1) for start in first)
        last = ((high - 1 + reach.before) // reach.stride for high in self.high)
        return Spans(low, tuple(min(max(end, start) + 1, length) for start, end in zip(low, last)), length)

    @staticmethod
    def union(spans: Sequence["Spans"]) -> "Spans":
        """The shortest intervals that contain those of all ``spans``, window by window."""
        low = tuple(map(min, zip(*(span.low for span in spans))))
        high = tuple(map(max, zip(*(span.high for span in spans))))
        return Spans(low, high, spans[0].length)


@dataclass(frozen=True)
class Windows:
    """A grid of windows: where they begin and end along each axis of the image."""

    spans: tuple[Spans, ...]

    @classmethod
    def sliding(cls, space: Sequence[int], size: Sides, stride: Sides) -> "Windows":
        """Windows of one size at every multiple of the stride; the far borders of the image cut off the last ones.

        Size and stride are those of all axes, or one per axis. The windows cover the image if the stride is at most the
        size. Raises ``ModelError`` if a window is larger than the image, or has another number of axes.
        """
        sizes = per_axis(size, len(space))
        strides = per_axis(stride, len(space))
        if any(side > length for side, length in zip(sizes, space, strict=True)):
            sides = sizes if isinstance(size, tuple) else sizes[:1]
            raise ModelError(
                f"a window of {' x '.join(map(str, sides))} pixels is larger than the image, which has "
                f"{' x '.join(map(str, space))}; make it {min(space)} or less."
            )
        return cls(tuple(map(Spans.sliding, space, sizes, strides)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of windows along each axis."""
        return tuple(len(span.low) for span in self.spans)


@dataclass(frozen=True)
class Box:
    """Boxes of one size in a map: along each axis one start for all boxes, or one start per box."""

    starts: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    @classmethod
    def around(cls, spans: Sequence[Spans], grid_slice: Sequence[slice]) -> "Box":
        """The boxes around the windows in a slice of the grid; at a border they extend further inwards."""
        parts = [Spans(span.low[part], span.high[part], span.length) for span, part in zip(spans, grid_slice)]
        sizes = [max(high - low for low, high in zip(part.low, part.high)) for part in parts]
        starts = (tuple(min(low, part.length - size) for low in part.low) for part, size in zip(parts, sizes))
        return cls(tuple(starts), tuple(sizes))

    @classmethod
    def whole(cls, lengths: Sequence[int]) -> "Box":
        """One box that is the whole map."""
        return cls(((0,),) * len(lengths), tuple(lengths))

    def read(self, fields: Sequence[ReceptiveField]) -> "Box":
        """The boxes of the input, padding included, from which these boxes are computed."""
        starts = (
            tuple(start * reach.stride - reach.before for start in axis) for axis, reach in zip(self.starts, fields)
        )
        sizes = ((size - 1) * reach.stride + reach.width for size, reach in zip(self.sizes, fields))
        return Box(tuple(starts), tuple(sizes))

    def select(self, part: slice) -> "Box":
        """The boxes in a slice along the last axis of the grid."""
        return replace(self, starts=(*self.starts[:-1], self.starts[-1][part]))

    def inside(self, spans: Sequence[Spans], grid_slice: Sequence[slice], device: torch.device) -> Tensor:
        """Whether each pixel (box, *sizes) lies in the intervals of this slice of the grid."""
        inside = torch.ones((), dtype=torch.bool, device=device)
        for axis, (span, part) in enumerate(zip(spans, grid_slice)):
            positions = self.positions(axis, device)
            low = self._column(span.low[part], device)
            high = self._column(span.high[part], device)
            inside = inside & (positions >= low) & (positions < high)
        return inside

    def index_in(self, other: "Box", device: torch.device) -> tuple[Tensor, Tensor]:
        """The index of each pixel (box, *sizes) among those of the ``other`` boxes, and whether it lies in them."""
        index = self._column(range(max(map(len, other.starts))), device)
        inside = torch.ones((), dtype=torch.bool, device=device)
        for axis, size in enumerate(other.sizes):
            offset = self.positions(axis, device) - self._column(other.starts[axis], device)
            inside = inside & (offset >= 0) & (offset < size)
            index = index * size + offset
        return index, inside

    def positions(self, axis: int, device: torch.device) -> Tensor:
        """The positions of the pixels along one axis, which broadcast to (box, *sizes)."""
        shape = [1] * len(self.sizes)
        shape[axis] = self.sizes[axis]
        steps = torch.arange(self.sizes[axis], dtype=torch.int32, device=device)
        return self._column(self.starts[axis], device) + steps.reshape(shape)

    def _column(self, numbers: Sequence[int], device: torch.device) -> Tensor:
        column = torch.tensor(numbers, dtype=torch.int32, device=device)
        return column.reshape(-1, *(1,) * len(self.sizes))


def cut(values: Tensor, box: Box) -> Tensor:
    """Copies (box, c, *sizes) of boxes in one map (1, c, *lengths)."""
    return merged(values, values[:0], Box.whole((0,) * len(box.sizes)), box)


def merged(values: Tensor, changed_values: Tensor, changed: Box, box: Box, fill: float = 0.0) -> Tensor:
    """Copies (box, c, *sizes) of boxes in one map (1, c, *lengths), in which the ``changed`` boxes have other values.

    Outside of the map the copies have the value ``fill``. All pixels are gathered at once from a table that holds a
    strip of the map, one row of padding, and the changed boxes.
    """
    first = max(min(box.starts[0]), 0)
    strip = values[:, :, first : max(box.starts[0]) + box.sizes[0]]
    lengths = tuple(strip.shape[2:])
    strip_box = Box(((first,), *((0,) for _ in lengths[1:])), lengths)
    index, inside = box.index_in(strip_box, values.device)
    padding = math.prod(lengths)
    index = torch.where(inside, index, padding)
    changed_index, inside = box.index_in(changed, values.device)
    index = torch.where(inside, changed_index + (padding + 1), index)
    table = torch.cat([_pixels(strip), values.new_full((1, values.shape[1]), fill), _pixels(changed_values)])
    return table.index_select(0, index.flatten()).reshape(*index.shape, -1).movedim(-1, 1)


def _pixels(values: Tensor) -> Tensor:
    """Maps (n, c, *space) as a table (n * pixels, c), without a copy if they are channels_last."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])
