"""Folders of slices become one volume, whatever the names of the files and whatever other files there are."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from heatproof.errors import DataError
from heatproof.imaging.images import read_image, read_mask
from heatproof_dicom_files.writing import write_dicom

VOLUME = np.random.default_rng(0).integers(0, 3000, (1, 6, 8, 10)).astype(np.uint16)
PLANES = {"SPL": [1, 0, 0, 0, 1, 0], "RIP": [0, 1, 0, 0, 0, -1], "PIL": [1, 0, 0, 0, 0, -1], "IAL": [1, 0, 0, 0, -1, 0]}


def write_scan(folder: Path, names: list[str], orientation: str = "SPL") -> Path:
    cosines = PLANES[orientation]
    normal = np.cross(*np.reshape(cosines, (2, 3)))
    for index, name in enumerate(names):
        position = [float(value) for value in 2.5 * index * normal]
        write_dicom(
            VOLUME[:, index], folder / name, Modality="CT", SeriesInstanceUID="1.2.3", PixelSpacing=[0.7, 0.8],
            PatientID="p", ImageOrientationPatient=cosines, ImagePositionPatient=position,
        )  # fmt: skip
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_scan(tmp_path / "a scan", [f"{number}.dcm" for number in (3, 0, 5, 1, 4, 2)])


@pytest.mark.parametrize("orientation", PLANES)
@pytest.mark.parametrize("suffix", [".dcm", ".DCM", ""])
def test_a_folder_of_slices_is_one_volume(tmp_path: Path, suffix: str, orientation: str) -> None:
    folder = write_scan(tmp_path / "scan", [f"{number}{suffix}" for number in (3, 0, 5, 1, 4, 2)], orientation)
    (folder / "0 notes.txt").write_text("no slice")
    (folder / "annotations.xml").write_text("<none/>")
    image, geometry = read_image(folder)
    np.testing.assert_array_equal(image, VOLUME)
    assert (geometry.native, geometry.spacing, geometry.orientation) == ((6, 8, 10), (2.5, 0.7, 0.8), orientation)
    assert geometry.source == str(folder)


def test_a_window_is_that_of_the_whole_scan(folder: Path) -> None:
    units = VOLUME.astype(float) - 1024
    for window, (low, high) in {"percentiles": np.percentile(units, (0.5, 99.5)), (-160, 240): (-160, 240)}.items():
        expected = np.rint(np.clip((units - low) / (high - low), 0, 1) * 65535)
        np.testing.assert_array_equal(read_image(folder, window=window)[0], expected)  # type: ignore[arg-type]


def test_the_size_is_checked_before_decoding(folder: Path) -> None:
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        del data.PixelData
        data.save_as(path)
    with pytest.raises(DataError, match=r"a scan has more than 479 voxels"):
        read_image(folder, max_pixels=479)
    with pytest.raises(DataError, match=r"3\.dcm \(modality CT\) has no pixel data"):
        read_image(folder, max_pixels=480)


def test_a_missing_slice_is_named(folder: Path) -> None:
    (folder / "5.dcm").unlink()
    with pytest.raises(DataError, match=r"0\.dcm and .*1\.dcm are 5 mm apart, other slices 2\.5 mm"):
        read_image(folder)


def test_folders_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a scan is a folder; masks are read from files only"):
        read_mask(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"other is a folder that no installed reader can read as a volume"):
        read_image(tmp_path / "other")
