"""Navier–Stokes inpainting: the pixels it must not change, its results, and that no scale or rounding enters."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from heatproof_iterative.inpainting import inpainted


def random_image(channels: int = 3, size: int = 40, dtype: torch.dtype = torch.float64) -> Tensor:
    """Smooth waves with a little noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size
    waves = [np.sin(3 * rows + channel) + np.cos(4 * columns - channel) for channel in range(channels)]
    return torch.from_numpy(np.stack(waves) + 0.05 * rng.standard_normal((channels, size, size))).to(dtype)


def hole(top: int, left: int, height: int, width: int, size: int = 40) -> Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_pixels_keep_their_bits(dtype):
    image = random_image(dtype=dtype)
    mask = hole(10, 12, 5, 4)
    before = image.clone()
    actual = inpainted(image, mask, 3.0)
    assert actual.dtype == dtype
    assert torch.equal(actual[:, ~mask], before[:, ~mask])
    assert torch.equal(image, before)
    assert bool((actual[:, mask] != before[:, mask]).all())


@pytest.mark.parametrize("value", [0.0, 0.3, -7.25, 1e4])
def test_a_constant_image_stays_the_same_constant(value):
    image = torch.full((2, 20, 20), value, dtype=torch.float64)
    assert torch.equal(inpainted(image, hole(5, 5, 6, 6, 20), 3.0), image)


def test_an_empty_mask_changes_nothing():
    image = random_image()
    assert torch.equal(inpainted(image, torch.zeros(40, 40, dtype=torch.bool), 3.0), image)


@pytest.mark.parametrize("rectangle", [(0, 0, 6, 6), (34, 34, 6, 6), (0, 0, 40, 3), (37, 0, 3, 40), (0, 17, 1, 1)])
def test_a_mask_that_reaches_the_border_is_filled_in(rectangle):
    image = random_image()
    mask = hole(*rectangle)
    image[:, mask] = 1e3
    actual = inpainted(image, mask, 3.0)
    assert float(actual[:, mask].max()) <= float(image[:, ~mask].max())
    assert float(actual[:, mask].min()) >= float(image[:, ~mask].min())


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.1, 2.6), (0.0, 255.0)])
def test_a_linear_ramp_is_continued(axis, low, high):
    image = torch.linspace(low, high, 40, dtype=torch.float64).expand(1, 40, 40)
    if axis == 0:
        image = image.transpose(1, 2)
    mask = hole(16, 18, 6, 6)
    spoilt = torch.where(mask, low, image)
    error = float((inpainted(spoilt, mask, 3.0) - image).abs().max())
    assert error < 0.05 * (high - low)
    assert error < 0.5 * float((spoilt - image).abs().max())


def test_no_scale_enters():
    image = random_image()
    mask = hole(14, 9, 6, 8)
    plain = inpainted(image, mask, 3.0)
    scaled = inpainted(0.013 * image - 40, mask, 3.0)
    assert float(((scaled + 40) / 0.013 - plain).abs().max()) < 1e-4


def test_opencv_agrees_on_an_image_in_its_own_scale():
    image = random_image(1)
    mask = hole(14, 9, 6, 8)
    low = float(image.min())
    span = float(image.max() - image.min())
    grey = (255 * (image[0] - low) / span).numpy().astype(np.float32)
    expected = cv2.inpaint(grey, mask.numpy().astype(np.uint8), 5.0, cv2.INPAINT_NS).astype(np.float64)
    actual = 255 * (inpainted(image, mask, 5.0)[0] - low) / span
    assert float((actual - torch.from_numpy(expected))[mask].abs().max()) < 1e-4
    in_8_bits = cv2.inpaint(grey.round().astype(np.uint8), mask.numpy().astype(np.uint8), 5.0, cv2.INPAINT_NS)
    assert float((actual - torch.from_numpy(in_8_bits.astype(np.float64)))[mask].abs().max()) < 4


def test_any_number_of_channels_is_solved_one_by_one():
    image = random_image(5)
    mask = hole(14, 9, 6, 8)
    image = (image - image.amin((1, 2), keepdim=True)) / (image.amax((1, 2), keepdim=True) - image.amin((1, 2), True))
    together = inpainted(image, mask, 3.0)
    for channel in range(5):
        alone = inpainted(image[[channel]], mask, 3.0)
        assert float((together[[channel]] - alone).abs().max()) < 1e-12
