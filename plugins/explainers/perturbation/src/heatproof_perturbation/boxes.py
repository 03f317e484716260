"""Boxes in the maps of a network: what a window of the image reaches, and copies of what lies in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heatproof.errors import ModelError

from .receptive_field import ReceptiveField


@dataclass(frozen=True)
class Spans:
    """Half-open intervals along one axis of a map, one per window, and how long the axis is."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    length: int

    @classmethod
    def sliding(cls, length: int, size: int, stride: int) -> "Spans":
        """Windows at every multiple of the stride up to one that reaches the border, by which it may be cut off."""
        last = -(-(length - size) // stride) * stride
        low = tuple(range(0, min(last + 1, length), stride))
        return cls(low, tuple(min(start + size, length) for start in low), length)

    def through(self, reach: ReceptiveField) -> "Spans":
        """The outputs that read from these intervals; one that happens to be read by none stands for its neighbour."""
        length = (self.length + reach.before + reach.after - reach.width) // reach.stride + 1
        first = (-((reach.width - 1 - reach.before - low) // reach.stride) for low in self.low)
        low = tuple(min(max(start, 0), length - 1) for start in first)
        last = ((high - 1 + reach.before) // reach.stride for high in self.high)
        return Spans(low, tuple(min(max(end, start) + 1, length) for start, end in zip(low, last)), length)

    @staticmethod
    def union(spans: Sequence["Spans"]) -> "Spans":
        """The shortest intervals that hold those of all, window by window."""
        low, high = (tuple(zip(*(getattr(one, bound) for one in spans))) for bound in ("low", "high"))
        return Spans(tuple(map(min, low)), tuple(map(max, high)), spans[0].length)


@dataclass(frozen=True)
class Windows:
    """A grid of windows: along each axis of the image, where they begin and end."""

    spans: tuple[Spans, ...]

    @classmethod
    def sliding(cls, space: Sequence[int], size: int, stride: int) -> "Windows":
        """Windows of one size at every multiple of the stride; those at the far borders are cut off by them.

        With a stride up to the size they cover the image. Raises ``ModelError`` where the window is larger than it.
        """
        if size > min(space):
            raise ModelError(
                f"a window of {size} pixels is larger than the image, which has {' x '.join(map(str, space))}; make it "
                f"{min(space)} or less."
            )
        return cls(tuple(Spans.sliding(length, size, stride) for length in space))

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are along each axis."""
        return tuple(len(span.low) for span in self.spans)


@dataclass(frozen=True)
class Box:
    """Boxes of one size in a map: along each axis one start for all, or one for each."""

    starts: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    @classmethod
    def around(cls, spans: Sequence[Spans], where: Sequence[slice]) -> "Box":
        """The boxes that hold the windows at these places of the grid; at a border they reach further inwards."""
        parts = [Spans(span.low[part], span.high[part], span.length) for span, part in zip(spans, where)]
        sizes = [max(high - low for low, high in zip(part.low, part.high)) for part in parts]
        starts = (tuple(min(low, part.length - size) for low in part.low) for part, size in zip(parts, sizes))
        return cls(tuple(starts), tuple(sizes))

    @classmethod
    def whole(cls, lengths: Sequence[int]) -> "Box":
        """All of a map."""
        return cls(((0,),) * len(lengths), tuple(lengths))

    def read(self, fields: Sequence[ReceptiveField]) -> "Box":
        """What is read, padding included, to compute these boxes."""
        starts = (
            tuple(start * reach.stride - reach.before for start in axis) for axis, reach in zip(self.starts, fields)
        )
        sizes = ((size - 1) * reach.stride + reach.width for size, reach in zip(self.sizes, fields))
        return Box(tuple(starts), tuple(sizes))

    def part(self, piece: slice) -> "Box":
        """Some of the boxes."""
        return replace(self, starts=(*self.starts[:-1], self.starts[-1][piece]))

    def inside(self, spans: Sequence[Spans], where: Sequence[slice], device: torch.device) -> Tensor:
        """Which pixels (box, *sizes) lie in the intervals at these places of the grid."""
        inside = torch.ones((), dtype=torch.bool, device=device)
        for axis, (span, part) in enumerate(zip(spans, where)):
            places = self.places(axis, device)
            low, high = (self._column(bound[part], device) for bound in (span.low, span.high))
            inside = inside & (places >= low) & (places < high)
        return inside

    def numbers(self, held: "Box", device: torch.device) -> tuple[Tensor, Tensor]:
        """For each pixel (box, *sizes) its number among those of the boxes ``held``, and whether it is one of them."""
        index = self._column(range(max(map(len, held.starts))), device)
        inside = torch.ones((), dtype=torch.bool, device=device)
        for axis, size in enumerate(held.sizes):
            offset = self.places(axis, device) - self._column(held.starts[axis], device)
            inside = inside & (offset >= 0) & (offset < size)
            index = index * size + offset
        return index, inside

    def places(self, axis: int, device: torch.device) -> Tensor:
        """The places of the pixels along one axis, which broadcast to (box, *sizes)."""
        shape = [1] * len(self.sizes)
        shape[axis] = self.sizes[axis]
        steps = torch.arange(self.sizes[axis], dtype=torch.int32, device=device)
        return self._column(self.starts[axis], device) + steps.reshape(shape)

    def _column(self, numbers: Sequence[int], device: torch.device) -> Tensor:
        column = torch.tensor(numbers, dtype=torch.int32, device=device)
        return column.reshape(-1, *(1,) * len(self.sizes))


def cut(values: Tensor, wanted: Box) -> Tensor:
    """Copies (box, c, *sizes) of boxes that lie in one map (1, c, *lengths)."""
    return merged(values, values[:0], Box.whole((0,) * len(wanted.sizes)), wanted)


def merged(values: Tensor, boxes: Tensor, held: Box, wanted: Box, fill: float = 0.0) -> Tensor:
    """Copies (box, c, *sizes) of boxes in one map (1, c, *lengths) where each box ``held`` has values of its own.

    Outside of the map there is ``fill``. One gather from a table of pixels: a strip of the map, padding, the boxes.
    """
    first = max(min(wanted.starts[0]), 0)
    strip = values[:, :, first : max(wanted.starts[0]) + wanted.sizes[0]]
    lengths = tuple(strip.shape[2:])
    around = Box(((first,), *((0,) for _ in lengths[1:])), lengths)
    index, inside = wanted.numbers(around, values.device)
    padding = math.prod(lengths)
    index = torch.where(inside, index, padding)
    own, inside = wanted.numbers(held, values.device)
    index = torch.where(inside, own + (padding + 1), index)
    table = torch.cat([_pixels(strip), values.new_full((1, values.shape[1]), fill), _pixels(boxes)])
    return table.index_select(0, index.flatten()).reshape(*index.shape, -1).movedim(-1, 1)


def _pixels(values: Tensor) -> Tensor:
    """Maps (n, c, *space) as a table (n * pixels, c), without copying where they are channels_last."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])
