"""The filters of the first convolution, compared with the same weights in random order."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy.ndimage import convolve
from torch import nn

from heatproof.component import Params
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.records import Array
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.subject import Subject

from .drawing import mosaic_figure, scaled

BOX = np.ones((1, 1, 3, 3))


class FiltersParams(Params):
    """``draws``: how often the weights are put in random order."""

    draws: Annotated[int, Field(ge=2, le=10_000)] = 100


def roughness(weights: Array) -> Array:
    """Return the high-frequency energy of filters (filter,) from weights (filter, channel, h, w).

    It is the mean absolute difference of a weight and the mean of the 3 × 3 weights round it, as far as they are
    inside the filter.

    >>> float(roughness(np.array([[[[0.0, 4.0]]]]))[0]), float(roughness(np.ones((1, 1, 3, 3)))[0])
    (2.0, 0.0)
    """
    counts = convolve(np.ones_like(weights), BOX, mode="constant")
    means = convolve(weights, BOX, mode="constant") / counts
    return np.asarray(np.abs(weights - means).reshape(len(weights), -1).mean(axis=1))


def first_convolution(model: Model) -> tuple[str, nn.Conv2d]:
    """Return the name and the module of the first 2-D convolution.

    Raises ``ModelError`` where there is none, and for filters of a single weight.
    """
    modules = dict(model.network.named_modules())
    names = model.outline.convolutions or tuple(modules)
    for name in names:
        module = modules.get(name)
        if not isinstance(module, nn.Conv2d):
            continue
        if max(module.kernel_size) == 1:
            raise ModelError(
                f"the first convolution {name!r} of {model.short} has filters of 1 × 1, which have no shape to be seen."
            )
        return name, module
    raise ModelError(f"{model.short} has no 2-D convolution, so there are no filters to be seen.")


def shuffled(weights: Array, generator: np.random.Generator) -> Array:
    """Return a layer's weights (filter, channel, h, w) in random order, over all filters, channels and positions.

    So they have the sizes of the weights, however these were first drawn, and no shape.
    """
    return np.asarray(generator.permutation(weights.ravel()).reshape(weights.shape))


def weights_of(layer: nn.Conv2d) -> Array:
    """Return the weights of a layer as float64."""
    return layer.weight.detach().cpu().double().numpy()


class Filters(Inspector[FiltersParams]):
    """Shows the filters of the first convolution, and compares their high-frequency energy with random filters.

    Training tends to make filters smooth. The random filters are the network's own weights in random order: those of a
    network that was never trained are like them, whatever its initialisation.
    """

    def inspect(self, subject: Subject) -> Inspection:
        """Return a figure of the filters, and tables of filters and orders; raises ``ModelError``."""
        name, layer = first_convolution(subject.model)
        weights = weights_of(layer)
        if not np.isfinite(weights).all() or not weights.any():
            raise ModelError(f"the filters of {name!r} are all zero or not finite; check the weights of the network.")
        draws = [shuffled(weights, subject.generator("filters", draw)) for draw in range(self.params.draws)]
        table = [
            _row("of the network", weights),
            *(_row(f"order {index + 1}", draw) for index, draw in enumerate(draws)),
        ]
        sentences = (
            f"The first convolution {name} has {len(weights)} filters of {weights.shape[2]} × {weights.shape[3]} "
            f"weights in {weights.shape[1]} channels.",
            _compared("high-frequency energy", [row["energy"] for row in table]),
        )
        title = f"Filters of {name}, scaled one by one"
        figures = {
            "filters": mosaic_figure(tiles(weights), title),
            "random_filters": mosaic_figure(tiles(draws[0]), f"{title}, in random order"),
        }
        tables = {"filters": _filters(weights), "random_filters": _filters(draws[0]), "orders": table}
        return Inspection(sentences, tables, figures)


def tiles(weights: Array) -> list[Array]:
    """Return filters as images scaled 0–1: in colours where there are three channels, else the mean of the channels."""
    if weights.shape[1] == 3:
        return [scaled(values.transpose(1, 2, 0)) for values in weights]
    return [scaled(values.mean(axis=0)) for values in weights]


def _filters(weights: Array) -> list[dict[str, Any]]:
    return [
        {"filter": index, "energy": float(energy), "minimum": float(values.min()), "maximum": float(values.max())}
        for index, (values, energy) in enumerate(zip(weights, roughness(weights)))
    ]


def _row(label: str, weights: Array) -> dict[str, Any]:
    return {"weights": label, "energy": float(roughness(weights).mean())}


def _compared(name: str, values: list[float]) -> str:
    """Say how the first value compares with the others."""
    first, *others = values
    low, high = np.quantile(others, [0.025, 0.975])
    position = "within"
    if not low <= first <= high:
        position = "outside"
    return (
        f"Their {name} is {first:.4g}, {first / np.mean(others):.3g} times that of the same weights in random order: "
        f"{position} the interval {low:.4g} to {high:.4g} of 95 % of {len(others)} orders."
    )
