"""Tests of REFLACX: published layouts, damaged downloads, and samples of the phantom written in its layout."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_dicom_files.writing import write_dicom
from heatproof_eyetracking.gaze import dwelt, fixations_of
from heatproof_reflacx.folder import LABELS
from heatproof_reflacx.reflacx import Reflacx, named

SHAPE = (60, 50)
SHEET = (
    "id",
    "split",
    "eye_tracking_data_discarded",
    "image",
    "dicom_id",
    "subject_id",
    "image_size_x",
    "image_size_y",
)
PHASES = {1: ("Atelectasis", "Fibrosis", "Other", "Support devices"),
          2: ("Atelectasis", "Consolidation", "Other", "Support devices")}  # fmt: skip
FIXATIONS = (
    "timestamp_start_fixation,timestamp_end_fixation,x_position,y_position,pupil_area_normalized,"
    "angular_resolution_x_pixels_per_degree,angular_resolution_y_pixels_per_degree,window_width,window_level,"
    "xmin_shown_from_image,ymin_shown_from_image,xmax_shown_from_image,ymax_shown_from_image"
)
ELLIPSES = "xmin,ymin,xmax,ymax,certainty,Atelectasis,Consolidation,Other"


def row(id: str, number: int, values: str, split: str = "train", **other: Any) -> str:
    fields = {"discarded": False, "subject": f"s{number // 2}", "size": "50,60"} | other
    image = f"physionet.org/files/mimic-cxr/2.0.0/files/p10/s{number}/d{number}.dcm"
    return f"{id},{split},{fields['discarded']},{image},d{number},{fields['subject']},{fields['size']},{values}"


def gaze_line(x: object, y: object, end: object = 1.5, shown: str = "0,0,50,60", degree: object = 5) -> str:
    return f"1.0,{end},{x},{y},0.9,{degree},6,1,0.5,{shown}"


def sheet(root: Path, phase: int, *rows: str) -> None:
    path = root / "main_data" / f"metadata_phase_{phase}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([",".join((*SHEET, *PHASES[min(phase, 2)])), *rows]) + "\n")


def reading(root: Path, id: str, fixations: list[str] | None, *ellipses: str) -> None:
    folder = root / "main_data" / id
    folder.mkdir(parents=True, exist_ok=True)
    if fixations is not None:
        (folder / "fixations.csv").write_text("\n".join([FIXATIONS, *fixations]) + "\n")
    (folder / "anomaly_location_ellipses.csv").write_text("\n".join([ELLIPSES, *ellipses]) + "\n")
    (folder / "chest_bounding_box.csv").write_text("xmin,ymin,xmax,ymax\n5,6,45,50\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of phase 1, one of them read three times; two of phase 2; one of phase 3."""
    sheet(tmp_path, 1, row("P1R1", 0, "4,1,,True"), row("P1R2", 0, "5,3,scar|line,False"),
          row("P1R3", 0, "1,0,,False", discarded=True), row("P1R4", 1, "0,0,,False"))  # fmt: skip
    sheet(tmp_path, 2, row("P2R1", 2, "0,5,,False", "validate"), row("P2R2", 3, "2,2,,False", "validate"))
    sheet(tmp_path, 3, row("P3R1", 4, "3,0,,False", "test"))
    for number, id in enumerate(("P1R1", "P1R2", "P1R4", "P2R1", "P2R2", "P3R1")):
        reading(tmp_path, id, [gaze_line(20 + number, 30)])
    reading(tmp_path, "P1R3", None, "0,0,10,10,5,True,False,False")
    for number in range(5):
        image = np.full((1, *SHAPE), 1000 * number, dtype=np.uint16)
        write_dicom(image, tmp_path / f"files/p10/s{number}/d{number}.dcm")
    return tmp_path


def test_one_sample_per_image(root: Path) -> None:
    dataset = Reflacx(root=root)
    assert dataset.ids() == ["d0", "d1", "d2", "d3", "d4"]
    assert (dataset.ids("tuning"), dataset.ids("test")) == (["d2", "d3"], ["d4"])
    sample = dataset.load("d0")
    assert sample.patient == "s0"
    np.testing.assert_array_equal(dataset.load("d3").image, np.full((1, *SHAPE), 3000))
    readers = {annotation.reader for annotation in sample.annotations if annotation.finding == "gaze"}
    assert readers == {"P1R1", "P1R2"}, "the gaze of the third reading was discarded"
    assert sample.extras["fixation_readers"].tolist() == ["P1R1", "P1R2"]
    np.testing.assert_allclose(sample.extras["fixations"], [[30, 20, 0.5], [30, 21, 0.5]])
    check_dataset(dataset)


