"""One step of training or validation: images, outputs and samples."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError
from heatproof.records import Array, Sample


@dataclass(frozen=True)
class Step:
    """One batch as an objective gets it.

    ``batch`` is differentiable; its targets are the labels, 0 for a sample without one. ``outputs`` are those of the
    network by name, with their autograd graph, in the mode that ``training`` tells. ``samples`` are prepared and, in
    training, augmented; their labels are indices of the model's classes. ``activations`` are those of the layers that
    the objective asks for (``Objective.layers``), by the names that it gives them, of the same forward pass.
    """

    batch: Batch
    outputs: Mapping[str, Tensor]
    samples: Sequence[Sample]
    training: bool
    activations: Mapping[str, Tensor] = field(default_factory=dict)

    def labels(self) -> Tensor:
        """Return the only label of each sample (n,), long; raises ``DataError`` for none or several."""
        return torch.tensor([_label(sample) for sample in self.samples], device=self.batch.images.device)

    def indicators(self) -> Tensor:
        """Return 1 where a sample has a class and 0 elsewhere (n, class); raises ``DataError`` for no label at all."""
        result = torch.zeros(len(self.samples), len(self.batch.model.classes))
        for row, sample in enumerate(self.samples):
            if sample.label is None:
                raise _unlabelled(sample)
            result[row, list(np.atleast_1d(np.asarray(sample.label, dtype=np.int64)))] = 1
        return result.to(self.batch.images)

    def mask(self, finding: str | None = None) -> Tensor:
        """Return the share of each pixel that a finding covers (n, 1, *space), or any finding if none is named.

        The annotations of several readers are united. Raises ``DataError`` for a sample that nobody examined for it.
        """
        return self._tensor([_mask(sample, finding)[None] for sample in self.samples])

    def extra(self, name: str) -> Tensor:
        """Return the extra of this name of every sample (n, …); raises ``DataError`` where one has none."""
        for sample in self.samples:
            if not isinstance(sample.extras.get(name), (np.ndarray, float, int)):
                raise DataError(
                    f"sample {sample.id} has no array or number {name!r} among its extras "
                    f"({', '.join(sample.extras) or 'it has none'}); the objective needs one for each sample."
                )
        return self._tensor([np.asarray(sample.extras[name]) for sample in self.samples])

    def _tensor(self, values: Sequence[Array]) -> Tensor:
        return torch.from_numpy(np.stack(values)).to(self.batch.images)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode inside the block; each module has its earlier mode afterwards.

    BatchNorm then uses its running statistics, and does not couple the images of a batch; dropout is off.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _label(sample: Sample) -> int:
    if sample.label is None:
        raise _unlabelled(sample)
    if isinstance(sample.label, tuple):
        raise DataError(
            f"sample {sample.id} has {len(sample.label)} labels, but the objective needs a single one; "
            "choose an objective for several labels at once, or a dataset with one label per sample."
        )
    return int(sample.label)


def _unlabelled(sample: Sample) -> DataError:
    return DataError(f"sample {sample.id} has no label, but the objective needs one for each sample.")


def _mask(sample: Sample, finding: str | None) -> Array:
    """The union over readers of one finding, or over all findings."""
    if finding is not None:
        mask = sample.mask(finding)
    else:
        values = [annotation.values for annotation in sample.annotations]
        mask = reduce(np.maximum, values) if values else None
    if mask is None:
        examined = ", ".join(sample.findings()) or "none"
        raise DataError(
            f"nobody examined sample {sample.id} for {finding or 'any finding'} (examined: {examined}); "
            "the objective needs an annotation of each sample, which may be empty."
        )
    return mask
