"""CT series: order, spacing and gaps of slices, whatever the names of their files."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from heatproof.errors import DataError
from heatproof_dicom_files.series import list_series
from heatproof_dicom_files.writing import write_dicom

AXIAL = [1, 0, 0, 0, 1, 0]
VOLUME = np.random.default_rng(0).integers(0, 3000, (1, 6, 8, 10)).astype(np.uint16)
NAMES = [f"{number}.dcm" for number in (3, 0, 5, 1, 4, 2)]


def write_slice(path: Path, index: int, z: float, cosines: list[int] = AXIAL, **tags: object) -> None:
    normal = np.cross(*np.reshape(cosines, (2, 3)))
    position = [float(value) for value in np.array([-10.0, -20.0, 0.0]) * (normal == 0) + z * normal]
    tags = {"Modality": "CT", "SeriesInstanceUID": "1.2.3", "PixelSpacing": [0.7, 0.8], "PatientID": "p"} | tags
    write_dicom(VOLUME[:, index], path, ImageOrientationPatient=cosines, ImagePositionPatient=position, **tags)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        write_slice(tmp_path / name, index, -100 + 2.5 * index)
    return tmp_path


def test_slices_are_ordered_by_position_not_by_name(folder: Path) -> None:
    series = list_series(sorted(folder.glob("*.dcm")))
    assert (series.shape, series.spacing, series.orientation) == ((6, 8, 10), (2.5, 0.7, 0.8), "SPL")
    assert [part.path.name for part in series.slices] == NAMES
    assert [part.position[2] for part in series.slices] == [-100 + 2.5 * index for index in range(6)]
    assert [part.uid for part in series.slices] == [pydicom.dcmread(folder / name).SOPInstanceUID for name in NAMES]
    assert series.patient == "p"


@pytest.mark.parametrize(
    ("cosines", "orientation"),
    [([0, 1, 0, 0, 0, -1], "RIP"), ([1, 0, 0, 0, 0, -1], "PIL"), ([1, 0, 0, 0, -1, 0], "IAL")],
)
def test_other_planes_are_ordered_along_their_normal(tmp_path: Path, cosines: list[int], orientation: str) -> None:
    for index in range(6):
        write_slice(tmp_path / NAMES[index], index, 3.0 * index, cosines)
    series = list_series(tmp_path.glob("*.dcm"))
    assert [part.path.name for part in series.slices] == NAMES
    assert (series.orientation, series.spacing) == (orientation, (3.0, 0.7, 0.8))


def test_a_missing_slice_is_named(folder: Path) -> None:
    (folder / NAMES[2]).unlink()
    with pytest.raises(DataError, match=rf"{NAMES[1]} and .*{NAMES[3]} are 5 mm apart, other slices 2\.5 mm"):
        list_series(folder.glob("*.dcm"))


def test_a_double_slice_is_named(folder: Path) -> None:
    shutil.copy(folder / NAMES[2], folder / "copy.dcm")
    with pytest.raises(DataError, match=r"are the same slice twice; delete one of them"):
        list_series(folder.glob("*.dcm"))
    write_slice(folder / "copy.dcm", 0, -100 + 2.5 * 2)
    with pytest.raises(DataError, match=r"are the same slice twice"):
        list_series(folder.glob("*.dcm"))


def test_gaps_may_differ_by_the_rounding_of_headers(folder: Path) -> None:
    write_slice(folder / NAMES[2], 2, -100 + 2.5 * 2 + 0.1)
    assert list_series(folder.glob("*.dcm")).spacing[0] == pytest.approx(2.5)
    write_slice(folder / NAMES[2], 2, -100 + 2.5 * 2 + 0.5)
    with pytest.raises(DataError, match=r"are 3 mm apart, other slices 2\.5 mm"):
        list_series(folder.glob("*.dcm"))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"SeriesInstanceUID": "1.2.4"}, r"differ in SeriesInstanceUID"),
        ({"PixelSpacing": [0.7, 0.9]}, r"differ in PixelSpacing"),
        ({"PatientID": "q"}, r"differ in PatientID"),
        ({"Modality": "DX"}, r"is of modality DX; leave out files that are not slices"),
        ({"PixelSpacing": None}, r"has no PixelSpacing"),
    ],
)
def test_slices_that_do_not_belong_to_the_scan_are_refused(folder: Path, tags: dict[str, object], message: str) -> None:
    write_slice(folder / NAMES[5], 5, -100 + 2.5 * 5, **tags)
    with pytest.raises(DataError, match=message):
        list_series(sorted(folder.glob("*.dcm")))


def test_one_slice_is_no_series(folder: Path) -> None:
    with pytest.raises(DataError, match=r"holds too few slices \(1\); give at least two"):
        list_series([folder / NAMES[0]])
    with pytest.raises(DataError, match=r"holds too few slices \(0\)"):
        list_series([])


def test_slices_are_listed_without_their_pixels(folder: Path) -> None:
    data = pydicom.dcmread(folder / NAMES[3])
    del data.PixelData
    data.save_as(folder / NAMES[3])
    assert len(list_series(folder.glob("*.dcm")).slices) == 6
