"""Annotations of images that EXIF turns: drawn on what viewers show, or on the stored pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from heatproof.errors import DataError
from heatproof.imaging.images import read_image, read_mask
from heatproof.imaging.turning import Turned, stored_space, turned
from heatproof.records import Geometry

STORED = np.zeros((12, 17), dtype=bool)
STORED[2:5, 3:10] = True
STORED[8, 1] = True


def photograph(path: Path, orientation: int, stored: np.ndarray = STORED) -> Geometry:
    """Save a photograph whose lesion is white and which EXIF turns; return its geometry."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored.astype(np.uint8) * 255).save(path, exif=exif, quality=100)
    image, geometry = read_image(path)
    np.testing.assert_array_equal(image[0] > 127, turned(stored, orientation))
    return geometry


def save(mask: np.ndarray, path: Path, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(mask).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_that_of_pillow(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(STORED.astype(np.uint8))
    image.info["exif"] = exif.tobytes()
    np.testing.assert_array_equal(turned(STORED, orientation), np.asarray(ImageOps.exif_transpose(image)))
    np.testing.assert_array_equal(turned(np.stack([STORED, ~STORED]), orientation)[1], ~turned(STORED, orientation))


@pytest.mark.parametrize("orientation", range(5, 9))
def test_the_size_tells_on_what_a_mask_was_drawn(tmp_path: Path, orientation: int) -> None:
    geometry = photograph(tmp_path / "a.jpg", orientation)
    shown = turned(STORED, orientation)
    assert (geometry.native, stored_space(geometry)) == (shown.shape, STORED.shape)
    masks = [save(STORED, tmp_path / "stored.png"), save(shown, tmp_path / "shown.png")]
    masks.append(save(STORED, tmp_path / "alike.png", orientation))
    for path in masks:
        np.testing.assert_array_equal(read_mask(path, image=geometry), shown)
    with pytest.raises(DataError, match=r"other\.png has \(12, 16\) pixels, its image \(17, 12\)"):
        read_mask(save(STORED[:, 1:], tmp_path / "other.png"), image=geometry)


SQUARE = np.rot90(STORED, 0)[:, :12]


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [(2, STORED), (3, STORED), (4, STORED), *((orientation, SQUARE) for orientation in range(2, 9))],
)
def test_where_the_size_does_not_tell_the_setting_decides(
    tmp_path: Path, orientation: int, stored: np.ndarray
) -> None:  # fmt: skip
    geometry = photograph(tmp_path / "a.jpg", orientation, stored)
    shown = turned(stored, orientation)
    path = save(stored, tmp_path / "mask.png")
    with pytest.raises(DataError, match=rf"mask\.png annotates .*a\.jpg, which its EXIF orientation \({orientation}\)"):
        read_mask(path, image=geometry)
    answers: dict[Turned, np.ndarray] = {"shown": stored, "stored": shown}
    for setting, expected in answers.items():
        np.testing.assert_array_equal(read_mask(path, image=geometry, turned=setting), expected)
    # A mask with an orientation of its own says itself how it is shown.
    alike = save(stored, tmp_path / "alike.png", orientation)
    np.testing.assert_array_equal(read_mask(alike, image=geometry), shown)


def test_a_mask_that_alone_is_turned_does_not_fit(tmp_path: Path) -> None:
    geometry = photograph(tmp_path / "a.png", 1)
    with pytest.raises(DataError, match=r"mask\.png has \(17, 12\) pixels, its image \(12, 17\)"):
        read_mask(save(STORED, tmp_path / "mask.png", 6), image=geometry)
    volume = Geometry.identity((3, 4, 5))
    assert stored_space(volume) == (3, 4, 5)