def test_labels_by_majority(root: Path) -> None:
    dataset = Reflacx(root=root)
    labels = [dataset.classes[dataset.load(id).label] for id in dataset.ids()]
    # In d0 two of three readings state atelectasis, but only one states other findings and support devices.
    assert labels == ["Atelectasis", "No finding", "Consolidation", "No finding", "Atelectasis"]
    strict = Reflacx(root=root, certainty=5)
    assert strict.classes[strict.load("d4").label] == "No finding"
    lenient = Reflacx(root=root, certainty=1)
    assert [lenient.classes[index] for index in lenient.load("d3").label] == ["Atelectasis", "Consolidation"]
    sheet(root, 3, row("P3R1", 4, "0,0,scar,", "test"))
    assert Reflacx.classes[Reflacx(root=root).load("d4").label] == "Other"


def test_gaze_equals_the_official_program(root: Path) -> None:
    fixations = [gaze_line(10, 20, 1.7), gaze_line(40, 50, 2.0, "5,10,45,55", 4), gaze_line(30, 5, 1.1, "0,20,50,60")]
    reading(root, "P2R1", fixations)
    rows, columns = np.mgrid[:60, :50]
    total = np.zeros(SHAPE)
    for x, y, seconds, degree, (left, top, right, bottom) in (
        (10, 20, 0.7, 5, (0, 0, 50, 60)),
        (40, 50, 1.0, 4, (5, 10, 45, 55)),
        (30, 5, 0.1, 5, (0, 20, 50, 60)),
    ):
        density = multivariate_normal([y - 0.5, x - 0.5], np.diag([36, degree**2])).pdf(np.dstack([rows, columns]))
        shown = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        total += seconds * density * shown
    sample = Reflacx(root=root, frames=True).load("d2")
    np.testing.assert_allclose(sample.annotations[0].values, total / total.sum(), rtol=1e-5, atol=1e-10)
    np.testing.assert_allclose(sample.extras["gaze_frames"].total(), total / total.sum(), rtol=1e-9, atol=1e-15)
    assert sample.annotations[0].values.sum() == pytest.approx(1)
    linear = Reflacx(root=root, scale="linear").load("d2").annotations[0].values
    assert (linear.min(), linear.max()) == (0, 1)


def test_ellipses(root: Path) -> None:
    reading(root, "P1R1", [gaze_line(1, 1)], "10,20,30,50,4,True,False,False", "0,0,8,8,2,True,True,False",
            "30,30,41,40,3,True,False,True")  # fmt: skip
    annotations = Reflacx(root=root).load("d0").annotations
    masks = {(annotation.finding, annotation.reader): annotation.values for annotation in annotations}
    rows, columns = np.mgrid[:60, :50] + 0.5
    first = ((columns - 20) / 10) ** 2 + ((rows - 35) / 15) ** 2 <= 1
    second = ((columns - 35.5) / 5.5) ** 2 + ((rows - 35) / 5) ** 2 <= 1
    np.testing.assert_array_equal(masks["atelectasis", "P1R1"], first | second)
    np.testing.assert_array_equal(masks["other", "P1R1"], second)
    assert not masks["fibrosis", "P1R1"].any(), "certainty 1 counts as absent"
    assert ("consolidation", "P1R1") not in masks, "not asked for, and the certainty of the ellipse is too low"
    assert ("atelectasis", "P1R2") not in masks, "stated, but not outlined"
    assert masks["atelectasis", "P1R3"].sum() > 50, "only the gaze of this reading was discarded"
    assert masks["fibrosis", "P1R3"].shape == SHAPE
    annotations = Reflacx(root=root, certainty=1).load("d0").annotations
    assert ("consolidation", "P1R1") in {(annotation.finding, annotation.reader) for annotation in annotations}


