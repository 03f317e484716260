"""NIfTI volumes: axes, values, and files that cannot be used."""

import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.imaging.images import read_image, read_mask
from heatproof.testing import check_reader
from heatproof_nifti.nifti import Nifti

read_nifti = Nifti().read_image
STORED = np.random.default_rng(0).integers(-1000, 2000, (5, 6, 7)).astype(np.int16)


def save(path: Path, values: np.ndarray = STORED, affine: np.ndarray | None = None) -> Path:
    if affine is None:
        affine = np.diag([0.7, 0.8, 2.5, 1])
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def test_axes_lead_to_superior_posterior_and_left(tmp_path: Path) -> None:
    image, geometry = read_nifti(save(tmp_path / "a.nii.gz"))  # stored to right, anterior, superior
    np.testing.assert_array_equal(image[0], STORED.transpose(2, 1, 0)[:, ::-1, ::-1])
    assert image.dtype == np.int16
    assert (geometry.native, geometry.orientation) == ((7, 6, 5), "SPL")
    np.testing.assert_allclose(geometry.spacing, (2.5, 0.8, 0.7), rtol=1e-6)


def test_a_volume_stored_with_other_axes_is_the_same(tmp_path: Path) -> None:
    affine = np.array([[0, 0, -0.7, 0], [0.8, 0, 0, 0], [0, 2.5, 0, 0], [0, 0, 0, 1]])
    rotated = STORED[::-1].transpose(1, 2, 0)
    first, _ = read_nifti(save(tmp_path / "a.nii"))
    second, geometry = read_nifti(save(tmp_path / "b.nii", rotated, affine))
    np.testing.assert_array_equal(second, first)
    np.testing.assert_allclose(geometry.spacing, (2.5, 0.8, 0.7), rtol=1e-6)


def test_values_are_scaled_by_a_window(tmp_path: Path) -> None:
    values = np.linspace(-0.5, 1.5, 24, dtype=np.float32).reshape(2, 3, 4)
    image, _ = read_image(save(tmp_path / "a.nii", values), window=(0, 1))
    expected = np.rint(np.clip(values.astype(float), 0, 1) * 65535)
    np.testing.assert_array_equal(image[0], expected.transpose(2, 1, 0)[:, ::-1, ::-1])


def rescaled(path: Path, slope: float, intercept: float, values: np.ndarray = STORED) -> Path:
    """Write a volume whose header has these two numbers, whatever they are."""
    content = bytearray(save(path, values).read_bytes())
    content[112:120] = struct.pack("<ff", slope, intercept)
    path.write_bytes(content)
    return path


def upright(values: np.ndarray) -> np.ndarray:
    return values.transpose(2, 1, 0)[None, :, ::-1, ::-1]


def test_values_are_the_files_own(tmp_path: Path) -> None:
    """Magnetic resonance in 0 … 1, activities of PET, and Hounsfield units with a rescale."""
    shares = np.linspace(0, 1, 210, dtype=np.float32).reshape(5, 6, 7)
    np.testing.assert_array_equal(read_nifti(save(tmp_path / "mr.nii", shares))[0], upright(shares))
    np.testing.assert_array_equal(read_nifti(save(tmp_path / "pet.nii", shares * 90_000))[0], upright(shares * 90_000))
    np.testing.assert_array_equal(read_nifti(rescaled(tmp_path / "ct.nii", 2, -1024))[0], upright(2.0 * STORED - 1024))
    # NIfTI-1: a slope of zero is no rescale.
    np.testing.assert_array_equal(read_nifti(rescaled(tmp_path / "none.nii", 0, 7))[0], upright(STORED))


