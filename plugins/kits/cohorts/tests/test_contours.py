"""Contours are read from tables and JSON and become masks of the area that they enclose."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from heatproof.errors import DataError
from heatproof.imaging.outlines import Overhang, enclosed_area
from heatproof_cohorts.contours import Contour, contour_masks, read_contours

SQUARE = [[1, 2], [3, 2], [3, 4], [1, 4]]


def table(root: Path, text: str) -> Path:
    (root / "a.csv").write_text(text)
    return root / "a.csv"


def json_file(root: Path, value: Any) -> Path:
    (root / "a.json").write_text(json.dumps(value))
    return root / "a.json"


def area(points: np.ndarray) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def as_objects(contours: tuple[Contour, ...]) -> list[dict[str, Any]]:
    return [
        {"finding": contour.finding, "reader": contour.reader, "points": contour.points.tolist()}
        for contour in contours
    ]


def test_tables_and_json_give_the_same_contours(tmp_path: Path) -> None:
    rows = "".join(f"spot,A,7,{x},{y}\n" for x, y in SQUARE)
    text = f"finding,reader,contour,x,y\n{rows}spot,B,,,\nscar,A,7,0,0\nscar,A,7,0,2\nscar,A,7,2,0\n"
    objects = [
        {"finding": "spot", "reader": "A", "points": SQUARE},
        {"finding": "spot", "reader": "B", "points": []},
        {"finding": "scar", "reader": "A", "points": [[0, 0], [0, 2], [2, 0]]},
    ]
    contours = read_contours(table(tmp_path, text))
    assert as_objects(contours) == as_objects(read_contours(json_file(tmp_path, objects))) == objects
    first, absent, _ = contour_masks(contours, (5, 6), "a file")
    assert (first.finding, first.reader, first.kind, first.source) == ("spot", "A", "mask", "a file")
    expected = np.zeros((5, 6))
    expected[2:4, 1:3] = 1
    np.testing.assert_array_equal(first.values, expected)
    assert (absent.reader, absent.values.any()) == ("B", False)


def test_readers_may_be_missing(tmp_path: Path) -> None:
    assert read_contours(table(tmp_path, "x;y;finding;contour\n1;1;a;1\n2;1;a;1\n2;2;a;1\n"))[0].reader == ""
    assert read_contours(json_file(tmp_path, [{"finding": "a", "points": SQUARE}]))[0].reader == ""


@pytest.mark.parametrize("seed", range(6))
def test_areas_are_exact(seed: int) -> None:
    """The total area agrees with the shoelace formula, and each pixel's share with the points of a fine grid inside."""
    generator = np.random.default_rng(seed)
    angles = np.sort(generator.random(17)) * 2 * np.pi
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * generator.uniform(2, 9, (17, 1)) + 9.3
    share = enclosed_area(points)
    partial = np.count_nonzero((share > 0) & (share < 1))
    assert float(share.sum(dtype=np.float64)) == pytest.approx(area(points), abs=partial / 256)
    height, width = share.shape
    fine = 40
    rows, columns = np.mgrid[: height * fine, : width * fine]
    inside = Outline(points).contains_points(np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1) / fine)
    expected = inside.reshape(height, fine, width, fine).mean(axis=(1, 3))
    np.testing.assert_allclose(share, expected, atol=0.03)


def test_a_lesion_below_one_pixel_keeps_its_area() -> None:
    points = np.array([[3.25, 5.25], [3.75, 5.25], [3.75, 5.5], [3.25, 5.5]])
    share = enclosed_area(points)
    assert np.count_nonzero(share) == 1
    assert share[5, 3] == 0.125


def test_an_outline_that_crosses_itself_is_filled() -> None:
    angles = np.arange(5) * 4 * np.pi / 5
    star = 10 + 9 * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    assert enclosed_area(star)[10, 10] == 1


def test_contours_of_one_reader_add_up(tmp_path: Path) -> None:
    halves = [[[0, 0], [0.5, 0], [0.5, 2], [0, 2]], [[0.5, 0], [2, 0], [2, 2], [0.5, 2]], [[0, 0], [1, 0], [1, 1]]]
    contours = read_contours(json_file(tmp_path, [{"finding": "a", "points": points} for points in halves]))
    (annotation,) = contour_masks(contours, (3, 3), "")
    np.testing.assert_allclose(annotation.values[:2, :2], 1)
    assert annotation.values.max() <= 1
    assert not annotation.values[2].any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "is not a list of objects"),
        ({"finding": "a"}, "is not a list of objects"),
        ([{"points": SQUARE}], r"an object has no 'finding'"),
        ([{"finding": "a", "points": [[1, 2, 3]] * 3}], "contour 1: a corner is not a pair of numbers"),
        ([{"finding": "a", "points": [["x", 2]] * 3}], "a corner is not a pair of numbers"),
        ([{"finding": "a", "points": SQUARE[:2]}], "three corners or more"),
        ([{"finding": "", "points": SQUARE}], "needs a finding"),
        ([{"finding": "a", "points": [[1, np.nan], [2, 3], [4, 5]]}], "all finite"),
    ],
)
def test_json_that_cannot_be_used(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_contours(json_file(tmp_path, content))


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json is not a list of objects with finding and points \(Expecting"):
        read_contours(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finding,x,y\na,1,1\n", "has no column 'contour'"),
        ("finding,contour,x,y\na,1,1,left\n", "line 2: a corner is not a pair of numbers"),
        ("finding,contour,x,y\na,1,1,\na,1,2,2\na,1,3,4\n", "a corner is not a pair of numbers"),
        ("finding,contour,x,y\na,1,1,1\n", "three corners or more"),
        ("finding,contour,x,y\na,1,1,1,7\n", "5 values for 4 columns"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_contours(table(tmp_path, text))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0], [7, 0], [7, 3]], "leaves the image of 5 × 6 pixels"),
        ([[-1, 0], [2, 0], [2, 3]], "leaves the image"),
        ([[1, 1], [4, 1], [2, 1]], "encloses no area"),
    ],
)
def test_contours_that_do_not_fit(tmp_path: Path, points: Any, message: str) -> None:
    contours = read_contours(json_file(tmp_path, [{"finding": "a", "points": points}]))
    with pytest.raises(DataError, match=f"contour 1: the contour {message}"):
        contour_masks(contours, (5, 6), "")


def test_json_that_is_nested_without_end_is_an_error_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"a\.json is not a list of objects with finding and points"):
        read_contours(path)


def test_contours_half_a_pixel_outside_are_clipped_exactly_and_counted() -> None:
    points = np.array([(-0.5, -0.25), (3.0, -0.25), (3.0, 6.5), (-0.5, 6.5)])
    overhang = Overhang()
    (mask,) = contour_masks([Contour("scar", "", points, "a.csv, line 2")], (6, 8), "", overhang)
    expected = np.zeros((6, 8))
    expected[:, :3] = 1
    np.testing.assert_array_equal(mask.values, expected)
    assert overhang.clipped == {"a.csv, line 2": "a.csv, line 2: the contour leaves the image by 0.5 pixels"}
    with pytest.raises(DataError, match=r"set overhang \(now 0.25\) to the pixels"):
        contour_masks([Contour("scar", "", points, "a.csv, line 2")], (6, 8), "", Overhang(0.25))
