"""DICOM images: pydicom's test files with real headers, all ways of storing values, and files that cannot be used."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from heatproof.errors import DataError
from heatproof.imaging.images import read_image, read_mask
from heatproof.testing import check_reader
from heatproof_dicom.dicom import Dicom
from heatproof_dicom_files.writing import write_dicom

SHIPPED = Path(pydicom.data.__file__).parent / "test_files"
read_dicom = Dicom().read_image
RAMP = (np.arange(12 * 17).reshape(1, 12, 17) * 311 % 65536).astype(np.uint16)


def stored(path: Path, values: np.ndarray, **tags: Any) -> Path:
    """Write an image with these stored values; ``tags`` overwrite the header."""
    write_dicom(RAMP[:, : values.shape[0], : values.shape[1]], path)
    data = pydicom.dcmread(path)
    data.set_pixel_data(values, tags.pop("photometric", "MONOCHROME2"), tags.pop("bits", values.itemsize * 8))
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def plain(path: Path) -> np.ndarray:
    """The values by pydicom's older interface, after the modality rescale."""
    from pydicom.pixels import apply_rescale

    data = pydicom.dcmread(path)
    return np.asarray(apply_rescale(data.pixel_array, data), dtype=np.float64)


@pytest.mark.parametrize("name", ["CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm"])
def test_ct_is_hounsfield_units_with_an_offset(name: str) -> None:
    image, geometry = read_dicom(SHIPPED / name)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[0], np.maximum(plain(SHIPPED / name) + 1024, 0))
    spacing = pydicom.dcmread(SHIPPED / name).PixelSpacing
    assert (geometry.native, geometry.source) == (image.shape[1:], str(SHIPPED / name))
    assert (geometry.spacing, geometry.orientation) == ((float(spacing[0]), float(spacing[1])), "PL")


@pytest.mark.parametrize(
    ("name", "low", "bits"),
    [
        ("MR_small.dcm", -32768, 16), ("MR_small_bigendian.dcm", -32768, 16), ("MR_small_RLE.dcm", -32768, 16),
        ("MR_small_implicit.dcm", -32768, 16), ("examples_overlay.dcm", 0, 12), ("image_dfl.dcm", 0, 8),
    ],
)  # fmt: skip
def test_other_grey_images_fill_their_type(name: str, low: int, bits: int) -> None:
    image, _ = read_dicom(SHIPPED / name)
    dtype = {8: np.uint8}.get(bits, np.uint16)
    assert image.dtype == dtype
    white = np.iinfo(dtype).max
    expected = [round((int(value) - low) * white / (2**bits - 1)) for value in plain(SHIPPED / name).ravel()]
    np.testing.assert_array_equal(image.ravel(), expected)


@pytest.mark.parametrize(
    "name", ["SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_rle_16bit.dcm", "examples_rgb_color.dcm"]
)
def test_colour_is_rgb(name: str) -> None:
    image, _ = read_dicom(SHIPPED / name)
    expected = pydicom.pixels.pixel_array(SHIPPED / name, raw=True)
    if pydicom.dcmread(SHIPPED / name).PhotometricInterpretation == "YBR_FULL":
        luma, blue, red = np.moveaxis(expected - np.array([0.0, 128, 128]), -1, 0)
        rgb = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
        expected = np.clip(np.floor(np.stack(rgb, axis=-1) + 0.5), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))
    assert image.dtype == expected.dtype


def test_planes_and_palettes(tmp_path: Path) -> None:
    path = tmp_path / "planes.dcm"
    image = np.stack([RAMP[0] % 256, RAMP[0] // 256, RAMP[0] % 7]).astype(np.uint8)
    write_dicom(image, path)
    data = pydicom.dcmread(path)
    data.PlanarConfiguration = 1
    data.PixelData = image.tobytes()
    data.save_as(path)
    np.testing.assert_array_equal(read_dicom(path)[0], image)
    palette, _ = read_dicom(SHIPPED / "examples_palette.dcm")
    assert palette.shape == (3, 350, 800)
    assert len(np.unique(palette.reshape(3, -1), axis=1).T) > 2


def test_monochrome_1_is_inverted(tmp_path: Path) -> None:
    values = (RAMP[0] % 4096).astype(np.uint16)
    path = stored(tmp_path / "a.dcm", values, photometric="MONOCHROME1", bits=12)
    expected = 65535 - np.rint(values * (65535 / 4095))
    np.testing.assert_array_equal(read_dicom(path)[0][0], expected)


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2.5, -300), (-1, 4095)])
def test_a_linear_rescale_of_a_radiograph_only_sets_its_direction(tmp_path: Path, slope: float, intercept: int) -> None:
    values = (RAMP[0] % 4096).astype(np.uint16)
    path = stored(tmp_path / "a.dcm", values, bits=12, RescaleSlope=slope, RescaleIntercept=intercept)
    ends = sorted((intercept, 4095 * slope + intercept))
    expected = np.rint((plain(path) - ends[0]) / (ends[1] - ends[0]) * 65535)
    image, _ = read_dicom(path)
    np.testing.assert_array_equal(image[0], expected)
    unscaled = np.rint(values * (65535 / 4095))
    if slope < 0:
        unscaled = 65535 - unscaled
    np.testing.assert_array_equal(image[0], unscaled)


