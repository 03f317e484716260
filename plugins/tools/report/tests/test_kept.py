"""The kept arrays of a case on the page: exact masks, one colour per class, and one colour scale for all steps."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from heatproof.records import Array, Sample
from heatproof_report.kept import PALETTE, SIZE, STEPS, KeptArrays, kept_arrays, sequence


def decoded(uri: str) -> Array:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def sample(space: tuple[int, ...] = (16, 16)) -> Sample:
    return Sample("a", np.zeros((3, *space), np.float32))


def drawn(
    arrays: dict[str, Array], prepared: Sample, heatmap: Array | None = None, classes: tuple[str, ...] = ()
) -> KeptArrays:
    """The kept arrays of a case with an all-zero heatmap by default."""
    if heatmap is None:
        heatmap = np.zeros(prepared.space)
    result = kept_arrays(arrays, prepared, heatmap, classes)
    assert result is not None
    return result


def test_padding_after_the_last_step_is_cut_off() -> None:
    images = np.full((5, 3, 16, 16), np.nan, np.float32)
    images[:3] = 1
    images[1] = np.nan
    steps = sequence(images, (16, 16))
    assert steps is not None
    assert len(steps) == 3
    numbers = sequence(np.array([1, 2, np.nan, np.nan]), (16, 16))
    assert numbers is not None
    assert numbers.tolist() == [1, 2]
    assert [sequence(np.zeros(shape), (16, 16)) for shape in ((3, 4), (2, 1, 3, 16, 16), (16, 3))] == [None] * 3


def test_nothing_kept_shows_nothing() -> None:
    values = np.zeros((16, 16), np.float32)
    assert kept_arrays({}, sample(), values, ()) is None
    assert kept_arrays({"masks": np.full((3, 16, 16), np.nan)}, sample(), values, ()) is None


def test_masks_keep_every_pixel() -> None:
    masks = np.random.default_rng(0).random((3, 300, 300)) > 0.5
    (strip,) = drawn({"masks": masks.astype(np.float32)}, sample((300, 300))).strips
    for mask, cell in zip(masks, strip.cells, strict=True):
        assert np.array_equal(decoded(cell)[..., 0] > 127, mask)


def test_class_maps_have_a_colour_per_class() -> None:
    indices = np.arange(256, dtype=np.float32).reshape(16, 16) % 4 - 1
    (strip,) = drawn({"class": indices}, sample(), classes=("first", "second")).strips
    assert [label for _, label in strip.legend] == ["none", "first", "second", "2"]
    assert [colour for colour, _ in strip.legend][1:] == list(PALETTE[:3])
    pixels = decoded(strip.cells[0])
    for index, (colour, _) in enumerate(strip.legend, start=-1):
        assert {"#" + bytes(pixel).hex() for pixel in pixels[indices == index].tolist()} == {colour}


def test_a_map_of_two_classes_is_no_mask() -> None:
    (strip,) = drawn({"class": np.ones((16, 16), np.float32)}, sample(), classes=("first", "second")).strips
    assert strip.legend == ((PALETTE[1], "second"),)


def test_all_steps_share_one_scale_of_brightness_and_heat() -> None:
    steps = np.array([0.0, 1.0, 2.0, 4.0])
    maps = np.ones((4, 16, 16)) * steps[:, None, None]
    strips = drawn({"maps": maps, "images": maps[:, None]}, sample(), maps[0]).strips
    heats, images = ([decoded(cell).astype(int).sum() for cell in strip.cells] for strip in strips)
    assert heats == sorted(set(heats))
    assert heats[0] == 0
    grey = [decoded(cell)[..., 0].mean() for cell in strips[1].cells]
    assert grey == pytest.approx(255 * steps / 4, abs=3)
    assert len(set(images)) == 4


def test_long_sequences_stay_small() -> None:
    generator = np.random.default_rng(0)
    images = generator.random((40, 3, 300, 250), np.float32)
    result = drawn({"images": images, "maps": images[:, 0]}, sample((300, 250)), images[0, 0])
    assert result.count == 40
    assert len(result.steps) == STEPS
    assert (result.steps[0], result.steps[-1]) == (0, 39)
    for strip in result.strips:
        assert {decoded(cell).shape for cell in strip.cells} == {(SIZE, round(SIZE * 250 / 300), 3)}


def test_volumes_show_their_fullest_slice() -> None:
    volume = np.zeros((2, 5, 16, 16), np.float32)
    volume[:, 3, 4:8] = 1
    heatmap = np.zeros((5, 16, 16), np.float32)
    heatmap[3] = 1
    (strip,) = drawn({"masks": volume}, sample((5, 16, 16)), heatmap).strips
    assert np.array_equal(decoded(strip.cells[1])[..., 0] > 127, volume[1, 3] > 0)


def test_a_single_number_is_not_shown() -> None:
    assert sequence(np.array(3.0), (16, 16)) is None
    assert sequence(np.full((4, 5), 1.0), (16, 16)) is None
