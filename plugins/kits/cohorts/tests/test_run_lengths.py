"""COCO run lengths are those of pycocotools in both directions, and damaged ones are refused."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from heatproof.errors import DataError
from heatproof_cohorts.run_lengths import encoded_mask, mask_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")


def reference(mask: np.ndarray) -> dict[str, Any]:
    """The mask as pycocotools encodes it."""
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.98, 1])
def test_masks_are_those_of_pycocotools(share: float) -> None:
    rng = np.random.default_rng(int(100 * share))
    for _ in range(30):
        shape = tuple(rng.integers(1, 40, 2).tolist())
        mask = rng.random(shape) < share
        assert encoded_mask(mask) == reference(mask)
        np.testing.assert_array_equal(mask_of(reference(mask), shape, "a file"), mask)
        np.testing.assert_array_equal(coco.decode(encoded_mask(mask)), mask)


def test_long_runs_have_several_characters() -> None:
    mask = np.zeros((700, 1300), dtype=bool)
    mask[1:699, 2:1290] = True
    assert encoded_mask(mask) == reference(mask)
    np.testing.assert_array_equal(mask_of(reference(mask), mask.shape, "a file"), mask)


def test_a_list_of_counts_and_fractional_masks() -> None:
    """Runs go down the columns and begin with false pixels; half of a pixel counts as covered."""
    expected = np.array([[0, 1, 0], [1, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(mask_of({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3), "a file"), expected)
    np.testing.assert_array_equal(mask_of({"size": [2, 3], "counts": [0, 6]}, (2, 3), "a file"), np.ones((2, 3)))
    np.testing.assert_array_equal(mask_of(encoded_mask(expected * 0.5), (2, 3), "a file"), expected)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ({"size": [4, 6], "counts": "92203"}, r"the mask has the size \[4, 6\], its image \[4, 5\]"),
        ({"size": [5, 4], "counts": "92203"}, "one of them was resized"),
        ({"size": [4, 5], "counts": "9220"}, "fill 15 of 20 pixels"),
        ({"size": [4, 5], "counts": ""}, "fill 0 of 20 pixels"),
        ({"size": [4, 5], "counts": "PVWX6"}, "fill 6560960 of 20 pixels"),
        ({"size": [4, 5], "counts": [25, -5]}, "a count of the mask is -5"),
        ({"size": [4, 5], "counts": "9 "}, "a wrong character ' '"),
        ({"size": [4, 5], "counts": "é"}, "a wrong character 'é'"),
        ({"size": [4, 5], "counts": "o" * 9}, "a wrong character 'o'"),
        ({"size": [4, 5], "counts": "o"}, "end within a number"),
        ({"size": [4, 5], "counts": [20.0]}, "text or whole numbers"),
        ({"size": [4, 5], "counts": None}, "text or whole numbers"),
        ({"counts": "92203"}, "needs size and counts"),
        ({"size": "4, 5", "counts": "92203"}, "the mask has the size 4, 5"),
        ([[1, 2], [3, 4]], "needs size and counts"),
    ],
)
def test_damaged_masks_are_refused(encoded: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        mask_of(encoded, (4, 5), "masks.json, image 7")
    assert str(refusal.value).startswith("masks.json, image 7: ")
