"""Tests of EGD-CXR: published layouts, damaged downloads, and samples of the phantom written in its layout."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_dicom_files.writing import write_dicom
from heatproof_egd_cxr.egd_cxr import SHEET, EgdCxr, reference_division
from heatproof_egd_cxr.gaze_table import read_gaze
from heatproof_egd_cxr.screen import Screen
from heatproof_eyetracking.gaze import SIGMA, Frames

SHAPE = (60, 50)
GAZE = "SESSION_ID,MEDIA_ID,DICOM_ID,CNT,Time (in secs),FPOGX,FPOGY,FPOGS,FPOGD"
PADS = (0, 0, 510, 510)


def row(number: int, classes: str = "1,0,0", **other: Any) -> str:
    values = {"id": f"d{number}", "path": f"files/p10/p{number // 2}/s{number}/d{number}.dcm", "patient": number // 2}
    values |= {"pads": ",".join(map(str, PADS)), "classes": classes} | other
    return ",".join(str(values[name]) for name in ("id", "path", "patient", "pads", "classes"))


def gaze_line(number: int, x: object, y: object, session: int = 1) -> str:
    return f"{session},NewMedia,d{number},1,0.5,{x},{y},0.1,0.25"


def make(root: Path, rows: list[str], gaze: list[str], images: int = 6) -> Path:
    (root / "master_sheet.csv").write_text("\n".join([",".join(SHEET), *rows]) + "\n")
    (root / "fixations.csv").write_text("\n".join([GAZE, *gaze]) + "\n")
    for number in range(images):
        image = np.full((1, *SHAPE), 1000 * number, dtype=np.uint16)
        write_dicom(image, root / f"files/p10/p{number // 2}/s{number}/d{number}.dcm")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    classes = ("1,0,0", "0,1,0", "0,0,1")
    rows = [row(number, classes[number // 2]) for number in range(6)]
    return make(tmp_path, rows, [gaze_line(number, 0.5, 0.5) for number in range(6)])


@pytest.mark.parametrize(
    ("size", "left", "gaze", "expected"),
    [
        ((2160, 3240), 150, (0.5, 0.25), (540, 1620)),
        ((2160, 3240), 150, (0.05, 0.5), None),
        ((3056, 2544), 510, (0.5, 0.5), (1528, 1272)),
    ],
)
def test_the_screen(size: tuple[int, int], left: int, gaze: tuple[float, float], expected: Any) -> None:
    """Gaze on the screen maps to the expected pixel of the image; gaze on a border misses the image."""
    screen = Screen(0, 0, left, left)
    shares = np.array([gaze])
    assert screen.meets(shares).tolist() == [expected is not None]
    if expected:
        assert np.floor(screen.points(shares, size)).tolist() == [list(expected)]


@pytest.mark.parametrize("shape", [(3056, 2544), (2021, 2539), (500, 3000), (1080, 1920)])
def test_points_survive_the_round_trip_through_the_screen(shape: tuple[int, int]) -> None:
    screen = Screen.fitting(shape)
    assert max(screen.extent[0] / 1080, screen.extent[1] / 1920) > 0.998
    points = np.random.default_rng(0).random((50, 2)) * shape
    np.testing.assert_allclose(screen.points(screen.gaze(points, shape), shape), points)
    assert screen.meets(screen.gaze(points, shape)).all()


def test_samples(root: Path) -> None:
    dataset = EgdCxr(root=root)
    assert dataset.ids() == [f"d{number}" for number in range(6)]
    sample = dataset.load("d3")
    assert (sample.label, sample.patient) == (1, "1")
    np.testing.assert_array_equal(sample.image, np.full((1, *SHAPE), 3000))
    check_dataset(dataset)


def test_static_and_temporal_maps(root: Path) -> None:
    gaze = np.random.default_rng(1).random((30, 2)) * (0.55, 1) + (0.2, 0)
    gaze = np.vstack([gaze, [[520 / 1920, 0.5], [0.5, 0.005]]])  # the first column, and the first row
    lines = [gaze_line(0, x, y, 1 + n // 20) for n, (x, y) in enumerate(gaze)]
    make(root, [row(0)], lines, 0)
    record = np.zeros(SHAPE)
    for x, y in gaze:  # as in the reference program
        across = x * 1920
        down = y * 1080
        if 510 < across < 1920 - 510 and 0 < down < 1080:
            column = int(50 / 900 * (across - 510))
            line = int(60 / 1080 * down)
            if line > 0:
                record[line, column] += 1
    sample = EgdCxr(root=root, sigma=6, frames=True).load("d0")
    (density,) = sample.annotations
    assert (density.finding, density.kind, density.reader) == ("gaze", "density", "")
    assert 10 < record.sum() < len(gaze)
    assert record[:, 0].any()
    np.testing.assert_allclose(density.values, gaussian_filter(record, 6), atol=1e-6)
    plain = EgdCxr(root=root)
    assert set(plain.extras) == set(plain.load("d0").extras) == set(sample.extras) - {"gaze_frames"}
    assert set(EgdCxr(root=root, frames=True).extras) == set(sample.extras)
    frames = sample.extras["gaze_frames"]
    points = sample.extras["fixations"]
    assert len(frames) == len(points) == record.sum()
    np.testing.assert_allclose(frames.values().sum(axis=0), density.values, atol=1e-6)
    np.testing.assert_array_equal(np.histogramdd(points[:, :2], [np.arange(61), np.arange(51)])[0], record)
    assert (points[:, 2] == 0.25).all()
    windowed = EgdCxr(root=root, sigma=6, frames=True, window=1).load("d0").extras["gaze_frames"]
    expected = frames.values()[0] + np.exp(-1) * frames.values()[1]
    np.testing.assert_allclose(windowed.values()[0], expected, atol=1e-12)


def test_scales_of_the_static_map(root: Path) -> None:
    values = {scale: EgdCxr(root=root, scale=scale, sigma=5).load("d0").annotations[0].values
              for scale in ("sum", "linear", "viridis_luma")}  # fmt: skip
    total = values["sum"]
    np.testing.assert_allclose(values["linear"], (total - total.min()) / np.ptp(total), atol=1e-6)
    luma = values["viridis_luma"]
    assert (luma.min(), luma.max()) == pytest.approx((30 / 255, 215 / 255))


def test_gaze_that_cannot_be_used(root: Path) -> None:
    gaze = [
        gaze_line(0, "NaN", 0.5), gaze_line(0, "", 0.5), gaze_line(0, "x", 0.5), gaze_line(0, 0.5, 0.5),
        gaze_line(1, 0.1, 0.5), gaze_line(1, -0.2, 0.5), gaze_line(1, 0.5, 1.5),
        gaze_line(2, 0.5, 0.01), gaze_line(9, 0.5, 0.5), "1,NewMedia,d0,1,0.5",
        gaze_line(3, 0.5, 0.5, 2), gaze_line(4, 0.5, 0.5),
    ]  # fmt: skip
    make(root, [row(number) for number in range(6)], gaze)
    dataset = EgdCxr(root=root)
    assert len(dataset.load("d0").extras["fixations"]) == 1
    for id in ("d1", "d2"):  # gaze misses the image, or hits its first row only: the density is all zero
        sample = dataset.load(id)
        assert (sample.annotations[0].values.any(), sample.extras["fixations"].shape) == (False, (0, 3))
    assert (dataset.load("d5").annotations, dataset.load("d5").extras["fixations"].shape) == ((), (0, 3))
    tallies = counts_of(dataset)
    assert tallies["rows of gaze that are not numbers"] == (3, 0)
    rejected = {tally.what: (tally.count, tally.example) for tally in dataset.rejected()}
    assert rejected["rows of gaze that are not numbers"] == (3, "d0")
    assert rejected["lines of gaze that cannot be read"][0] == 1
    assert tallies["gaze beside its image"] == (3, None)
    assert tallies["images on which no gaze lies"] == (1, 0)
    assert tallies["images without gaze"] == (1, 0)
    assert tallies["images of gaze that are not in the sheet"] == (1, None)
    assert tallies["lines of gaze that cannot be read"] == (1, 0)
    assert (tallies["sessions"], tallies["rows of fixations"]) == ((2, 38), (11, 48_959))
    assert EgdCxr(root=root, frames=True).load("d5").extras["gaze_frames"].values().shape == (0, *SHAPE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encodings_and_delimiters(root: Path, encoding: str, delimiter: str) -> None:
    for name in ("master_sheet.csv", "fixations.csv"):
        text = (root / name).read_text().replace("NewMedia", "Müller").replace(",", delimiter)
        (root / name).write_text(text, encoding=encoding)
    dataset = EgdCxr(root=root)
    assert len(dataset.ids()) == 6
    assert len(dataset.load("d5").extras["fixations"]) == 1


def test_quoted_values_with_line_breaks(root: Path) -> None:
    lines = (root / "master_sheet.csv").read_text().splitlines()
    lines = [f"{lines[0]},exam"] + [f'{line},"pain,\nsince May"' for line in lines[1:]]
    (root / "master_sheet.csv").write_text("\n".join(lines))
    assert len(EgdCxr(root=root).ids()) == 6


def test_rows_that_cannot_be_used(root: Path) -> None:
    rows = [
        row(0), row(0), row(1, "0,1,0"), row(1, "0,0,1"), row(2, "1,1,0"), row(3, "0,0,0"), row(4, "1.0,,0.0"),
        row(5, "yes,0,0"), row(6, pads="0,0,960,960"), row(7, path=""), row(8), row(9, patient=77), f"{row(10)},9",
        row(11, patient=""),
    ]  # fmt: skip
    make(root, rows, [gaze_line(0, 0.5, 0.5)])
    dataset = EgdCxr(root=root)
    assert dataset.ids() == EgdCxr(root=root, division="reference").ids() == ["d0", "d4", "d8", "d9"]
    tallies = counts_of(dataset)
    assert tallies["samples listed twice"] == (1, 0)
    assert tallies["ids with two meanings"] == (1, 0)
    assert tallies["rows that cannot be used"] == (7, 0)
    assert (tallies["missing images"], tallies["samples"]) == ((2, 0), (4, 1083))
    with pytest.raises(DataError, match=r"d8\.dcm does not exist"):
        dataset.load("d8")
    assert EgdCxr(root=root, absent="skip").ids() == ["d0", "d4"]
    with pytest.raises(DataError, match="no 'd44'; did you mean"):
        dataset.load("d44")


def test_dicom_without_pixels(root: Path) -> None:
    import pydicom

    path = root / "files/p10/p0/s0/d0.dcm"
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    dataset = EgdCxr(root=root)
    with pytest.raises(DataError, match=r"d0\.dcm .*no pixel data"):
        dataset.load("d0")
    assert counts_of(dataset)["unreadable samples"] == (1, 0)


@pytest.mark.parametrize("name", ["master_sheet.csv", "fixations.csv"])
def test_missing_tables_and_renamed_columns(root: Path, name: str) -> None:
    path = root / name
    text = path.read_text()
    path.write_text(text.replace("patient_id", "person").replace("FPOGX", "GAZE_X"))
    with pytest.raises(DataError, match=r"has no column 'patient_id'|must have one column 'FPOGX'"):
        EgdCxr(root=root).load("d0")
    path.unlink()
    with pytest.raises(DataError, match=rf"holds no {name}|{name} cannot be read"):
        EgdCxr(root=root).load("d0")


def test_rows_are_grouped_by_image_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [gaze_line(number % 50, 0.3 + number % 7 / 20, 0.5) for number in range(60_000)]
    (tmp_path / "eye_gaze.csv").write_text("\n".join([GAZE, *lines]))
    table = read_gaze(tmp_path / "eye_gaze.csv")
    assert (table.count, len(table.rows)) == (60_000, 50)
    np.testing.assert_allclose(table.rows["d3"][:20, 0], [0.3 + number % 7 / 20 for number in range(3, 1000, 50)])


def test_the_table_of_raw_gaze(root: Path) -> None:
    lines = [gaze_line(0, 0.5, 0.5), gaze_line(0, 0.5, 0.6), gaze_line(1, 0.4, 0.4)]
    (root / "eye_gaze.csv").write_text("\n".join([GAZE, *lines]))
    dataset = EgdCxr(root=root, table="eye_gaze")
    assert len(dataset.load("d0").extras["fixations"]) == 2
    assert counts_of(dataset)["rows of eye_gaze"] == (3, 1_498_953)
    assert dataset.identity != EgdCxr(root=root).identity


def test_an_allow_list(root: Path, tmp_path: Path) -> None:
    (tmp_path / "allowed.csv").write_text("dicom_id\nd1\nfiles/p10/p2/s4/d4.dcm,1\nd99\n")
    dataset = EgdCxr(root=root, allow_list=tmp_path / "allowed.csv")
    assert dataset.ids() == ["d1", "d4"]
    tallies = counts_of(dataset)
    assert tallies["samples"] == (2, 1017)
    assert tallies["rows that are not on the allow-list"] == (4, None)
    assert tallies["names on the allow-list that are not in the sheet"] == (2, None)
    for split in dataset.splits:
        assert set(dataset.ids(split)) <= set(EgdCxr(root=root).ids(split))


@pytest.mark.parametrize("division", ["shares", "reference"])
def test_no_patient_is_in_two_splits(tmp_path: Path, division: Any) -> None:
    make(tmp_path, [row(number) for number in range(200)], [], 0)
    dataset = EgdCxr(root=tmp_path, division=division)
    parts = [{dataset.patient(id) for id in dataset.ids(split)} for split in dataset.splits]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 100
    if division == "reference":
        assert list(map(len, parts)) == [80, 10, 10]


def test_the_reference_division() -> None:
    patients = [f"{number % 23}" for number in range(60)]
    order = list(dict.fromkeys(patients))
    random.seed(42)
    random.shuffle(order)
    train = round(len(order) * 0.8)
    tuning = train + round((len(order) - train) * 0.5)
    expected = dict.fromkeys(order[:train], "train") | dict.fromkeys(order[train:tuning], "tuning")
    assert reference_division(patients) == dict.fromkeys(order, "test") | expected


def test_boxes_are_anatomy(root: Path) -> None:
    rows = ["d0,cardiac silhouette,10,20,30.5,40", "d0,Left Lung,0,50,0,60", "d1,liver,1,2,3,4", "d2,trachea,60,70,3,4"]
    rows.append("d0,trachea,1,2,3,4,5")
    (root / "bounding_boxes.csv").write_text("\n".join(["dicom_id,bbox_name,x1,x2,y1,y2", *rows]))
    dataset = EgdCxr(root=root, boxes=True)
    heart, lung = dataset.load("d0").annotations[1:]
    expected = np.zeros(SHAPE)
    expected[31:40, 10:20] = 1
    expected[30, 10:20] = 0.5
    np.testing.assert_array_equal(heart.values, expected)
    assert (heart.finding, lung.finding, lung.values.mean()) == ("cardiac_silhouette", "left_lung", 1)
    for id in ("d1", "d2"):
        with pytest.raises(DataError, match="empty, outside of its image"):
            dataset.load(id)
    tallies = counts_of(dataset)
    assert (tallies["boxes"], tallies["rows that cannot be used"]) == ((4, 18_405), (1, 0))


def test_images_elsewhere(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mimic"
    elsewhere.mkdir()
    (root / "files").rename(elsewhere / "files")
    text = (root / "master_sheet.csv").read_text().replace("files/", "physionet.org/files/mimic-cxr/2.0.0/files/")
    (root / "master_sheet.csv").write_text(text)
    dataset = EgdCxr(root=root, images=elsewhere)
    check_dataset(dataset)
    before = dataset.identity
    write_dicom(np.zeros((1, 9, 9), dtype=np.uint16), elsewhere / "files/p10/p0/s0/d0.dcm")
    assert EgdCxr(root=root, images=elsewhere).identity != before


def test_samples_of_the_phantom_are_written_and_read_back(tmp_path: Path) -> None:
    phantom = pytest.importorskip("heatproof_phantom.phantom", reason="the phantom dataset is not installed")
    chests = phantom.Phantom(patients=4, subject="chest", height=192)
    samples = [chests.load(id) for id in chests.ids()]
    assert EgdCxr(root=tmp_path).write(samples, tmp_path / "twin") == 8
    dataset = EgdCxr(root=tmp_path / "twin", sigma=SIGMA / 3056 * 192, boxes=True, frames=True)
    for sample in samples:
        actual = dataset.load(sample.id)
        assert (actual.label, actual.patient) == (sample.label, sample.patient)
        np.testing.assert_array_equal(actual.image, sample.image)
        gaze = [annotation.values for annotation in sample.annotations if annotation.finding == "gaze"]
        np.testing.assert_allclose(actual.annotations[0].values, np.sum(gaze, axis=0), rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(actual.extras["fixations"], sample.extras["fixations"], atol=1e-9)
        frames: Frames = sample.extras["gaze_frames"]
        np.testing.assert_allclose(actual.extras["gaze_frames"].profiles[0], frames.profiles[0], atol=1e-12)
        findings = {annotation.finding for annotation in actual.annotations[1:]}
        assert findings == {"cardiac_silhouette", "right_lung", "left_lung"}
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")


def test_samples_of_other_datasets_are_written_too(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 20, 30)).astype(np.uint8)
    sample = Sample("eye", image, label=4, patient="p")
    dataset = EgdCxr(root=tmp_path / "twin")
    dataset.write([sample], tmp_path / "twin")
    actual = dataset.load("eye")
    assert (actual.label, actual.annotations) == (2, ())
    np.testing.assert_allclose(actual.image[0], image.mean(axis=0), atol=0.5)
    with pytest.raises(DataError, match="cannot be the name of a file"):
        dataset.write([replace(sample, id="a/b")], tmp_path / "other")