def test_a_rescale_of_ct_gives_its_units(tmp_path: Path) -> None:
    values = np.array([[-2000, -1000, 0], [300, 1500, 32767]], dtype=np.int16)
    path = stored(tmp_path / "a.dcm", values, Modality="CT", RescaleSlope=2, RescaleIntercept=-10)
    image, _ = read_dicom(path)
    np.testing.assert_array_equal(image[0], [[0, 0, 1014], [1614, 4014, 65535]])  # 66548 and -2986 are cut off


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    values = np.array([[0, 1, 4095], [2048, 100, 7]], dtype=np.uint16)
    path = stored(tmp_path / "a.dcm", values, bits=12, PixelData=(values | np.uint16(0xB000)).tobytes())
    np.testing.assert_array_equal(read_dicom(path)[0][0], np.rint(values * (65535 / 4095)))
    signed = np.array([[-2048, -1, 0], [2047, 5, -7]], dtype=np.int16)
    path = stored(tmp_path / "b.dcm", signed, bits=12, PixelData=(signed & np.int16(0x0FFF)).tobytes())
    np.testing.assert_array_equal(read_dicom(path)[0][0], np.rint((signed.astype(int) + 2048) * (65535 / 4095)))


@pytest.mark.parametrize(
    "image", [RAMP, (RAMP % 256).astype(np.uint8), np.repeat(RAMP % 256, 3, axis=0).astype(np.uint8)]
)
@pytest.mark.parametrize("kind", ["CR", "DX"])
def test_a_written_image_is_read_back(tmp_path: Path, image: np.ndarray, kind: str) -> None:
    spacing = [0.2, 0.3]
    tags = {"PatientID": "p1", "ImagerPixelSpacing": spacing, "PatientOrientation": ["L", "F"], "Modality": kind}
    write_dicom(image, tmp_path / "new" / "a.dcm", synthetic=True, **tags)
    actual, geometry = read_dicom(tmp_path / "new" / "a.dcm")
    np.testing.assert_array_equal(actual, image)
    assert actual.dtype == image.dtype
    assert (geometry.spacing, geometry.orientation) == ((0.2, 0.3), "IL")
    data = pydicom.dcmread(tmp_path / "new" / "a.dcm")
    assert (data.SyntheticData, data.PatientID, data.ImageType[0]) == ("YES", "p1", "DERIVED")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_meta.dcm", "is not DICOM, or was cut off"),
        ("reportsi.dcm", r"modality SR\) has no pixel data"),
        ("rtplan_truncated.dcm", r"modality RTPLAN\) has no pixel data"),
        ("MR_truncated.dcm", "number of bytes of pixel data is less than expected"),
        ("examples_ybr_color.dcm", "holds 30 frames"),
        ("SC_rgb_rle_32bit.dcm", "stores 32 bits per value; allowed: 1 to 16"),
        ("badVR.dcm", "invalid literal"),
        ("absent.dcm", "does not exist; download it"),
    ],
)
def test_files_that_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        read_dicom(SHIPPED / name)


def test_a_codec_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLSLossless

    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    with pytest.raises(DataError, match=r"is compressed \(JPEG-LS Lossless .*install one of: .*pylibjpeg"):
        read_dicom(SHIPPED / "MR_small_jpeg_ls_lossless.dcm")


@pytest.mark.parametrize("length", [0, 50, 200, 800, 6000, 20000])
def test_files_that_were_cut_off(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes((SHIPPED / "CT_small.dcm").read_bytes()[:length])
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_dicom(path)


def test_the_size_is_checked_before_decoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"more than 16,383 pixels; reduce it"):
        read_dicom(SHIPPED / "CT_small.dcm", max_pixels=128 * 128 - 1)
    path = stored(tmp_path / "a.dcm", RAMP[0], Rows=65535, Columns=65535)
    with pytest.raises(DataError, match=r"more than 150,000,000 pixels"):
        read_dicom(path)


def test_values_outside_the_range_of_the_header_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.dcm", RAMP[0], RescaleSlope=0, RescaleIntercept=3)
    with pytest.raises(DataError, match=r"a\.dcm has the rescale slope 0 and intercept 3; correct the header"):
        read_dicom(path)


SIGNED = np.random.default_rng(4).integers(-300, 900, (12, 17)).astype(np.int16)


def shares(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 65535)


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_windows_take_values_after_the_rescale(tmp_path: Path, photometric: str) -> None:
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -10, "Modality": "CT"}
    voi = {"WindowCenter": [40, 500], "WindowWidth": [400, 1000]}
    path = stored(tmp_path / "a.dcm", SIGNED, photometric=photometric, **rescale, **voi)
    values = 2.0 * SIGNED - 10
    ends = {"percentiles": np.percentile(values, (0.5, 99.5)), (-160.0, 240.0): (-160, 240)}
    # PS3.3 C.11.2.1.2.1: the output ends at c - 0.5 ± (w - 1) / 2.
    for window, (low, high) in {**ends, "voi": (39.5 - 199.5, 39.5 + 199.5)}.items():
        expected = shares(values, low, high)
        if photometric == "MONOCHROME1":
            expected = 65535 - expected
        image, _ = read_image(path, window=window)  # type: ignore[arg-type]
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image[0], expected)


