"""Boxes become covered shares of pixels, and the corners of an annotation are those of its box."""

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.imaging.outlines import Overhang
from heatproof.records import Annotation
from heatproof_cohorts.boxes import box_annotation, corners_of

SHAPE = (12, 9)


def test_corners_are_those_of_the_box() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        left, top = rng.uniform(0, 4, 2)
        corners = (left, top, *(np.array([left, top]) + rng.uniform(2, 5, 2)))
        annotation = box_annotation("spot", corners, SHAPE, Overhang(), "a row", "A")
        assert annotation.values.sum() == pytest.approx((corners[2] - left) * (corners[3] - top), rel=1e-5)
        assert corners_of(annotation) == pytest.approx(corners, abs=1e-5)
    assert (annotation.finding, annotation.kind, annotation.reader, annotation.source) == ("spot", "box", "A", "a row")
    assert corners_of(Annotation("spot", np.zeros(SHAPE))) is None


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ((3, 3, 3, 5), "the box 3, 3 – 3, 5 is empty"),
        ((5, 3, 4, 5), "the box 5, 3 – 4, 5 is empty"),
        ((2, 2, 9.6, 4), "the box leaves the image of 12 × 9 pixels by 0.6 pixels"),
        ((20, 2, 30, 4), "the box leaves the image"),
    ],
)
def test_boxes_that_do_not_fit(corners: tuple[float, ...], message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.csv, line 3: {message}"):
        box_annotation("spot", corners, SHAPE, Overhang(), "a.csv, line 3")
