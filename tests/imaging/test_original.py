"""The original image on the grid of a prepared sample."""

import numpy as np

from heatproof.imaging.original import original_image
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
