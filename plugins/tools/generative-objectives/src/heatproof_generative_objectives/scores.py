"""Scores that several readers gave a sample: their means, and Gaussians fitted to them."""

from collections.abc import Mapping, Sequence

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array, Sample

LEAST_DEVIATION = 0.05
"""The least standard deviation of a fitted Gaussian, as in the code of X-Caps."""


def scores_of(sample: Sample, extra: str, name: str, highest: int) -> Array:
    """Look up the scores (reader,) of an attribute; raises ``DataError`` for none, and for those not in 1 … highest."""
    by_name = sample.extras.get(extra)
    if not isinstance(by_name, Mapping):
        listed = ", ".join(sample.extras) or "it has none"
        raise DataError(
            f"sample {sample.id} has no scores by attribute among its extras ({listed}); {extra!r} should map the name "
            "of each attribute to the scores of its readers."
        )
    values = np.atleast_1d(np.asarray(by_name.get(name, ()), dtype=np.float64))
    if not values.size:
        raise DataError(
            f"no reader scored {name!r} on sample {sample.id} (scored: {', '.join(by_name) or 'nothing'}); leave the "
            "sample out, or train other attributes."
        )
    if not ((values >= 1) & (values <= highest)).all():
        raise DataError(f"{name!r} on sample {sample.id} is scored {values.tolist()}; allowed: 1 to {highest}.")
    return values


def fitted(scores: Sequence[float] | Array, classes: int) -> Array:
    """Fit a Gaussian to scores (reader,) and return its shares (classes,) of the scores 1 to ``classes``.

    Its mean and its standard deviation, of at least 0.05, are those of the readers, as in LaLonde et al. 2020.

    >>> fitted([2, 4], 5).round(6).tolist()
    [0.054489, 0.244201, 0.40262, 0.244201, 0.054489]
    """
    deviation = max(float(np.std(scores)), LEAST_DEVIATION)
    exponents = -(((np.arange(1, classes + 1) - np.mean(scores)) / deviation) ** 2) / 2
    powers = np.exp(exponents - exponents.max())
    return np.asarray(powers / powers.sum())
