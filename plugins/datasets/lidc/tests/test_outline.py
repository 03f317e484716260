"""Tests of edge maps: against a flood fill, and from mask to edge maps and back."""

import numpy as np
import pytest

from heatproof_lidc.outline import edge_maps, enclosed


def filled(chains: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for chain in chains:
        mask[tuple(enclosed(chain).T)] = True
    return mask


def reached_from_outside(chain: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Flood-fill a mask from the corner, pixel by pixel, without crossing the chain."""
    wall = {tuple(pixel) for pixel in chain.tolist()}
    visited = set()
    front = [(0, 0)]
    while front:
        row, column = pixel = front.pop()
        if pixel in visited or pixel in wall or not (0 <= row < shape[0] and 0 <= column < shape[1]):
            continue
        visited.add(pixel)
        front += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    reached = np.zeros(shape, dtype=bool)
    reached[tuple(np.array(sorted(visited)).T)] = True
    return reached


def disc(radius: float, shape: tuple[int, int] = (24, 26)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows - 10.3) ** 2 + (columns - 12.1) ** 2 * 0.7 <= radius**2)


@pytest.mark.parametrize("radius", [0.5, 1, 1.5, 2.2, 3.7, 6, 8.4])
def test_a_disc_survives_the_round_trip(radius: float) -> None:
    mask = disc(radius)
    (chain,) = edge_maps(mask)
    assert not mask[tuple(chain.T)].any()
    steps = np.abs(np.roll(chain, -1, axis=0) - chain).max(axis=1)
    assert (steps == 1).all()
    np.testing.assert_array_equal(filled([chain], mask.shape), mask)
    outside = reached_from_outside(chain, mask.shape)
    outside[tuple(chain.T)] = True
    np.testing.assert_array_equal(mask, ~outside)


def test_every_part_has_an_edge_map_and_holes_are_filled() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:6, 2:8] = mask[10:17, 4:12] = True
    whole = mask.copy()
    mask[12:14, 6:9] = False
    chains = list(edge_maps(mask))
    assert len(chains) == 2
    np.testing.assert_array_equal(filled(chains, mask.shape), whole)


def test_any_mask_survives_the_round_trip_with_bays_closed() -> None:
    from scipy import ndimage

    rng = np.random.default_rng(3)
    for _ in range(40):
        mask = ndimage.gaussian_filter(rng.standard_normal((30, 30)), 2.5) > 0.05
        mask[[0, -1]] = mask[:, [0, -1]] = False
        back = filled(list(edge_maps(mask)), mask.shape)
        closed = ndimage.binary_erosion(ndimage.binary_fill_holes(ndimage.binary_dilation(mask)))
        np.testing.assert_array_equal(back, closed)


def test_a_point_and_a_line_enclose_nothing() -> None:
    assert enclosed(np.array([[4, 5]])).shape == (0, 2)
    assert enclosed(np.array([[4, 5], [4, 6], [4, 7], [4, 6]])).shape == (0, 2)
