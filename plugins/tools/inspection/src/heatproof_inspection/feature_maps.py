"""The maps of a layer: those of one case to be looked at, and the channels that are zero in all cases."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.model import Model
from heatproof.records import Array
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.subject import Subject

from .cases import row_of
from .drawing import mosaic_figure, scaled

LISTED = 20
"""The most channels that a sentence names; the table has all."""


class FeatureMapsParams(Params):
    """``layer`` as ``Model.layer`` takes it; ``case``: id or index of the case whose maps are shown."""

    layer: str = "last"
    case: Annotated[int, Field(ge=0)] | str = 0


@dataclass(frozen=True)
class Activity:
    """Of each channel, in how many of ``cases`` its map is zero (channel,), and the largest absolute value (channel,).

    ``shown`` (channel, *grid) are the maps of one case.
    """

    cases: int
    zeros: Array
    largest: Array
    shown: Array

    @property
    def dead(self) -> list[int]:
        """The channels whose map is zero in all cases."""
        return np.flatnonzero(self.zeros == self.cases).tolist()


def activity(pieces: Iterable[tuple[slice, Array]], row: int, layer: str) -> Activity:
    """Return the activity in pieces of maps (m, channel, *grid), and the maps of the case ``row``.

    Raises ``DataError`` for maps that are not finite.
    """
    cases = 0
    zeros: Array = np.zeros(1, int)
    largest: Array = np.zeros(1)
    shown: Array = np.zeros(0)
    for piece, maps in pieces:
        peaks = np.abs(maps.reshape(*maps.shape[:2], -1)).max(axis=2)
        if not np.isfinite(peaks).all():
            raise DataError(f"the maps of layer {layer!r} are not finite; check the weights of the network.")
        zeros = zeros + (peaks == 0).sum(axis=0)
        largest = np.maximum(largest, peaks.max(axis=0))
        cases += len(maps)
        if piece.start <= row < piece.stop:
            shown = maps[row - piece.start]
    return Activity(cases, zeros, largest, shown)


class FeatureMaps(Inspector[FeatureMapsParams]):
    """Shows all maps of a layer for one case, and reports dead channels: those that are zero in all cases."""

    def inspect(self, subject: Subject) -> Inspection:
        """Return the maps as a figure, and a table of the channels; raises ``DataError`` and ``ModelError``."""
        layer = subject.model.layer(self.params.layer)
        row = row_of(subject, self.params.case)
        result = activity(subject.maps(layer), row, layer)
        table = _table(result)
        tiles = [scaled(tile) for tile in planes(result.shown)]
        id = subject.cases[row].id
        figure = mosaic_figure(tiles, f"{len(tiles)} maps of layer {layer} for {id}, each scaled by itself")
        return Inspection(
            (*_sentences(result, layer), *_grid_remark(result.shown)), {"maps": table}, {"maps": figure}
        )  # fmt: skip

    def layers(self, model: Model) -> tuple[str, ...]:
        """Return none, as maps are taken by an own pass; raises ``ModelError`` for a layer that does not exist."""
        model.layer(self.params.layer)
        return ()


def planes(maps: Array) -> Array:
    """Return maps (channel, *grid) as images (channel, h, w): of volumes the middle plane, of values one pixel.

    >>> planes(np.zeros((4, 3, 5, 6))).shape, planes(np.zeros((4, 7))).shape, planes(np.zeros(4)).shape
    ((4, 5, 6), (4, 1, 7), (4, 1, 1))
    """
    while maps.ndim > 3:
        maps = maps[:, maps.shape[1] // 2]
    return maps.reshape(len(maps), *(1,) * (3 - maps.ndim), *maps.shape[1:])


def _sentences(result: Activity, layer: str) -> tuple[str, ...]:
    channels = len(result.zeros)
    share = float(result.zeros.mean() / result.cases)
    total = f"{share:.1%} of all maps of layer {layer} ({channels} channels, {result.cases} cases) are zero everywhere."
    if not result.dead:
        return (f"No channel of layer {layer} is zero in all {result.cases} cases.", total)
    names = ", ".join(map(str, result.dead[:LISTED]))
    more = ""
    if len(result.dead) > LISTED:
        more = f" and {len(result.dead) - LISTED} more"
    text = f"{len(result.dead)} of {channels} channels of layer {layer} are zero in all {result.cases} cases"
    return (f"{text}: {names}{more}.", total)


def _grid_remark(shown: Array) -> tuple[str, ...]:
    grid = shown.shape[1:]
    if int(np.prod(grid)) == 1:
        return ("A map of this layer is a single value.",)
    if len(grid) > 2:
        return ("Of each map the middle plane is shown.",)
    return ()


def _table(result: Activity) -> list[dict[str, Any]]:
    shown = result.shown.reshape(len(result.shown), -1)
    return [
        {
            "channel": channel, "zero_share": float(zeros / result.cases), "dead": bool(zeros == result.cases),
            "largest": float(largest), "case_minimum": float(values.min()), "case_mean": float(values.mean()),
            "case_maximum": float(values.max()),
        }
        for channel, (zeros, largest, values) in enumerate(zip(result.zeros, result.largest, shown))
    ]  # fmt: skip