def test_boxes_of_the_chest(root: Path) -> None:
    assert "chest" not in Reflacx(root=root).load("d1").findings()
    annotations = Reflacx(root=root, chest=True).load("d1").annotations
    (chest,) = (annotation for annotation in annotations if annotation.finding == "chest")
    expected = np.zeros(SHAPE)
    expected[6:50, 5:45] = 1
    np.testing.assert_array_equal(chest.values, expected)
    (root / "main_data/P1R4/chest_bounding_box.csv").write_text("xmin,ymin,xmax,ymax\n5,6,5,50\n")
    with pytest.raises(DataError, match=r"line 2: .* which is not a box"):
        Reflacx(root=root, chest=True).load("d1")
    (root / "main_data/P1R4/chest_bounding_box.csv").write_text("xmin,ymin,xmax,ymax\n")
    with pytest.raises(DataError, match="must have one row with a box \\(got 0\\)"):
        Reflacx(root=root, chest=True).load("d1")


def test_fixations_that_cannot_be_used(root: Path) -> None:
    broken = [gaze_line("nan", 5), gaze_line(5, ""), gaze_line(5, 5, 0.5), gaze_line(5, 5, degree=0)]
    reading(root, "P2R1", [*broken, gaze_line(5, 5)])
    reading(root, "P2R2", [gaze_line(50, 5), gaze_line(-1, 5), gaze_line(5, 60)])
    reading(root, "P3R1", [])
    dataset = Reflacx(root=root)
    assert len(dataset.load("d2").extras["fixations"]) == 1
    for id in ("d3", "d4"):
        sample = dataset.load(id)
        assert sample.extras["fixations"].shape == (0, 3)
        assert not sample.annotations[0].values.any()
    tallies = counts_of(dataset)
    assert tallies["fixations without place, duration or resolution"] == (4, 0)
    (rejected,) = [tally for tally in dataset.rejected() if tally.what.startswith("fixations")]
    assert (rejected.count, "metadata_phase_2.csv, line 2" in rejected.example) == (4, True)
    assert tallies["fixations beside their image"] == (3, None)
    assert tallies["readings without a fixation on the image"] == (2, 0)
    assert (tallies["readings"], tallies["samples"]) == ((7, 3032), (5, 2616))
    assert tallies["readings whose gaze was discarded"] == (1, None)


def test_rows_that_cannot_be_used(root: Path) -> None:
    sheet(root, 2, row("P2R1", 2, "0,5,,False"), row("P2R1", 2, "0,5,,False"), row("P2R2", 3, "0,0,,", "val"),
          row("", 3, "0,0,,"), row("../x", 3, "0,0,,"), row("P2R3", 3, "0,0,,", size="a,60"), row("P2R4", 3, "0,0,,,9"),
          row("P2R5", 1, "0,0,,", "test"), row("P2R6", 7, "0,0,,"))  # fmt: skip
    sheet(root, 3, row("P3R1", 4, "0,0,,", "test", subject="s3"))
    dataset = Reflacx(root=root)
    tallies = counts_of(dataset)
    assert tallies["rows that cannot be used"] == (5, 0)
    assert tallies["readings listed twice"] == (1, 0)
    assert tallies["ids with two meanings"] == (1, 0)
    assert tallies["patients in two splits"] == (1, 0)
    assert tallies["missing images"] == (0, 0)
    assert dataset.ids() == ["d0", "d2"]
    divided = Reflacx(root=root, division="shares", absent="skip")
    assert set(divided.ids()) == {"d0", "d1", "d2", "d3", "d4"}


def test_missing_images_and_files(root: Path) -> None:
    (root / "files/p10/s1/d1.dcm").unlink()
    (root / "main_data/P2R1/fixations.csv").unlink()
    sheet(root, 3, row("P3R1", 4, "0,0,,", "test", size="60,60"))
    dataset = Reflacx(root=root)
    with pytest.raises(DataError, match=r"d1\.dcm does not exist"):
        dataset.load("d1")
    with pytest.raises(DataError, match=r"fixations\.csv does not exist"):
        dataset.load("d2")
    with pytest.raises(DataError, match=r"d4\.dcm has \(60, 50\) pixels, but was read at \(60, 60\)"):
        dataset.load("d4")
    assert (counts_of(dataset)["missing images"], counts_of(dataset)["unreadable samples"]) == ((1, 0), (2, 0))


def test_dicom_without_pixels(root: Path) -> None:
    import pydicom

    data = pydicom.dcmread(root / "files/p10/s0/d0.dcm")
    del data.PixelData
    data.save_as(root / "files/p10/s0/d0.dcm")
    with pytest.raises(DataError, match=r"d0\.dcm .*no pixel data"):
        Reflacx(root=root).load("d0")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_encodings(root: Path, encoding: str) -> None:
    for path in [*root.rglob("*.csv")]:
        path.write_text(path.read_text().replace("scar|line", "Kälte"), encoding=encoding)
    dataset = Reflacx(root=root)
    assert dataset.load("d0").label == LABELS.index("Atelectasis")
    assert "Kälte" in [row["Other"] for row in dataset.rows["d0"]]


