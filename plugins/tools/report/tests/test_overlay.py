"""The images of a case: colours of heat, outlines round masks, slices of volumes."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Geometry, Sample
from heatproof_report.overlay import heat, outlines, overlay


def decoded(uri: str) -> Array:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_heat_with_sign_is_transparent_at_zero() -> None:
    values = np.zeros((32, 32), np.float32)
    values[:, :8] = -2.0
    values[:, 24:] = 1.0
    layer = heat(values)
    pixels = decoded(layer.uri).astype(int)
    assert (layer.signed, layer.low, layer.high) == (True, -2.0, 2.0)
    assert pixels[16, 16, 3] < 10
    assert pixels[16, 3, 3] > 245
    assert pixels[16, 3, 2] > pixels[16, 3, 0]
    assert pixels[16, 28, 0] > pixels[16, 28, 2]
    assert abs(pixels[16, 28, 3] - 255 * 0.5**0.5) < 8


def test_heat_without_sign_grows_with_the_value() -> None:
    values = np.repeat(np.linspace(1, 3, 64, dtype=np.float32)[None], 64, axis=0)
    layer = heat(values)
    alpha = decoded(layer.uri)[32, :, 3].astype(int)
    assert not layer.signed
    assert layer.low == 1
    assert alpha[2] < alpha[20] < alpha[40] < alpha[60]


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_heat_of_one_value_has_colours(value: float) -> None:
    assert np.isfinite(decoded(heat(np.full((8, 8), value, np.float32)).uri)).all()


def test_outline_runs_round_the_mask() -> None:
    mask = np.zeros((40, 50), np.float32)
    mask[10:14, 20:30] = 0.2
    (layer,) = outlines(
        Sample("a", np.zeros((3, 40, 50)), (Annotation("spot", mask), Annotation("none", 0 * mask))), ()
    )
    (line,) = re.findall(r"M([^z]*)z", layer.path)
    points = np.cumsum(np.array(line.replace("l", " ").split(), float).reshape(-1, 2), axis=0)
    assert layer.finding == "spot"
    assert layer.share == pytest.approx(0.2 * 40 / 2000)
    assert np.abs(points.min(0) - [20 - 2.5, 10 - 2.5]).max() < 1
    assert np.abs(points.max(0) - [30 + 2.5, 14 + 2.5]).max() < 1


def test_findings_keep_their_style() -> None:
    mask = np.ones((8, 8), np.float32)
    alone = outlines(Sample("a", np.zeros((3, 8, 8)), (Annotation("second", mask),)), ("first", "second"))
    both = outlines(Sample("a", np.zeros((3, 8, 8)), (Annotation("first", mask), Annotation("second", mask))), ())
    assert (alone[0].colour, alone[0].dash) == (both[1].colour, both[1].dash)
    assert both[0].colour != both[1].colour
    assert both[0].dash != both[1].dash


def test_volume_shows_the_slice_with_the_most_annotation() -> None:
    image = np.zeros((1, 5, 16, 16), np.float32)
    image[0, 3, :8] = 1
    mask = np.zeros((5, 16, 16), np.float32)
    mask[3, 4:8, 4:8] = 1
    sample = Sample("a", image, (Annotation("spot", mask),), geometry=Geometry.identity((5, 16, 16)))
    values = np.zeros((5, 16, 16), np.float32)
    values[3] = np.arange(16)
    layers = overlay(sample, None, values, ())
    assert layers.remark == "Slice 4 of 5, the slice with the most annotation."
    assert decoded(layers.original)[:, :, 0].mean() == pytest.approx(127.5, abs=8)
    assert layers.heat.high == pytest.approx(15)


@pytest.mark.parametrize("annotations", [(), (Annotation("spot", np.zeros((5, 16, 16), np.float32)),)])
def test_volume_without_annotated_pixels_shows_the_slice_with_the_most_heat(
    annotations: tuple[Annotation, ...],
) -> None:
    sample = Sample("a", np.zeros((1, 5, 16, 16), np.float32), annotations)
    values = np.zeros((5, 16, 16), np.float32)
    values[1] = -1
    layers = overlay(sample, None, values, ())
    assert layers.remark == "Slice 2 of 5, the slice with the most heat."


def test_heatmap_of_another_size_is_refused() -> None:
    sample = Sample("a", np.zeros((1, 8, 8), np.float32))
    with pytest.raises(DataError, match=r"shape \(4, 4\), the prepared sample \(8, 8\): the data have changed since"):
        overlay(sample, None, np.zeros((4, 4), np.float32), ())
