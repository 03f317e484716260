"""Network dissection: which units of a layer detect a finding (Bau et al. 2017; DeepMiner, Wu et al. 2018)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError, near
from heatproof.model import Model
from heatproof.records import Array
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.subject import Subject

from .drawing import COLOURS, MUTED, new_figure, plain
from .units import overlaps, pixels, thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEMORY = 2**29
"""Bytes for the largest values of channels; where they do not fit, channels are taken in groups, one pass for each."""
SHOWN = 20
"""Units in the figure."""


class DissectionParams(Params):
    """``findings`` of the dataset, by default all. ``quantile``: the share of all pixels that a unit covers.

    A unit detects a finding if its intersection over union exceeds ``threshold``.
    """

    layer: str = "last"
    findings: tuple[str, ...] | None = None
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.005
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.04


class Dissection(Inspector[DissectionParams]):
    """Compares where units are most active with masks of findings.

    A unit covers the pixels above its threshold, which a share ``quantile`` of the pixels of all cases exceeds, after
    bilinear upsampling to the image. Intersection over union is that of all cases together in which the finding was
    examined; masks count where more than half of a pixel is covered.
    """

    def layers(self, model: Model) -> tuple[str, ...]:
        """Return none, as maps are taken by own passes; raises ``ModelError`` for a layer that does not exist."""
        model.layer(self.params.layer)
        return ()

    def inspect(self, subject: Subject) -> Inspection:
        """Return the units with their findings; raises ``DataError`` without masks, and for maps of one value."""
        layer = subject.model.layer(self.params.layer)
        findings = self._findings(subject)
        space = subject.sample(0).space
        limits = self._limits(subject, layer, space)

        def masks(row: int) -> Array:
            sample = subject.sample(row)
            values = [sample.mask(finding) for finding in findings]
            return np.stack([np.full(space, np.nan) if mask is None else mask > 0.5 for mask in values])

        shares = overlaps(subject.maps(layer), limits, masks, len(findings), space)
        units = self._units(shares, limits, findings)
        sentences = self._sentences(units, layer, findings, len(subject.cases))
        figure = _figure(units[:SHOWN], self.params.threshold, layer)
        return Inspection(sentences, {"units": units, "overlaps": _table(shares, findings)}, {"units": figure})

    def _findings(self, subject: Subject) -> tuple[str, ...]:
        examined: dict[str, None] = {}
        for row in range(len(subject.cases)):
            examined |= dict.fromkeys(subject.sample(row).findings())
        if not examined:
            raise DataError("no case has an annotation of a finding; dissection needs a dataset with masks.")
        for finding in self.params.findings or ():
            if finding not in examined:
                raise DataError(f"no case was examined for the finding {finding!r}; {near(finding, examined)}")
        return self.params.findings or tuple(sorted(examined))

    def _limits(self, subject: Subject, layer: str, space: tuple[int, ...]) -> Array:
        """The threshold of each channel (channel,)."""
        _, first = next(iter(subject.maps(layer)))
        self._require_grid(first, layer, space)
        channels = first.shape[1]
        total = len(subject.cases) * prod(space)
        group = max(1, MEMORY // int(8 * (self.params.quantile * total + prod(space) + 2)))
        parts = []
        for start in range(0, channels, group):
            values = pixels(subject.maps(layer), slice(start, start + group), space)
            parts.append(thresholds(values, total, self.params.quantile))
        limits = np.concatenate(parts)
        if not np.isfinite(limits).all():
            raise DataError(f"the maps of layer {layer!r} are not finite; check the weights of the network.")
        return limits

    def _require_grid(self, maps: Array, layer: str, space: tuple[int, ...]) -> None:
        grid = maps.shape[2:]
        if len(grid) != len(space) or prod(grid) == 1:
            raise DataError(
                f"the maps of layer {layer!r} have the grid {grid}, which shows no region of an image of {space}; name "
                "a layer with larger maps."
            )

    def _units(self, shares: Array, limits: Array, findings: Sequence[str]) -> list[dict[str, Any]]:
        """Rows by channel, the largest overlap first."""
        filled = np.nan_to_num(shares, nan=0.0)
        best = filled.argmax(axis=1)
        top = filled[np.arange(len(filled)), best]
        order = np.lexsort((np.arange(len(top)), -top))
        return [
            {
                "channel": int(channel), "finding": findings[best[channel]], "overlap": float(top[channel]),
                "detector": bool(top[channel] > self.params.threshold), "threshold": float(limits[channel]),
            }
            for channel in order
        ]  # fmt: skip

    def _sentences(
        self, units: Sequence[Mapping[str, Any]], layer: str, findings: Sequence[str], count: int
    ) -> tuple[str, ...]:
        detectors = [unit for unit in units if unit["detector"]]
        first = units[0]
        counts = {name: sum(unit["finding"] == name for unit in detectors) for name in findings}
        listed = ", ".join(f"{name} {number}" for name, number in counts.items())
        return (
            f"{len(detectors)} of {len(units)} units of layer {layer} detect a finding: their intersection over union "
            f"with its masks exceeds {self.params.threshold:g} over {count} cases ({listed}).",
            f"The largest is {first['overlap']:.3f}, of unit {first['channel']} with {first['finding']}.",
        )


def _table(shares: Array, findings: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"channel": channel, "finding": finding, "overlap": float(shares[channel, column])}
        for channel in range(len(shares))
        for column, finding in enumerate(findings)
    ]


def _figure(units: Sequence[Mapping[str, Any]], threshold: float, layer: str) -> "Figure":
    figure = new_figure(7, 1.2 + 0.22 * len(units))
    axes = figure.add_subplot()
    positions = range(len(units))
    axes.barh(positions, [unit["overlap"] for unit in units], color=COLOURS[0])
    axes.set_yticks(positions, [f"{unit['channel']}: {unit['finding']}" for unit in units], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(threshold, color=MUTED, linestyle=(0, (5, 3)), linewidth=1.2)
    plain(axes)
    axes.set_xlabel("intersection over union; dashed: the threshold of a detector")
    axes.set_title(f"Units of layer {layer} and their findings", fontsize=10)
    return figure
