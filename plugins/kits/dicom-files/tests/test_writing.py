"""Writing DICOM, and the errors of damaged files; the tests of the DICOM reader read back what is written."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from heatproof.errors import DataError
from heatproof_dicom_files.headers import explained, open_dicom
from heatproof_dicom_files.writing import write_dicom

RAMP = (np.arange(12 * 17).reshape(1, 12, 17) * 311 % 65536).astype(np.uint16)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        write_dicom(RAMP, tmp_path / name, Modality="CT", PatientID="p1")
    write_dicom(RAMP, tmp_path / "c.dcm", Modality="CT", PatientID="p2")
    first, second = ((tmp_path / name).read_bytes() for name in ("a.dcm", "b.dcm"))
    assert first == second
    uids = [pydicom.dcmread(tmp_path / name).SOPInstanceUID for name in ("a.dcm", "c.dcm")]
    assert uids[0] != uids[1]
    assert "SyntheticData" not in pydicom.dcmread(tmp_path / "a.dcm")
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "a.dcm").pixel_array, RAMP[0])


@pytest.mark.parametrize(
    ("image", "tags", "message"),
    [
        (RAMP.astype(np.float32), {}, r"cannot hold an image \(1, 12, 17\) of float32 as DX"),
        (RAMP.astype(np.uint8), {"Modality": "CT"}, r"of uint8 as CT.*which CT must be"),
        (RAMP, {"Modality": "MR"}, r"modality 'MR'; allowed: CR, CT, DX"),
        (RAMP, {"PatientNumber": "1"}, r"cannot hold PatientNumber; give keywords of DICOM"),
    ],
)
def test_images_that_cannot_be_written(tmp_path: Path, image: np.ndarray, tags: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_dicom(image, tmp_path / "a.dcm", **tags)
    assert not (tmp_path / "a.dcm").exists()


def test_reading_files_in_parallel_silences_no_other_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = explained(Path("a.dcm"))
        second = explained(Path("b.dcm"))
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        with pytest.raises(UserWarning, match="of another library"):
            warnings.warn("of another library", stacklevel=1)


def test_limits_read_a_part_of_the_header(tmp_path: Path) -> None:
    write_dicom(RAMP, tmp_path / "a.dcm", Modality="CT", PatientID="p1")
    header = open_dicom(tmp_path / "a.dcm", stop_before_pixels=True, specific_tags=["PatientID"])
    assert (header.PatientID, "PixelData" in header) == ("p1", False)
    with pytest.raises(DataError, match=r"none\.dcm does not exist"):
        open_dicom(tmp_path / "none.dcm")
    (tmp_path / "b.dcm").write_text("a table")
    with pytest.raises(DataError, match=r"b\.dcm is not DICOM, or was cut off"):
        open_dicom(tmp_path / "b.dcm")
