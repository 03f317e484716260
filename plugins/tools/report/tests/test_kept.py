"""What explainers keep of a case, as a page shows it: masks to the pixel, colours that mean the same at every step."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from heatproof.records import Array, Sample
from heatproof_report.kept import PALETTE, SIZE, STEPS, kept, sequence


def decoded(uri: str) -> Array:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def sample(space: tuple[int, ...] = (16, 16)) -> Sample:
    return Sample("a", np.zeros((3, *space), np.float32))


def test_steps_that_only_fill_up_are_left_out() -> None:
    images = np.full((5, 3, 16, 16), np.nan, np.float32)
    images[:3] = 1
    images[1] = np.nan
    found = sequence(images, (16, 16))
    assert found is not None
    assert len(found) == 3
    numbers = sequence(np.array([1, 2, np.nan, np.nan]), (16, 16))
    assert numbers is not None
    assert numbers.tolist() == [1, 2]
    assert [sequence(np.zeros(shape), (16, 16)) for shape in ((3, 4), (2, 1, 3, 16, 16), (16, 3))] == [None] * 3


def test_nothing_kept_shows_nothing() -> None:
    values = np.zeros((16, 16), np.float32)
    assert kept({}, sample(), values, ()) is None
    assert kept({"masks": np.full((3, 16, 16), np.nan)}, sample(), values, ()) is None


def test_masks_keep_every_pixel() -> None:
    masks = np.random.default_rng(0).random((3, 300, 300)) > 0.5
    made = kept({"masks": masks.astype(np.float32)}, sample((300, 300)), np.zeros((300, 300)), ())
    assert made is not None
    for mask, cell in zip(masks, made.strips[0].cells, strict=True):
        assert np.array_equal(decoded(cell)[..., 0] > 127, mask)


def test_class_maps_have_a_colour_per_class() -> None:
    indices = np.arange(256, dtype=np.float32).reshape(16, 16) % 4 - 1
    made = kept({"class": indices}, sample(), np.zeros((16, 16)), ("first", "second"))
    assert made is not None
    (strip,) = made.strips
    assert [label for _, label in strip.legend] == ["none", "first", "second", "2"]
    assert [colour for colour, _ in strip.legend][1:] == list(PALETTE[:3])
    pixels = decoded(strip.cells[0])
    for index, (colour, _) in enumerate(strip.legend, start=-1):
        assert {"#" + bytes(pixel).hex() for pixel in pixels[indices == index].tolist()} == {colour}


def test_a_map_of_two_classes_is_no_mask() -> None:
    made = kept({"class": np.ones((16, 16), np.float32)}, sample(), np.zeros((16, 16)), ("first", "second"))
    assert made is not None
    assert made.strips[0].legend == ((PALETTE[1], "second"),)


def test_brightness_and_heat_mean_the_same_at_every_step() -> None:
    steps = np.array([0.0, 1.0, 2.0, 4.0])
    maps = np.ones((4, 16, 16)) * steps[:, None, None]
    made = kept({"maps": maps, "images": maps[:, None]}, sample(), maps[0], ())
    assert made is not None
    heats, images = ([decoded(cell).astype(int).sum() for cell in strip.cells] for strip in made.strips)
    assert heats == sorted(set(heats))
    assert heats[0] == 0
    grey = [decoded(cell)[..., 0].mean() for cell in made.strips[1].cells]
    assert grey == pytest.approx(255 * steps / 4, abs=3)
    assert len(set(images)) == 4


def test_long_sequences_stay_small() -> None:
    draw = np.random.default_rng(0)
    images = draw.random((40, 3, 300, 250), np.float32)
    made = kept({"images": images, "maps": images[:, 0]}, sample((300, 250)), images[0, 0], ())
    assert made is not None
    assert made.count == 40
    assert len(made.steps) == STEPS
    assert (made.steps[0], made.steps[-1]) == (0, 39)
    sizes = {decoded(cell).shape for strip in made.strips for cell in strip.cells}
    assert sizes == {(SIZE, round(SIZE * 250 / 300), 3)}


def test_volumes_show_their_fullest_slice() -> None:
    volume = np.zeros((2, 5, 16, 16), np.float32)
    volume[:, 3, 4:8] = 1
    heat = np.zeros((5, 16, 16), np.float32)
    heat[3] = 1
    made = kept({"masks": volume}, sample((5, 16, 16)), heat, ())
    assert made is not None
    assert np.array_equal(decoded(made.strips[0].cells[1])[..., 0] > 127, volume[1, 3] > 0)
