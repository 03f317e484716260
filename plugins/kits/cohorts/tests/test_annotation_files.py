"""Masks, densities, contours and boxes below a folder: what is written is read back; plugins test what does not fit."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Annotation, Sample
from heatproof_cohorts.annotation_files import MarkedFolder, Marks
from heatproof_cohorts.image_files import write_mask

SHAPE = (6, 8)


def box(top: float, bottom: float, left: float, right: float) -> Annotation:
    """The area of each pixel that the box covers."""
    ends = [np.clip(np.minimum(high, np.arange(n) + 1) - np.maximum(low, np.arange(n)), 0, 1) for low, high, n in (
        (top, bottom, SHAPE[0]), (left, right, SHAPE[1])
    )]  # fmt: skip
    return Annotation("nodule", np.outer(*ends), "box")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1, 2:5] = True
    density = np.linspace(0, 3, 48).reshape(SHAPE)
    marks = (
        Annotation("scar", mask, reader="A"),
        Annotation("scar", mask[:, ::-1], reader="B"),
        Annotation("gaze", density, "density"),
        box(1.25, 4, 2, 6.5),
        box(0, 0, 0, 0),
    )
    folder = MarkedFolder(tmp_path)
    file = folder.add(Sample("s", np.zeros((1, *SHAPE), dtype=np.uint8), marks), "s")
    folder.close()
    assert (tmp_path / file).is_file()
    found = Marks(tmp_path, absent=False)
    assert found.findings == ("gaze", "nodule", "scar")
    read = {(mark.finding, mark.kind): mark.values for mark in found.of("s", file, SHAPE) if mark.values.any()}
    np.testing.assert_array_equal(read["scar", "mask"], mask | mask[:, ::-1])
    np.testing.assert_allclose(read["gaze", "density"], density / 3, atol=1e-5)
    np.testing.assert_allclose(read["nodule", "box"], marks[3].values, atol=1e-6)
    assert sum(mark.kind == "box" for mark in found.of("s", file, SHAPE)) == 2
    assert sorted(path.suffix for path in found.files("s")) == [".png", ".tif"]
    assert found.stray({"s"}, {file}) == {
        "masks without an image": [],
        "contours without an image": [],
        "boxes without an image": [],
    }
    assert [len(places) for places in found.stray(set(), set()).values()] == [2, 0, 2]


def test_what_is_not_marked(tmp_path: Path) -> None:
    write_mask(np.ones(SHAPE, dtype=bool), tmp_path / "masks/scar/s.tif")
    assert Marks(tmp_path, absent=False).of("t", "t.png", SHAPE) == ()
    (tmp_path / "densities/gaze").mkdir(parents=True)
    assert Marks(tmp_path, absent=True).findings == ("gaze", "scar")
    (mark,) = Marks(tmp_path, absent=True).of("t", "t.png", SHAPE)  # nobody says that there was no gaze
    assert (mark.finding, mark.values.any()) == ("scar", False)


def test_a_table_of_boxes_with_an_extra_comma_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("file,finding,x1,y1,x2,y2\na.png,scar, old,1,1,2,2\n")
    with pytest.raises(DataError, match="line 2: 7 values for 6 columns"):
        _ = Marks(tmp_path, absent=False).findings
