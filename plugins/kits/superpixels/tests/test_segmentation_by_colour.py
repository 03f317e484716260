"""Superpixels of grey and colour images and volumes, of several ranges, and of constant images."""

import numpy as np
import pytest

from heatproof_superpixels.segmentation import superpixels


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 24, 24), (4, 24, 24), (1, 8, 12, 12), (3, 8, 12, 12)])
def test_superpixels_of_any_channels_and_volumes(shape: tuple[int, ...]) -> None:
    """Two halves of different values are never joined, whatever the range of the values; no number is left out."""
    image = np.random.default_rng(1).normal(scale=0.01, size=shape)
    half = shape[-1] // 2
    image[..., half:] += 3
    labels = superpixels(50 * image - 7, 10, 10.0)
    assert labels.shape == shape[1:]
    assert {*labels.ravel()} == {*range(labels.max() + 1)}
    assert not {*labels[..., :half].ravel()} & {*labels[..., half:].ravel()}
    assert np.array_equal(labels, superpixels(50 * image - 7, 10, 10.0))


def test_superpixels_of_a_constant_image() -> None:
    assert superpixels(np.full((3, 20, 20), 0.5), 4, 10.0).max() + 1 == 4
