"""Gaze maps against SciPy's filter, explicit sums over frames, and values computed by hand."""

import time

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import multivariate_normal

from heatproof.imaging.area import Grid, coverage
from heatproof.records import Array
from heatproof_eyetracking.gaze import SCALES, Frames, counted, dwelt, joined, linear, reflected, viridis_luma

RANDOM = np.random.default_rng(4)


def points(count: int, shape: tuple[int, ...]) -> Array:
    return RANDOM.random((count, len(shape))) * shape


def counts(positions: Array, shape: tuple[int, ...]) -> Array:
    values = np.zeros(shape)
    np.add.at(values, tuple(positions.astype(int).T), 1)
    return values


@pytest.mark.parametrize(
    ("shape", "sigma"),
    [((40, 70), 3.3), ((40, 70), 25.0), ((9, 5), 40.0), ((7, 6, 8), 1.5), ((300, 260), 150.0), ((1, 4), 2.0)],
)
def test_counted_equals_scipy(shape: tuple[int, ...], sigma: float) -> None:
    positions = points(11, shape)
    frames = counted(positions, shape, sigma)
    np.testing.assert_allclose(frames.total(), gaussian_filter(counts(positions, shape), sigma), rtol=0, atol=1e-12)
    for position, frame in zip(positions, frames.values(), strict=True):
        np.testing.assert_allclose(frame, gaussian_filter(counts(position[None], shape), sigma), rtol=0, atol=1e-12)


def test_one_fixation() -> None:
    """The values of a normalised Gaussian with sigma 1, cut off at 4."""
    values = counted(np.array([[4.5, 4.5]]), (9, 9), 1.0).total()
    assert (values[4, 4], values[4, 5], values[5, 5]) == pytest.approx((0.15915589, 0.09653293, 0.05855018), abs=5e-9)
    assert values.sum() == pytest.approx(1)


def test_three_fixations_at_two_pixels() -> None:
    """Two fixations share the pixel (4, 2), one is at (4, 6), and (4, 4) is between them."""
    values = counted(np.array([[4, 2], [4.9, 2.2], [4, 6]]), (9, 9), 1.0).total()[4, [2, 6, 4]]
    np.testing.assert_allclose(values, [0.31836517, 0.15926267, 0.06461822], atol=5e-9)


def test_linear_scale_of_three_fixations() -> None:
    density = counted(np.array([[4, 2], [4.9, 2.2], [4, 6]]), (9, 9), 1.0).total()
    np.testing.assert_allclose(linear(density)[4, [2, 6, 4]], [1, 0.50023928, 0.20294931], atol=5e-9)


def test_no_fixation_is_an_all_zero_map() -> None:
    nothing = np.empty((0, 2))
    for frames in (
        counted(nothing, (5, 7)),
        counted(nothing, (5, 7)).windowed(2),
        dwelt(nothing, np.empty(0), nothing, np.empty((0, 2, 2)), (5, 7)),
    ):
        assert len(frames) == 0
        assert frames.values().shape == (0, 5, 7)
        np.testing.assert_array_equal(frames.total(), np.zeros((5, 7)))
        for scale in SCALES.values():
            np.testing.assert_array_equal(scale(frames.total()), np.zeros((5, 7)))


@pytest.mark.parametrize("shape", [(30, 50), (6, 5, 4)])
@pytest.mark.parametrize("width", [0, 1, 3, 99])
def test_windows_weigh_neighbours_and_leave_the_frames_alone(shape: tuple[int, ...], width: int) -> None:
    frames = counted(points(8, shape), shape, 4.0)
    single = frames.values()
    windowed = frames.windowed(width)
    expected = np.zeros_like(single)
    for i in range(8):
        for j in range(max(0, i - width), min(8, i + width + 1)):
            expected[i] += np.exp(-abs(i - j)) * single[j]
    np.testing.assert_allclose(windowed.values(), expected, atol=1e-14)
    np.testing.assert_allclose(windowed.total(), expected.sum(axis=0), atol=1e-14)
    np.testing.assert_array_equal(frames.values(), single)
    twice = windowed.windowed(1)
    np.testing.assert_allclose(twice.values()[0], expected[0] + np.exp(-1) * expected[1], atol=1e-14)