def test_windows_of_a_volume(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii")
    stored = upright(STORED).astype(float)
    low, high = np.percentile(stored, (0.5, 99.5))
    expected = np.rint(np.clip((stored - low) / (high - low), 0, 1) * 65535)
    np.testing.assert_array_equal(read_image(path, window="percentiles")[0], expected)
    earlier, _ = read_image(path, window=(-1024, 64511))  # every volume was read so before windows were a setting
    np.testing.assert_array_equal(earlier, stored + 1024)
    with pytest.raises(DataError, match=r"a\.nii holds values from -\d+ to \d+ \(int16\).*set `window` of the dataset"):
        read_image(path, window="type")
    with pytest.raises(DataError, match=r"names no window of its own"):
        read_image(path, window="voi")
    image = nibabel.Nifti1Image(STORED, np.diag([0.7, 0.8, 2.5, 1]))
    image.header["cal_min"] = -150
    image.header["cal_max"] = 250
    nibabel.save(image, path)
    np.testing.assert_array_equal(read_image(path, window="voi")[0], read_image(path, window=(-150, 250))[0])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("infinite", np.where(STORED.max() == STORED, np.inf, STORED).astype(np.float32), r"NaN or infinite \(1\)"),
        ("complex", STORED.astype(np.complex64), "voxels of type complex64"),
        ("colour", np.zeros((5, 6, 7), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "one real number per voxel"),
    ],
)
def test_voxels_that_are_no_finite_real_numbers(tmp_path: Path, name: str, values: np.ndarray, message: str) -> None:
    path = save(tmp_path / f"{name}.nii", values)
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=rf"{name}\.nii .*{message}"):
            read(path)


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0), (np.nan, 0), (1, np.nan), (1, -np.inf)])
def test_a_rescale_that_is_not_finite(tmp_path: Path, slope: float, intercept: float) -> None:
    with pytest.raises(DataError, match=r"a\.nii .*(has the rescale slope|invalid intercept)"):
        read_nifti(rescaled(tmp_path / "a.nii", slope, intercept))


@pytest.mark.parametrize("position", [40, 42, 70, 72, 76, 108, 254, 280, 344, 400])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damaged_bytes_are_a_sentence(tmp_path: Path, suffix: str, position: int) -> None:
    """Libraries raise HeaderDataError, OverflowError and zlib.error, among others."""
    path = save(tmp_path / f"a{suffix}")
    content = bytearray(path.read_bytes())
    start = min(position, len(content) - 40)
    content[start : start + 8] = b"\xff\x7f" * 4
    path.write_bytes(content)
    with suppress(DataError):
        read_image(path)


def test_reading_takes_at_most_twice_the_memory_of_the_values(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.zeros((100, 100, 100), dtype=np.int16))
    read_nifti(path)
    tracemalloc.start()
    read_nifti(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 100**3


def test_volumes_that_cannot_be_used(tmp_path: Path) -> None:
    with_nan = STORED.astype(np.float32)
    with_nan[1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"holds voxels that are NaN or infinite \(1\)"):
        read_nifti(save(tmp_path / "a.nii", with_nan))
    with pytest.raises(DataError, match=r"shape \(5, 6, 7, 2\); save the volume you need"):
        read_nifti(save(tmp_path / "b.nii", np.stack([STORED] * 2, axis=-1)))
    with pytest.raises(DataError, match=r"more than 200 voxels"):
        read_nifti(save(tmp_path / "c.nii"), max_pixels=200)
    (tmp_path / "d.nii").write_bytes(b"nothing of the kind" * 40)
    with pytest.raises(DataError, match=r"d\.nii is not NIfTI, or damaged"):
        read_nifti(tmp_path / "d.nii")
    truncated = tmp_path / "e.nii.gz"
    truncated.write_bytes(save(tmp_path / "f.nii.gz").read_bytes()[:200])
    with pytest.raises(DataError, match=r"e\.nii\.gz is not NIfTI, or damaged"):
        read_nifti(truncated)
    with pytest.raises(DataError, match="does not exist"):
        read_nifti(tmp_path / "none.nii")


def test_masks_are_true_above_zero_and_on_the_grid_of_their_image(tmp_path: Path) -> None:
    values = np.zeros((5, 6, 7), dtype=np.int8)
    values[1, 2, 3:5] = 2
    values[0, 0, 0] = -1
    path = save(tmp_path / "a mask.NII.GZ", values)
    mask = read_mask(path)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, values.transpose(2, 1, 0)[:, ::-1, ::-1] > 0)
    assert mask.shape == read_image(path)[0].shape[1:]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_files_are_recognised_by_their_name_whatever_its_case(tmp_path: Path, kind: type, suffix: str) -> None:
    nibabel.save(kind(STORED, np.eye(4)), tmp_path / f"a{suffix}")
    path = (tmp_path / f"a{suffix}").rename(tmp_path / f"of my scan.1{suffix.upper()}")
    np.testing.assert_array_equal(read_image(path)[0], STORED.transpose(2, 1, 0)[None, :, ::-1, ::-1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_conformance(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(1).integers(-1000, 2000, (11, 12, 13)).astype(np.int16)
    results = check_reader(Nifti(), save(tmp_path / f"a{suffix}", values))
    assert [result.name for result in results if result.outcome != "passed"] == []
