"""Tests of the synthetic chest scans: repeatable images, and readers who differ plausibly."""

from collections import Counter

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof_phantom.thorax import READERS, TRAITS, thorax

SCANS = [thorax(patient, 5, 48) for patient in range(12)]


def test_repeated_drawings_are_identical():
    again = thorax(3, 5, 48)
    np.testing.assert_array_equal(again.image, SCANS[3].image)
    assert again.extras == SCANS[3].extras
    assert not np.array_equal(thorax(3, 6, 48).image, again.image)


def test_shapes_and_types():
    for scan in SCANS:
        assert (scan.image.shape, scan.image.dtype) == ((1, 24, 48, 48), np.uint16)
        assert scan.geometry.native == scan.space == (24, 48, 48)
        assert [annotation.reader for annotation in scan.annotations] == list(READERS)
        assert all(annotation.values.shape == scan.space for annotation in scan.annotations)


def test_nodules_are_none_to_three():
    counts = Counter(len({rating["nodule"] for rating in scan.extras["ratings"]}) for scan in SCANS)
    assert set(counts) == {0, 1, 2, 3}


def test_boxes_hold_every_annotated_voxel():
    for scan in SCANS:
        for annotation in scan.annotations:
            remaining = annotation.values.copy()
            for rating in scan.extras["ratings"]:
                if rating["reader"] == annotation.reader:
                    box = tuple(slice(*ends) for ends in rating["box"])
                    assert remaining[box].any()
                    remaining[box] = False
            assert not remaining.any()


def test_readers_agree_without_being_the_same():
    for scan in SCANS:
        for number in {rating["nodule"] for rating in scan.extras["ratings"]}:
            ratings = [rating for rating in scan.extras["ratings"] if rating["nodule"] == number]
            masks = {annotation.reader: annotation.values for annotation in scan.annotations}
            if len(ratings) > 1:
                first, second = (masks[rating["reader"]] for rating in ratings[:2])
                assert (first & second).sum() > 0
                assert (first != second).any()
            assert all(1 <= rating[name] <= 6 for rating in ratings for name in TRAITS)


def test_nodules_are_denser_than_the_lung():
    for scan in SCANS:
        unanimous = np.logical_and.reduce([annotation.values for annotation in scan.annotations])
        if unanimous.any():
            assert scan.image[0][unanimous].mean() > scan.image.mean() + 10_000


def test_malignancy_spreads_over_the_scale():
    ratings = [rating for scan in SCANS for rating in scan.extras["ratings"]]
    assert {rating["malignancy"] for rating in ratings} == {1, 2, 3, 4, 5}


def test_a_scan_of_too_few_voxels_is_refused():
    with pytest.raises(DataError, match="47 voxels shows no nodule; give at least 48"):
        thorax(0, 0, 47)
