"""Written masks, and images that no file can hold."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatproof.errors import DataError
from heatproof_cohorts.image_files import write_image, write_mask

MASK = np.zeros((12, 17), dtype=bool)
MASK[3:6, 4:9] = True


def test_masks_are_written_as_idrid_publishes_them(tmp_path: Path) -> None:
    write_mask(MASK * np.float32(0.5), tmp_path / "folder" / "a.tif")
    with Image.open(tmp_path / "folder" / "a.tif") as image:
        assert image.mode == "P"
        assert image.getpalette()[:6] == [0, 0, 0, 255, 0, 0]
        assert image.info["compression"] == "tiff_adobe_deflate"
        np.testing.assert_array_equal(np.asarray(image), MASK)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (np.zeros((3, 4, 4), dtype=np.float32), "a.png"),
        (np.zeros((2, 4, 4), dtype=np.uint8), "a.png"),
        (np.zeros((1, 4, 4), dtype=np.uint16), "a.jpg"),
        (np.zeros((3, 4, 4), dtype=np.uint16), "a.tif"),
        (np.zeros((4, 4), dtype=np.uint8), "a.tif"),
    ],
)
def test_images_that_a_file_cannot_hold_are_refused(tmp_path: Path, image: np.ndarray, name: str) -> None:
    with pytest.raises(DataError, match="cannot hold an image"):
        write_image(image, tmp_path / name)
    assert not (tmp_path / name).exists()