def test_frames_sum_to_the_static_map() -> None:
    frames = counted(points(20, (50, 60)), (50, 60), 7.0)
    np.testing.assert_allclose(frames.windowed(0).values().sum(axis=0), frames.total(), atol=1e-14)


def test_moving_profiles_equals_moving_maps() -> None:
    grid = Grid((50, 60), (9, 8), (6.5, 7.5))
    frames = counted(points(6, (50, 60)), (50, 60), 5.0).windowed(1)
    moved = frames.on(grid.edges)
    assert (len(moved), moved.space) == (6, (9, 8))
    np.testing.assert_allclose(moved.values(), coverage(frames.values(), grid.edges), atol=1e-8)
    np.testing.assert_allclose(moved.total(), coverage(frames.total(), grid.edges), atol=1e-7)


@pytest.mark.slow
def test_a_full_size_map_is_fast_and_its_frames_small() -> None:
    shape = (3056, 2544)
    positions = points(45, shape)
    started = time.process_time()
    frames = counted(positions, shape)
    frames.total()
    assert time.process_time() - started < 1.5
    assert sum(profile.nbytes for profile in frames.profiles) < 2.1e6


def test_dwelt_equals_bivariate_normals() -> None:
    shape = (40, 30)
    positions = points(5, shape)
    seconds = RANDOM.random(5)
    sigmas = RANDOM.uniform(2, 5, (5, 2))
    shown = np.array([[[0, 40], [0, 30]]] * 3 + [[[10, 25.4], [4.6, 20]], [[30, 44], [-3, 12]]])
    rows, columns = np.mgrid[:40, :30]
    expected = np.zeros(shape)
    for position, duration, sigma, ((top, bottom), (left, right)) in zip(positions, seconds, sigmas, np.rint(shown)):
        density = multivariate_normal(position - 0.5, np.diag(sigma**2)).pdf(np.dstack([rows, columns]))
        expected += duration * density * ((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right))
    frames = dwelt(positions, seconds, sigmas, shown, shape)
    np.testing.assert_allclose(frames.total(), expected / expected.sum(), rtol=1e-12, atol=1e-15)
    assert frames.total().sum() == pytest.approx(1)
    np.testing.assert_allclose(frames.values().sum(axis=0), frames.total(), atol=1e-15)


def test_fixations_outside_the_shown_part_weigh_nothing() -> None:
    shown = np.array([[[50, 60], [0, 30]]])
    frames = dwelt(np.array([[5.0, 5.0]]), np.ones(1), np.full((1, 2), 3.0), shown, (40, 30))
    assert not frames.total().any()


def test_viridis_luma_equals_an_image_written_by_matplotlib_and_read_as_grey(tmp_path) -> None:
    density = counted(points(9, (40, 50)), (40, 50), 4.0).total()
    from matplotlib import image

    image.imsave(tmp_path / "heatmap.png", density, cmap="viridis")
    with Image.open(tmp_path / "heatmap.png") as opened:
        expected = np.asarray(opened.convert("RGB").convert("L")) / 255
    values = viridis_luma(density)
    np.testing.assert_array_equal(values, expected)
    assert (values.min(), values.max()) == (30 / 255, 215 / 255)
    order = np.argsort(density, axis=None)
    assert (np.diff(values.ravel()[order]) >= 0).all()
    assert matplotlib.rcParams["image.cmap"] == "viridis", "imsave uses this colour map by default"


def test_profiles_have_sum_one() -> None:
    np.testing.assert_allclose(reflected(np.arange(7), 7, 20.0).sum(axis=1), 1)
    assert Frames((np.ones((2, 3)),)).space == (3,)


def test_readings_are_joined() -> None:
    first, second = (counted(points(count, (9, 8)), (9, 8), 2.0) for count in (3, 4))
    for parts in ([first, second], [first.windowed(1), second], [first], []):
        frames = joined(parts, (9, 8))
        values = [part.values() for part in parts]
        np.testing.assert_allclose(frames.values(), np.concatenate([np.zeros((0, 9, 8)), *values]), atol=1e-15)
        assert len(frames) == sum(map(len, parts))
        np.testing.assert_allclose(frames.total(), sum((part.total() for part in parts), np.zeros((9, 8))))
    empty = joined([], (9, 8)).on([np.linspace(0, 9, 4), np.linspace(0, 8, 5)])
    assert empty.values().shape == (0, 3, 4)
