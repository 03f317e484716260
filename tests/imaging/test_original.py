"""The original image on the grid of a prepared sample."""

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.imaging.original import on_original, original_image
from heatproof.imaging.transforms import Resize
from heatproof.records import Geometry, Sample


def test_the_original_image_lies_on_the_grid() -> None:
    rows, columns = np.mgrid[0:120, 0:160]
    image = np.stack([rows, columns, 0 * rows]).astype(np.uint8)
    native = Sample("a", image)
    prepared = Resize(size=40, fit="pad")(native)
    moved = original_image(native, prepared)
    assert moved is not None
    result = moved.astype(float)
    assert result.shape == (40, 40, 3)
    means = image.reshape(3, 30, 4, 40, 4).mean((2, 4)).transpose(1, 2, 0)
    assert abs(result[6:34, 1:39] - means[1:29, 1:39]).max() <= 1
    assert (result[:4] == 0).all()


def test_a_region_that_the_dataset_cropped_stays_in_place() -> None:
    image = np.random.default_rng(0).integers(0, 255, (1, 24, 24)).astype(np.uint8)
    shifted = Geometry(np.array([[1.0, 0, 100], [0, 1, 50], [0, 0, 1]]), (300, 300))
    native = Sample("a", image, geometry=shifted)
    result = original_image(native, Resize(size=24)(native))
    assert result is not None
    assert (result[..., 0] == image[0]).all()


def test_grey_and_deep_images_span_black_to_white() -> None:
    image = np.linspace(1000, 5000, 64).reshape(1, 8, 8).astype(np.uint16)
    native = Sample("a", image)
    result = original_image(native, Resize(size=8)(native))
    assert result is not None
    assert result.dtype == np.uint8
    assert (result == result[..., :1]).all()
    assert abs(result[..., 0] - 255 * (image[0] - 1000.0) / 4000).max() <= 1


def test_volumes_and_samples_without_geometry_have_no_original_image() -> None:
    volume = Sample("a", np.zeros((1, 4, 8, 8), np.uint8))
    assert original_image(volume, Resize(size=4)(volume)) is None
    flat = Sample("a", np.zeros((1, 8, 8), np.uint8))
    assert original_image(flat, flat) is None


def test_heatmaps_move_to_the_original():
    """A linear ramp on the grid is the same ramp on the original, wherever four cells surround a pixel."""
    preparation = Resize(size=(8, 4), fit="pad")
    sample = preparation(Sample("a", np.zeros((1, 16, 10), np.uint8)))
    rows, columns = np.meshgrid(np.arange(8) + 0.5, np.arange(4) + 0.5, indexing="ij")
    moved = on_original((3 * rows - 2 * columns).astype(np.float32), sample.geometry)
    centres = np.stack(np.meshgrid(np.arange(16) + 0.5, np.arange(10) + 0.5, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.linalg.inv(sample.geometry.affine) @ np.concatenate([centres, np.ones((len(centres), 1))], axis=1).T
    expected = (3 * points[0] - 2 * points[1]).reshape(16, 10)
    inside = ((points[:2] >= 0.5) & (points[:2] <= np.array([[7.5], [3.5]]))).all(axis=0).reshape(16, 10)
    assert inside.sum() > 50
    np.testing.assert_allclose(moved[inside], expected[inside], atol=0.05)
    with pytest.raises(DataError, match="moved to no original"):
        on_original(np.zeros((2, 3, 4)), sample.geometry)


def test_pixels_outside_the_grid_have_no_value():
    geometry = Geometry(np.array([[1.0, 0, 2], [0, 1, 0], [0, 0, 1]]), (6, 3))
    moved = on_original(np.ones((2, 3), np.float32), geometry)
    assert np.isnan(moved).tolist() == [[True] * 3] * 2 + [[False] * 3] * 2 + [[True] * 3] * 2