def test_own_windows_of_other_kinds(tmp_path: Path) -> None:
    tags = {"WindowCenter": 100, "WindowWidth": 500}
    path = stored(tmp_path / "a.dcm", SIGNED, **tags, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(read_image(path, window="voi")[0][0], shares(SIGNED, -150, 350))
    path = stored(tmp_path / "b.dcm", SIGNED, **tags, VOILUTFunction="SIGMOID")
    sigmoid = np.rint(65535 / (1 + np.exp(-4 * (SIGNED - 100.0) / 500)))
    np.testing.assert_array_equal(read_image(path, window="voi")[0][0], sigmoid)
    table = pydicom.Dataset()
    table.LUTDescriptor = [4, -2, 8]
    table.LUTData = np.array([0, 50, 200, 255], dtype="<u2").tobytes()
    values = np.array([[-9, -2, -1], [0, 1, 77]], dtype=np.int16)
    path = stored(tmp_path / "c.dcm", values, VOILUTSequence=[table])
    np.testing.assert_array_equal(read_image(path, window="voi")[0][0], np.array([[0, 0, 50], [200, 255, 255]]) * 257)
    path = stored(tmp_path / "d.dcm", SIGNED)
    with pytest.raises(DataError, match=r"d\.dcm names no window of its own; set `window`"):
        read_image(path, window="voi")
    np.testing.assert_array_equal(read_image(path, window="type")[0], read_dicom(path)[0])


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_a_decoder_for_12_bits_is_named(name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} is compressed \(JPEG Extended .*12 bits\).*install one of: .*jpeg"):
        read_dicom(SHIPPED / name)


def test_any_error_of_a_library_is_a_sentence(tmp_path: Path) -> None:
    """BytesLengthException of pydicom, among others: the number of rows has three bytes."""
    write_dicom(RAMP, tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    rows = content.index(b"\x28\x00\x10\x00US\x02\x00")
    damaged = content[: rows + 6] + b"\x03\x00" + content[rows + 8 : rows + 10] + b"\x00" + content[rows + 10 :]
    (tmp_path / "a.dcm").write_bytes(damaged)
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_dicom(tmp_path / "a.dcm")


def test_lossy_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lossy compression .JPEG Baseline .*edges of a mask"):
        read_mask(SHIPPED / "SC_rgb_jpeg_dcmtk.dcm")
    with pytest.raises(DataError, match="lossy compression"):
        read_mask(stored(tmp_path / "a.dcm", RAMP[0], LossyImageCompression="01"))


def test_masks_in_colour_count_in_every_channel(tmp_path: Path) -> None:
    blue = np.zeros((3, 12, 17), dtype=np.uint8)
    blue[2, 3:6, 4:9] = 255
    write_dicom(blue, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.dcm"), blue[2] > 0)
    palette = read_mask(SHIPPED / "examples_palette.dcm")
    np.testing.assert_array_equal(palette, read_dicom(SHIPPED / "examples_palette.dcm")[0].any(axis=0))


@pytest.mark.parametrize("name", ["ONE.DCM", "one scan.dicom", "IM0001", "1.2.840.10008"])
def test_files_are_recognised_by_their_name_or_their_first_bytes(tmp_path: Path, name: str) -> None:
    write_dicom(RAMP, tmp_path / name)
    image, geometry = read_image(tmp_path / name)
    np.testing.assert_array_equal(image, RAMP)
    assert geometry.source == str(tmp_path / name)


def test_masks_are_true_where_the_stored_value_is_above_zero(tmp_path: Path) -> None:
    values = np.array([[0, 1, 0], [2, 0, 255]], dtype=np.uint8)
    mask = read_mask(stored(tmp_path / "a.dcm", values))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, values > 0)
    np.testing.assert_array_equal(read_mask(stored(tmp_path / "b.dcm", values, RescaleIntercept=9)), values > 0)
    colour = np.stack([RAMP[0] % 2, RAMP[0] * 0, RAMP[0] * 0]).astype(np.uint8)
    write_dicom(colour, tmp_path / "c.dcm")
    np.testing.assert_array_equal(read_mask(tmp_path / "c.dcm"), colour[0] > 0)
    with pytest.raises(DataError, match=r"d\.dcm is MONOCHROME1, where zero is white; save the mask as MONOCHROME2"):
        read_mask(stored(tmp_path / "d.dcm", values, photometric="MONOCHROME1"))
    with pytest.raises(DataError, match=r"more than 5 pixels"):
        read_mask(tmp_path / "a.dcm", max_pixels=5)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "examples_rgb_color.dcm"])
def test_conformance(name: str) -> None:
    assert [result.name for result in check_reader(Dicom(), SHIPPED / name) if result.outcome != "passed"] == []
