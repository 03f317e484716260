"""Every law of readers catches a planted fault; the core's reader passes all laws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.imaging.raster import Raster
from heatproof.imaging.reader import MAX_PIXELS, Reader
from heatproof.records import Array, Geometry
from heatproof.testing import ConformanceError, check_reader, checks, toys
from heatproof.testing.check import run
from heatproof_cohorts.image_files import write_image

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 90, 70)).astype(np.uint8)
SHAPE = "an image has the shape of its geometry"
REFUSED = "damaged foreign and absent files are refused"
Image = tuple[Array, Geometry]


class Changed(Raster):
    """The core's reader with results that are changed after reading."""

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> Image:
        return self.changed(*super().read_image(path, max_pixels))

    def changed(self, image: Array, geometry: Geometry) -> Image:
        raise NotImplementedError


def changing(name: str, change: Callable[[Array, Geometry], Image]) -> Reader:
    """A reader that changes its images by a function."""
    return type(name, (Changed,), {"changed": lambda self, image, geometry: change(image, geometry)})()


def having(name: str, **attributes: Any) -> Reader:
    """The core's reader with other attributes."""
    return type(name, (Raster,), attributes)()


class Late(Raster):
    """Decodes before it checks the limit of pixels."""

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> Image:
        image, geometry = super().read_image(path)
        if image[0].size > max_pixels:
            raise DataError(f"{path} has more than {max_pixels:,} pixels; reduce it.")
        return image, geometry


class Limitless(Raster):
    """Ignores the limit of pixels."""

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> Image:
        return super().read_image(path)


class Raw(Raster):
    """Raises another error than ``DataError``."""

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> Image:
        try:
            return super().read_image(path, max_pixels)
        except DataError as error:
            raise ValueError(str(error)) from error


class Nameless(Raster):
    """Does not name the file in its error."""

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> Image:
        try:
            return super().read_image(path, max_pixels)
        except DataError as error:
            raise DataError("a file is damaged") from error


class Forgiving(Raster):
    """Returns an image for any file."""

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> Image:
        try:
            return super().read_image(path, max_pixels)
        except DataError:
            return np.zeros((1, 4, 4), dtype=np.uint8), Geometry.identity((4, 4), str(path))


class Halved(Raster):
    """Reads masks on another grid."""

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        return super().read_mask(path, max_pixels)[::2]


class Grey(Raster):
    """Returns masks as uint8."""

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        return super().read_mask(path, max_pixels) * np.uint8(255)


def grained(image: Array, geometry: Geometry) -> Image:
    """The image with unseeded noise."""
    return image + np.random.default_rng().integers(9, size=image.shape, dtype=np.uint8), geometry


FAULTS = (
    (having("Silent", suffixes=(), signatures=()), "it claims files by name or first bytes"),
    (having("Dotless", suffixes=("png",)), "it claims files by name or first bytes"),
    (having("Upper", suffixes=(".PNG",)), "it claims files by name or first bytes"),
    (having("Empty", signatures=((0, b""),)), "it claims files by name or first bytes"),
    (having("Foreign", suffixes=(".other",), signatures=((0, b"other"),)), "it claims the file that it reads"),
    (changing("Flat", lambda image, geometry: (image[0], geometry)), SHAPE),
    (changing("Infinite", lambda image, geometry: (np.full(image.shape, np.inf), geometry)), SHAPE),
    (changing("Complex", lambda image, geometry: (image * 1j, geometry)), SHAPE),
    (changing("Turned", lambda image, geometry: (image.transpose(0, 2, 1), geometry)), SHAPE),
    (changing("Shifted", lambda image, geometry: (image, geometry.through(2 * np.eye(3)))), SHAPE),
    (changing("Sourceless", lambda image, geometry: (image, replace(geometry, source=""))), SHAPE),
    (changing("Sided", lambda image, geometry: (image, replace(geometry, orientation="SPL"))), SHAPE),
    (changing("Stepless", lambda image, geometry: (image, replace(geometry, spacing=(1.0,)))), SHAPE),
    (changing("Still", lambda image, geometry: (image, replace(geometry, spacing=(1.0, 0.0)))), SHAPE),
    (changing("Grainy", grained), "reading twice gives the same bits"),
    (Halved(), "a mask lies on its image"),
    (Grey(), "a mask lies on its image"),
    (Raw(), REFUSED),
    (Nameless(), REFUSED),
    (Forgiving(), REFUSED),
    (Late(), "the limit of pixels is judged before decoding"),
    (Limitless(), "the limit of pixels is judged before decoding"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_image(PIXELS, tmp_path / "an image.PNG")
    return tmp_path / "an image.PNG"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_the_reader_of_the_core_passes_every_check(tmp_path: Path, suffix: str) -> None:
    write_image(PIXELS, tmp_path / f"a{suffix}")
    results = check_reader(Raster(), tmp_path / f"a{suffix}")
    expected = {".jpg": ["a mask lies on its image"]}.get(suffix, [])
    assert [result.name for result in results if result.outcome == "skipped"] == expected


def test_without_a_file_most_laws_do_not_apply() -> None:
    results = {result.name: result for result in check_reader(Raster())}
    assert results["it claims files by name or first bytes"].outcome == "passed"
    assert "needs a file of its format" in results[SHAPE].reason


@pytest.mark.parametrize(("fault", "law"), FAULTS, ids=[f"{fault.short}: {law}" for fault, law in FAULTS])
def test_a_planted_fault_is_caught(fault: Reader, law: str, file: Path) -> None:
    with pytest.raises(ConformanceError):
        run(fault.short, [check for check in checks(fault, file=file) if check.name == law])


def test_every_law_of_its_own_has_a_planted_fault() -> None:
    shared = {check.name for check in checks(toys.Residual())}
    assert {law for _, law in FAULTS} == {check.name for check in checks(Raster())} - shared
