"""The random heatmap: seeded, uniform, and independent of model, target and image."""

import hashlib

import numpy as np
import torch

from heatproof.batch import Batch
from heatproof.chance import Random
from heatproof.testing import conforms, toys


def batch(ids="ab", seed=0, size=16, model=None, value=0.0, target=0) -> Batch:
    images = torch.full((len(ids), 3, size, size), value)
    return Batch(model or toys.Residual(), list(ids), images, [target] * len(ids), seed=seed)


@conforms(Random())
def test_conformance(check):
    check()


def test_the_values_are_those_of_philox_keyed_by_seed_and_id():
    key = int.from_bytes(hashlib.blake2b(b"5\x1fb\x1funiform\x1f0", digest_size=16).digest(), "little")
    expected = np.random.Generator(np.random.Philox(key=key)).random((16, 16)).astype(np.float32)
    np.testing.assert_array_equal(Random()(batch(seed=5)).values[1, 0].numpy(), expected)


def test_neither_model_nor_image_nor_target_nor_company_matters():
    first = Random()(batch()).values
    for other in (batch(model=toys.Linear()), batch(value=1.0), batch(target=1), batch("ba").select([1, 0])):
        assert torch.equal(first, Random()(other).values)


def test_seed_and_id_matter():
    first = Random()(batch()).values
    assert not (first == Random()(batch(seed=1)).values).any()
    assert not (first[0] == first[1]).any()


def test_the_values_are_uniform():
    values = Random()(batch("a", size=200)).values.flatten()
    assert values.min() >= 0
    assert values.max() < 1
    counts = torch.histc(values, 10, 0, 1)
    assert float(((counts - 4000).square() / 4000).sum()) < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001
