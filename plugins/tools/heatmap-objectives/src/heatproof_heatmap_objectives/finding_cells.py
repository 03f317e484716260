"""Supervision of a layer by annotations: which findings each cell of its map contains."""

from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn import functional

from heatproof.errors import DataError, ModelError
from heatproof.imaging.area import Grid, coverage
from heatproof.model import Model
from heatproof.records import Array, Sample
from heatproof_objectives.activations import example_activation
from heatproof_objectives.step import Step

from .additional import Additional, AdditionalParams
from .annotated import Unannotated, mean_where, unannotated

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a finding is named twice; name each finding once")
    return names


class FindingCellsParams(AdditionalParams):
    """The findings, the layer, and which cells contain a finding.

    ``findings``: those that are predicted in each cell. ``layer``: a layer whose map has one value per channel and
    cell, by default the ``last``. ``smallest``: the area of a finding, in pixels of the prepared image, from which a
    cell contains it. ``positive_weight``: the weight of cells with the finding. ``unannotated``: samples that nobody
    examined for one of the findings are refused, or ``skip`` leaves them out for this finding.
    """

    findings: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)]
    layer: str = "last"
    smallest: float = Field(default=0.5, gt=0, le=1e9)
    positive_weight: float = Field(default=1.0, gt=0, le=1e6)
    unannotated: Unannotated = "refuse"

    @property
    def unsure(self) -> tuple[str, ...]:
        """The settings that have to be checked on the samples: a finding that nobody annotated would be skipped."""
        return ("findings",) if self.unannotated == "skip" else ()

    @property
    def targeted(self) -> tuple[str, ...]:
        """The findings that are targets."""
        return self.findings


class FindingCells(Additional[FindingCellsParams]):
    """The loss of the base + weight · the binary cross-entropy of the findings in each cell of a layer.

    A 1 × 1 convolution predicts from the activation of each cell whether the cell contains each finding. It is trained
    with the network and is not in the checkpoint. A cell contains a finding whose masks and boxes, united over readers,
    cover at least ``smallest`` pixels of it inside the field of view. Predictions of findings in the cells of a last
    map, supervised by boxes, are those of Li et al. 2018, "Thoracic Disease Identification and Localization with
    Limited Supervision", CVPR; there they replace the classifier. Logged as ``base`` and ``cells``.
    """

    term_name = "cells"

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model that does not fit the base, or without a grid of cells in the layer."""
        super().require(model)
        self._example(model)

    def layers(self, model: Model) -> tuple[str, ...]:
        """The layers of the base, and that of the cells."""
        return tuple(dict.fromkeys([*super().layers(model), self.params.layer]))

    def modules(self, model: Model) -> nn.Module:
        """The convolution, and the modules of the base."""
        example = self._example(model)
        convolution = CONVOLUTIONS[example.ndim - 2](example.shape[1], len(self.params.findings), 1)
        self._convolution = convolution.to(example.dtype)
        base = super().modules(model)
        return nn.ModuleList([self._convolution, *([] if base is None else [base])])

    def _example(self, model: Model) -> Tensor:
        """The activation of the layer for an example image; raises ``ModelError`` for one without cells."""
        activation = example_activation(model, self.params.layer)
        if activation.ndim - 2 not in CONVOLUTIONS:
            raise ModelError(
                f"{self.short} needs a layer with a grid of cells; {self.params.layer!r} of {model.short} has the "
                f"shape {tuple(activation.shape)}. Name a convolution, or a module that gives a map."
            )
        return activation

    def term(self, step: Step) -> Tensor:
        """The mean over findings, samples and cells; raises ``DataError`` for a sample that nobody examined."""
        logits: Tensor = self._convolution(step.activations[self.params.layer])
        contents = [cells(sample, self.params, tuple(logits.shape[2:])) for sample in step.samples]
        targets = torch.from_numpy(np.stack(contents)).to(logits)
        weight = torch.tensor(self.params.positive_weight).to(logits)
        losses = functional.binary_cross_entropy_with_logits(
            logits, targets.nan_to_num(), pos_weight=weight, reduction="none"
        )
        return mean_where(~targets.isnan(), losses)


def cells(sample: Sample, params: FindingCellsParams, grid: tuple[int, ...]) -> Array:
    """Return 1 where a cell contains a finding and 0 elsewhere (finding, *grid); NaN for one that nobody examined.

    Raises ``DataError`` for a density, and for a sample that nobody examined where these are refused.
    """
    result = np.full((len(params.findings), *grid), np.nan, np.float32)
    edges = Grid(sample.space, grid, tuple(length / count for length, count in zip(sample.space, grid))).edges
    pixels = np.prod(sample.space) / np.prod(grid)
    for row, finding in enumerate(params.findings):
        mask = _mask(sample, finding)
        if mask is not None:
            result[row] = pixels * coverage(mask, edges) >= params.smallest
        elif params.unannotated == "refuse":
            raise unannotated(sample, finding)
    return result


def _mask(sample: Sample, finding: str) -> Array | None:
    """The share of each pixel that a finding covers inside the field; None where nobody examined the sample for it."""
    kinds = {annotation.kind for annotation in sample.annotations if annotation.finding == finding}
    if "density" in kinds:
        raise DataError(
            f"the annotation of {finding!r} on {sample.id} is a density, which no cell contains; name findings with "
            "masks or boxes."
        )
    mask = sample.mask(finding)
    return mask if mask is None or sample.field is None else mask * sample.field
