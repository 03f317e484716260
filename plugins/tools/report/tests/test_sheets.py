"""Sheets of tiles: heatmaps and masks come back from them within a few steps of their scale."""

import base64
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heatproof.records import Array
from heatproof_report.layers import Heat, Layers, heat
from heatproof_report.sheets import Tiling, codes, sheet, tiles, tiling


def decoded(uri: str) -> Array:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)


def cut(pixels: Array, layout: Tiling, index: int) -> Array:
    across, down = layout.pitch
    left = index % layout.columns * across
    top = index // layout.columns * down
    return pixels[top : top + layout.height, left : left + layout.width]


@pytest.fixture
def case() -> Layers:
    rows, columns = np.mgrid[:50, :70]
    ramp = columns / 70 - 0.5
    original = np.stack([rows * 5, columns * 3, 0 * rows], axis=-1).astype(np.uint8)
    mask = (rows - 20) ** 2 + (columns - 30) ** 2 < 100
    owner: Any = SimpleNamespace(model="m")
    return Layers(owner, "c", original, {"spot": mask}, [heat("ramp", ramp), heat("flat", 0 * ramp)])


@pytest.mark.parametrize("reduced", [False, True])
def test_what_goes_in_comes_out(case: Layers, reduced: bool) -> None:
    images = tiles(case, ["flat", "ramp", "absent"])
    side = 35 if reduced else None
    layout = tiling((50, 70), len(images), side)
    assert (layout.width, layout.height, layout.columns, layout.rows) == ((35, 25) if reduced else (70, 50)) + (3, 2)
    pixels = decoded(sheet(images, layout, reduced))
    step = 2 if reduced else 1
    expected = codes(case.heats[0])[::step, ::step].astype(int)
    assert np.abs(cut(pixels, layout, 2)[..., 0] - expected).mean() < 6
    assert cut(pixels, layout, 3).max() < 12
    mask = cut(pixels, layout, 4)[..., 0] > 127
    assert (mask != case.masks["spot"][::step, ::step]).mean() < 0.03
    assert np.abs(cut(pixels, layout, 0) - case.original[::step, ::step]).mean() < 12


def test_codes_span_the_scale() -> None:
    values = np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]])
    assert codes(Heat("a", values, -1, 1, True)).tolist() == [[0, 0, 128, 255, 255]]
    assert codes(Heat("a", np.ones((1, 2)), 1, 1, False)).tolist() == [[0, 0]]
