"""Targets from annotations: masks and boxes as they are, densities on a scale from 0 to 1."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from heatproof.component import Params
from heatproof.errors import DataError, near
from heatproof.records import Annotation, Array, Sample
from heatproof_lesions.readings import together
from heatproof_objectives.step import Step

Densities = Literal["linear", "unchanged"]
Unannotated = Literal["refuse", "skip"]


class AnnotatedParams(Params):
    """The settings of all objectives that compare with annotations.

    ``finding``: the finding whose masks, boxes or densities are the target. ``densities``: ``linear`` scales each
    density to the range from 0 to 1; ``unchanged`` uses the dataset's values, which must lie there. ``unannotated``:
    samples that nobody examined for the finding are refused, or ``skip`` leaves them out of this term of the loss.
    """

    finding: str = "gaze"
    densities: Densities = "linear"
    unannotated: Unannotated = "refuse"

    @property
    def unsure(self) -> tuple[str, ...]:
        """The settings that have to be checked on the samples: a finding that nobody annotated would be skipped."""
        return ("finding",) if self.unannotated == "skip" else ()

    @property
    def targeted(self) -> tuple[str, ...]:
        """The findings that are targets."""
        return (self.finding,)


@dataclass(frozen=True)
class Targets:
    """Target maps (n, 1, *space) in [0, 1], and which samples have one (n,) bool; the others' maps are zeros."""

    maps: Tensor
    present: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """The mean of losses (n,) over the samples with a target; 0 without any."""
        return mean_where(self.present, losses)

    def marked(self) -> "Targets":
        """The same targets, of the samples that have a pixel above 0."""
        return Targets(self.maps, self.present & (self.maps.flatten(1).amax(1) > 0))


def mean_where(present: Tensor, losses: Tensor) -> Tensor:
    """Compute the mean of the losses where ``present``, of the same shape, is true; 0 without any."""
    return torch.where(present, losses, 0).sum() / present.sum().clamp_min(1)


def targets(step: Step, params: AnnotatedParams) -> Targets:
    """Collect the targets of a step; raises ``DataError`` for a sample without one where these are refused."""
    maps = [target(sample, params.finding, params.densities) for sample in step.samples]
    for sample, values in zip(step.samples, maps):
        if values is None and params.unannotated == "refuse":
            raise unannotated(sample, params.finding)
    empty = np.zeros(step.batch.space)
    stacked = np.stack([empty if values is None else values for values in maps])[:, None]
    present = torch.tensor([values is not None for values in maps], device=step.batch.images.device)
    return Targets(torch.from_numpy(stacked).to(step.batch.images), present)


def unannotated(sample: Sample, finding: str) -> DataError:
    """Describe a sample that nobody examined for a finding."""
    examined = ", ".join(sample.findings()) or "nothing"
    return DataError(
        f"sample {sample.id} has no annotation of {finding!r} (it was examined for {examined}); name another finding, "
        "leave the sample out, or set unannotated: skip."
    )


def require_annotated(samples: Iterable[Sample], findings: Sequence[str]) -> None:
    """Raise ``DataError`` where no sample at all has an annotation of one of the findings."""
    missing = dict.fromkeys(findings)
    examined: dict[str, None] = {}
    for sample in samples:
        examined |= dict.fromkeys(sample.findings())
        missing = {finding: None for finding in missing if finding not in examined}
        if not missing:
            return
    finding = next(iter(missing))
    raise DataError(
        f"no sample to train on has an annotation of {finding!r}, so skipping those without would leave none; "
        f"{near(finding, examined)}"
    )


def target(sample: Sample, finding: str, densities: Densities = "linear") -> Array | None:
    """Make the target (*space) in [0, 1] of a finding; None for a sample that nobody examined for it.

    The masks and boxes of several readers are united. The densities of several readers are scaled to sum 1 and
    averaged before they are scaled to [0, 1]; ``unchanged`` ones are averaged as they are. Raises ``DataError`` for
    ``unchanged`` densities outside of [0, 1].
    """
    annotations = [annotation for annotation in sample.annotations if annotation.finding == finding]
    if not annotations:
        return None
    if annotations[0].kind != "density":
        return together([annotation.values for annotation in annotations], "union")
    by_reader = _summed_by_reader(annotations)
    if densities == "linear":
        return _linear(together([_share(values) for values in by_reader.values()], "mean"))
    values = together(list(by_reader.values()), "mean")
    if values.min() < 0 or values.max() > 1:
        raise DataError(
            f"the density of {finding!r} on {sample.id} reaches from {values.min():g} to {values.max():g}; unchanged "
            "densities lie between 0 and 1, so set densities: linear, or the scale of the dataset."
        )
    return values


def _summed_by_reader(annotations: list[Annotation]) -> Mapping[str, Array]:
    """Reader → the sum of the reader's densities, in float64."""
    sums: dict[str, Array] = {}
    for annotation in annotations:
        sums[annotation.reader] = sums.get(annotation.reader, 0.0) + annotation.values.astype(np.float64)
    return sums


def _share(values: Array) -> Array:
    """A density of sum 1; one of zeros stays as it is."""
    total = values.sum()
    return values / total if total else values


def _linear(values: Array) -> Array:
    """Values from 0 to 1; constant ones become zeros."""
    span = np.ptp(values)
    return (values - values.min()) / span if span else np.zeros_like(values)
