"""Masks, densities and boxes below a folder are read as they were written; plugins test files that do not fit."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Annotation, Geometry, Sample
from heatproof_cohorts.annotation_files import AnnotationFiles, MarkedFolder
from heatproof_cohorts.image_files import write_mask

SHAPE = (6, 8)


def box(top: float, bottom: float, left: float, right: float) -> Annotation:
    """The area of each pixel that the box covers."""
    covered = []
    for low, high, length in ((top, bottom, SHAPE[0]), (left, right, SHAPE[1])):
        pixels = np.arange(length)
        covered.append(np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, 1))
    return Annotation("nodule", np.outer(*covered), "box")


def test_written_annotations_are_read_back(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1, 2:5] = True
    density = np.linspace(0, 3, 48).reshape(SHAPE)
    annotations = (
        Annotation("scar", mask, reader="A"),
        Annotation("scar", mask[:, ::-1], reader="B"),
        Annotation("gaze", density, "density"),
        box(1.25, 4, 2, 6.5),
        box(0, 0, 0, 0),
    )
    folder = MarkedFolder(tmp_path)
    file = folder.add(Sample("s", np.zeros((1, *SHAPE), dtype=np.uint8), annotations), "s")
    folder.close()
    assert (tmp_path / file).is_file()
    files = AnnotationFiles(tmp_path, absent=False)
    assert files.findings == ("gaze", "nodule", "scar")
    actual = files.of("s", file, Geometry.identity(SHAPE))
    values = {
        (annotation.finding, annotation.kind): annotation.values for annotation in actual if annotation.values.any()
    }
    np.testing.assert_array_equal(values["scar", "mask"], mask | mask[:, ::-1])
    np.testing.assert_allclose(values["gaze", "density"], density / 3, atol=1e-5)
    np.testing.assert_allclose(values["nodule", "box"], annotations[3].values, atol=1e-6)
    assert sum(annotation.kind == "box" for annotation in actual) == 2
    assert sorted(path.suffix for path in files.files("s")) == [".png", ".tif"]


def test_annotations_without_an_image_are_listed(tmp_path: Path) -> None:
    folder = MarkedFolder(tmp_path)
    annotations = (
        Annotation("scar", np.ones(SHAPE, dtype=bool)),
        Annotation("gaze", np.ones(SHAPE), "density"),
        box(1.25, 4, 2, 6.5),
        box(0, 0, 0, 0),
    )
    file = folder.add(Sample("s", np.zeros((1, *SHAPE), dtype=np.uint8), annotations), "s")
    folder.close()
    files = AnnotationFiles(tmp_path, absent=False)
    assert files.stray({"s"}, {file}) == {
        "masks without an image": [],
        "contours without an image": [],
        "boxes without an image": [],
    }
    assert [len(paths) for paths in files.stray(set(), set()).values()] == [2, 0, 2]


def test_findings_without_an_annotation_are_absent_on_request(tmp_path: Path) -> None:
    write_mask(np.ones(SHAPE, dtype=bool), tmp_path / "masks/scar/s.tif")
    assert AnnotationFiles(tmp_path, absent=False).of("t", "t.png", Geometry.identity(SHAPE)) == ()
    (tmp_path / "densities/gaze").mkdir(parents=True)
    files = AnnotationFiles(tmp_path, absent=True)
    assert files.findings == ("gaze", "scar")
    (annotation,) = files.of("t", "t.png", Geometry.identity(SHAPE))  # a density is never absent
    assert (annotation.finding, annotation.values.any()) == ("scar", False)


def test_a_table_of_boxes_with_an_extra_comma_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("file,finding,x1,y1,x2,y2\na.png,scar, old,1,1,2,2\n")
    with pytest.raises(DataError, match="line 2: 7 values for 6 columns"):
        _ = AnnotationFiles(tmp_path, absent=False).findings