def test_missing_tables_and_renamed_columns(root: Path) -> None:
    path = root / "main_data/metadata_phase_2.csv"
    path.write_text(path.read_text().replace("dicom_id", "dicom"))
    with pytest.raises(DataError, match=r"has no column 'dicom_id' \(its columns: .*dicom"):
        Reflacx(root=root).ids()
    path.unlink()
    with pytest.raises(DataError, match=r"phase_2\.csv does not exist; obtain it from .*leave the phase out"):
        Reflacx(root=root).ids()
    dataset = Reflacx(root=root, phases=(1, 3))
    assert len(dataset.ids()) == 3
    assert dataset.published == {}
    (root / "main_data/P3R1/fixations.csv").write_text("timestamp,x,y\n")
    with pytest.raises(DataError, match="has no column"):
        dataset.load("d4")
    assert counts_of(dataset)["unreadable samples"] == (1, 0), "the check continues"
    reading(root, "P3R1", [gaze_line(5, 5), gaze_line(6, 6) + ",9"])
    with pytest.raises(DataError, match=r"fixations\.csv, line 3: 14 values for 13 columns"):
        dataset.load("d4")


def test_identity_follows_the_files_of_the_readings(root: Path, tmp_path: Path) -> None:
    before = Reflacx(root=root).identity
    reading(root, "P3R1", [gaze_line(11, 12)])
    assert Reflacx(root=root).identity != before


def test_findings_are_named_once(tmp_path: Path) -> None:
    findings = Reflacx(root=tmp_path, chest=True).findings
    assert len(set(findings)) == len(findings) == len(LABELS) + 2
    assert named("Pulmonary edema") == "pulmonary_edema"


def test_samples_of_the_phantom_are_written_and_read_back(tmp_path: Path) -> None:
    phantom = pytest.importorskip("heatproof_phantom.phantom", reason="the phantom dataset is not installed")
    chests = phantom.Phantom(patients=4, subject="chest", height=192)
    samples = [chests.load(id) for id in chests.ids("train")]
    samples = [replace(sample, extras={**sample.extras, "split": "train"}) for sample in samples]
    assert Reflacx(root=tmp_path).write(samples, tmp_path / "twin") == len(samples)
    dataset = Reflacx(root=tmp_path / "twin")
    for sample in samples:
        actual = dataset.load(sample.id)
        assert (actual.label, actual.patient) == (sample.label, sample.patient)
        np.testing.assert_array_equal(actual.image, sample.image)
        np.testing.assert_allclose(actual.extras["fixations"], sample.extras["fixations"], atol=1e-9)
        gaze = [annotation.values for annotation in actual.annotations if annotation.finding == "gaze"]
        assert len(gaze) == 3
        for values, points in zip(gaze, fixations_of(sample).values()):
            degrees = np.full((len(points), 2), 150 / 3056 * 192)
            shown = np.array([[[0, 192], [0, actual.space[1]]]]).repeat(len(points), 0)
            frames = dwelt(points[:, :2], points[:, 2], degrees, shown, actual.space)
            np.testing.assert_allclose(values, frames.total(), rtol=1e-5, atol=1e-10)
        for finding in ("consolidation", "enlarged_cardiac_silhouette"):
            mask = actual.mask(finding)
            expected = sample.mask(finding)
            assert (mask & expected).sum() >= 0.9 * (mask | expected).sum()
        assert actual.findings() == ("gaze", "consolidation", "enlarged_cardiac_silhouette")
    assert {split: len(dataset.ids(split)) for split in dataset.splits} == {"train": 8, "tuning": 0, "test": 0}
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")


def test_samples_of_other_datasets_are_written_too(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 20, 30)).astype(np.uint8)
    dataset = Reflacx(root=tmp_path / "twin")
    dataset.write([Sample("eye", image, label=999, patient="p", extras={"split": "tuning"})], tmp_path / "twin")
    actual = dataset.load("eye")
    assert (dataset.classes[actual.label], actual.annotations, dataset.ids("tuning")) == ("No finding", (), ["eye"])
