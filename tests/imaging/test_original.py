"""The image as it was taken lies on the grid of the prepared one."""

import numpy as np

from heatproof.imaging.original import original_image
from heatproof.imaging.transforms import Resize
from heatproof.records import Geometry, Sample


def test_photograph_lies_on_the_grid() -> None:
    rows, columns = np.mgrid[0:120, 0:160]
    image = np.stack([rows, columns, 0 * rows]).astype(np.uint8)
    native = Sample("a", image)
    prepared = Resize(size=40, fit="pad")(native)
    moved = original_image(native, prepared)
    assert moved is not None
    shown = moved.astype(float)
    assert shown.shape == (40, 40, 3)
    plain = image.reshape(3, 30, 4, 40, 4).mean((2, 4)).transpose(1, 2, 0)
    assert abs(shown[6:34, 1:39] - plain[1:29, 1:39]).max() <= 1
    assert (shown[:4] == 0).all()


def test_photograph_of_a_part_that_the_dataset_cut_out() -> None:
    image = np.random.default_rng(0).integers(0, 255, (1, 24, 24)).astype(np.uint8)
    shifted = Geometry(np.array([[1.0, 0, 100], [0, 1, 50], [0, 0, 1]]), (300, 300))
    native = Sample("a", image, geometry=shifted)
    shown = original_image(native, Resize(size=24)(native))
    assert shown is not None
    assert (shown[..., 0] == image[0]).all()


def test_grey_and_deep_images_span_black_to_white() -> None:
    image = np.linspace(1000, 5000, 64).reshape(1, 8, 8).astype(np.uint16)
    native = Sample("a", image)
    shown = original_image(native, Resize(size=8)(native))
    assert shown is not None
    assert shown.dtype == np.uint8
    assert (shown == shown[..., :1]).all()
    assert abs(shown[..., 0] - 255 * (image[0] - 1000.0) / 4000).max() <= 1


def test_volumes_and_images_without_a_way_back_have_none() -> None:
    volume = Sample("a", np.zeros((1, 4, 8, 8), np.uint8))
    assert original_image(volume, Resize(size=4)(volume)) is None
    flat = Sample("a", np.zeros((1, 8, 8), np.uint8))
    assert original_image(flat, flat) is None
