"""Relevance of channels: which of a layer carry the evidence for a class, and which cases drive them most."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.records import Array
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.subject import Subject

from .cases import columns, drawn, remark, targets_of
from .drawing import COLOURS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIECE = 16
"""Cases per pass."""


class RelevantChannelsParams(Params):
    """``target``: a class, by default all. The ``top`` channels are drawn, each with the ``cases`` that drive it most.

    At most ``limit`` cases, drawn by the seed, are explained.
    """

    layer: str = "last"
    target: str | Annotated[int, Field(ge=0)] | None = None
    top: Annotated[int, Field(ge=1, le=1000)] = 10
    cases: Annotated[int, Field(ge=1, le=1000)] = 5
    limit: Annotated[int, Field(ge=1, le=100_000)] = 500


def relevance(subject: Subject, layer: str, rows: Array, target: int) -> tuple[Array, Array]:
    """Return the relevance of each channel (m, channel) for a class in some cases, and the scores (m,).

    Relevance is activation × gradient of the score, summed over the map. In a network whose part behind the layer is
    piecewise linear without biases, the channels sum to the score.
    """
    parts = []
    scores = []
    for start in range(0, len(rows), PIECE):
        piece = rows[start : start + PIECE].tolist()
        batch = subject.batch(piece, [target] * len(piece)).at(layers=[layer])
        values = gradients(batch).layers[layer]
        product = (values.activation.double() * values.gradient.double()).flatten(2).sum(2)
        parts.append(product.detach().cpu().numpy())
        scores.append(batch.score(batch.images).double().cpu().numpy())
    return np.concatenate(parts), np.concatenate(scores)


class RelevantChannels(Inspector[RelevantChannelsParams]):
    """Ranks the channels of a layer by the evidence for a class that they carry, and cases by that in a channel.

    Cases are ranked by the relevance that a channel has in them, not by its activation (relevance maximization of
    Achtibat et al. 2023); relevance is activation × gradient.
    """

    def layers(self, model: Model) -> tuple[str, ...]:
        """Return none, as gradients need own passes; raises ``ModelError`` for a layer the score does not depend on."""
        model.require_explaining([model.layer(self.params.layer)])
        return ()

    def inspect(self, subject: Subject) -> Inspection:
        """Return the channels of each class, and the cases that drive them; raises ``ModelError``."""
        model = subject.model
        layer = model.layer(self.params.layer)
        self.layers(model)
        targets = targets_of(model, self.params.target)
        rows = drawn(subject, self.params.limit)
        channels: list[dict[str, Any]] = []
        drivers: list[dict[str, Any]] = []
        sentences = list(remark(subject, rows))
        for target, name in targets.items():
            values, scores = relevance(subject, layer, rows, target)
            if not np.isfinite(values).all():
                raise ModelError(f"the relevance at layer {layer!r} is not finite; check the weights of the network.")
            ranked = _ranked(name, values)
            channels += ranked
            drivers += self._drivers(subject, rows, name, values, [row["channel"] for row in ranked[: self.params.top]])
            sentences.append(_sentence(name, layer, ranked, values, scores))
        figure = _figure([row for row in channels if row["rank"] <= self.params.top], layer)
        return Inspection(tuple(sentences), {"channels": channels, "drivers": drivers}, {"channels": figure})

    def _drivers(
        self, subject: Subject, rows: Array, name: str, values: Array, channels: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Rows for the cases with the largest relevance of each channel, which must be positive."""
        result = []
        for channel in channels:
            order = np.argsort(-values[:, channel], kind="stable")[: self.params.cases]
            for rank, index in enumerate(order):
                if values[index, channel] > 0:
                    case = columns(subject.cases[rows[index]])
                    relevance = float(values[index, channel])
                    result.append(
                        {"class": name, "channel": channel, "rank": rank + 1, "relevance": relevance, **case}
                    )  # fmt: skip
        return result


def _ranked(name: str, values: Array) -> list[dict[str, Any]]:
    """Rows of channels, the largest mean relevance first."""
    means = values.mean(axis=0)
    order = np.argsort(-means, kind="stable")
    return [
        {
            "class": name, "rank": rank + 1, "channel": int(channel), "relevance": float(means[channel]),
            "positive_share": float((values[:, channel] > 0).mean()),
        }
        for rank, channel in enumerate(order)
    ]  # fmt: skip


def _sentence(name: str, layer: str, ranked: Sequence[Mapping[str, Any]], values: Array, scores: Array) -> str:
    evidence = sum(max(0.0, row["relevance"]) for row in ranked)
    first = ranked[0]
    if evidence == 0:
        return f"No channel of layer {layer} carries evidence for {name} on average."
    half = int(np.searchsorted(np.cumsum([row["relevance"] for row in ranked]), evidence / 2)) + 1
    total = values.sum(axis=1).mean()
    return (
        f"For {name}, channel {first['channel']} of layer {layer} carries {first['relevance'] / evidence:.1%} of the "
        f"evidence and {half} of {len(ranked)} channels half of it; all relevance sums to {total:.4g} on average, "
        f"and the score is {scores.mean():.4g}."
    )


def _figure(channels: Sequence[Mapping[str, Any]], layer: str) -> "Figure":
    figure = new_figure(7, 1.2 + 0.2 * len(channels))
    axes = figure.add_subplot()
    names = list(dict.fromkeys(row["class"] for row in channels))
    positions = range(len(channels))
    colours = [COLOURS[names.index(row["class"]) % len(COLOURS)] for row in channels]
    axes.barh(positions, [row["relevance"] for row in channels], color=colours)
    axes.set_yticks(positions, [f"{row['class']}: {row['channel']}" for row in channels], fontsize=8)
    axes.invert_yaxis()
    plain(axes)
    axes.set_xlabel("mean relevance")
    axes.set_title(f"Channels of layer {layer} with the most evidence, by class", fontsize=10)
    return figure
