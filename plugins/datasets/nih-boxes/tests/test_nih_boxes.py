"""Tests of nih_boxes: the tables of NIH and of RSNA with synthetic images, and faults in them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.errors import DataError, HeatproofError
from heatproof.records import Annotation, Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_cohorts.image_files import write_image
from heatproof_dicom_files.writing import write_dicom
from heatproof_nih_boxes.nih_boxes import NihBoxes

SIZE = (20, 24)
ENTRY = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"  # noqa: E501
BBOX = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
RSNA = "patientId,x,y,width,height,Target"
ALL_TEST = {"train": 0, "tuning": 0, "test": 1}


def faults(dataset: NihBoxes) -> dict[str, int]:
    return {tally.what: tally.count for tally in dataset.check() if tally.expected == 0 and tally.count}


def lines(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def nih(tmp_path: Path) -> Path:
    """Four images of three patients in two folders; two images have boxes, all in the published test list."""
    labels = {"00000001_000": "Infiltration|Nodule", "00000001_001": "Nodule", "00000002_000": "No Finding",
              "00000003_000": "Pleural_Thickening"}  # fmt: skip
    for number, name in enumerate(labels):
        folder = tmp_path / f"images_00{number % 2 + 1}/images"
        write_image(np.full((1, *SIZE), 40 * number, dtype=np.uint8), folder / f"{name}.png")
    rows = [f"{name}.png,{text},0,{int(name[:8])},57,M,PA,2682,2749,0.143,0.143," for name, text in labels.items()]
    lines(tmp_path / "Data_Entry_2017.csv", ENTRY, *rows)
    lines(
        tmp_path / "BBox_List_2017.csv",
        BBOX,
        "00000001_000.png,Infiltrate,2.5,3,4,5.5,,,",
        "00000001_000.png,Nodule,10,11,3,3,,,",
        "00000001_001.png,Nodule,0,0,24,20,,,",
    )
    lines(tmp_path / "train_val_list.txt", "00000002_000.png", "00000003_000.png")
    lines(tmp_path / "test_list.txt", "00000001_000.png", "00000001_001.png")
    return tmp_path


def test_boxes_labels_and_patients_of_nih(nih: Path) -> None:
    dataset = NihBoxes(root=nih, size=SIZE, shares=ALL_TEST)
    assert dataset.ids() == dataset.ids("test") == ["00000001_000", "00000001_001"]
    first, second = (dataset.load(id) for id in dataset.ids())
    names = [dataset.classes[index] for index in first.label]
    assert (names, first.patient, second.patient) == (["Infiltration", "Nodule"], "1", "1")
    assert second.label == dataset.classes.index("Nodule")
    assert [(annotation.finding, annotation.kind) for annotation in first.annotations] == [
        ("infiltration", "box"),
        ("nodule", "box"),
    ]
    infiltration, nodule = (annotation.values for annotation in first.annotations)
    assert float(infiltration.sum()) == 4 * 5.5
    assert infiltration[3:8, 2].tolist() == [0.5] * 5
    assert (infiltration[8, 3], nodule[11:14, 10:13].min(), float(nodule.sum())) == (0.5, 1, 9)
    assert second.annotations[0].values.min() == 1
    assert faults(dataset) == {}
    tallies = counts_of(dataset)
    assert (tallies["boxes"], tallies["images without a box"]) == ((3, 984), (2, None))
    assert tallies["samples"] == (2, 880)
    check_dataset(dataset)


def test_images_without_a_box_were_not_examined(nih: Path) -> None:
    dataset = NihBoxes(root=nih, size=SIZE, images="all", division="published")
    assert dataset.ids("train") == ["00000002_000", "00000003_000"]
    assert dataset.ids("test") == ["00000001_000", "00000001_001"]
    assert (dataset.ids("tuning"), dataset.tuning) == ([], "train")
    well = dataset.load("00000002_000")
    assert (dataset.classes[well.label], well.annotations) == ("No Finding", ())
    tallies = counts_of(dataset)
    assert tallies["samples"] == (4, 112_120)
    assert (tallies["patients"], tallies["samples in test"]) == ((3, 30_805), (2, 25_596))


def test_faults_of_the_tables_of_nih(nih: Path) -> None:
    with open(nih / "BBox_List_2017.csv", "a") as table:
        table.write("00000001_000.png,Nodule,10,11,3,3,,,\n")
        table.write("00000001_000.png,Rickets,10,11,3,3,,,\n")
        table.write("00000009_000.png,Mass,10,11,3,3,,,\n")
        table.write("00000001_001.png,Mass,1,1,3,3,,,\n")
    with open(nih / "Data_Entry_2017.csv", "a") as table:
        table.write("00000004_000.png,Dragon,0,4,57,M,PA,1,1,1,1,\n")
        table.write("../a.png,Mass,0,4,57,M,PA,1,1,1,1,\n")
        table.write("00000001_000.png,Infiltration|Nodule,0,1,57,M,PA,1,1,1,1,\n")
    (nih / "images_002/images/00000001_001.png").unlink()
    dataset = NihBoxes(root=nih, size=SIZE)
    assert len(dataset.load("00000001_000").annotations) == 2
    assert faults(dataset) == {
        "samples listed twice": 1,
        "rows that cannot be used": 2,
        "boxes of unknown findings": 1,
        "boxes without an image": 1,
        "boxes listed twice": 1,
        "missing images": 1,
    }
    assert counts_of(dataset)["boxes of a finding that the labels lack"] == (1, None)
    (nih / "test_list.txt").write_text("00000001_000.png\n")
    assert faults(NihBoxes(root=nih, size=SIZE, division="published"))["images in no list"] == 1


def test_images_with_two_splits_two_files_or_contradictory_labels_are_rejected(nih: Path) -> None:
    with open(nih / "train_val_list.txt", "a") as table:
        table.write("00000001_000.png\n")
    dataset = NihBoxes(root=nih, size=SIZE, division="published")
    assert (dataset.ids(), faults(dataset)) == (["00000001_001"], {"images in both lists": 1})
    write_image(np.zeros((1, *SIZE), dtype=np.uint8), nih / "images_009/00000001_001.png")
    dataset = NihBoxes(root=nih, size=SIZE)
    assert (dataset.ids(), faults(dataset)) == (["00000001_000"], {"images in two files": 1})
    table = nih / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace("Infiltration|Nodule", "No Finding|Nodule"))
    (nih / "images_009/00000001_001.png").unlink()
    dataset = NihBoxes(root=nih, size=SIZE)
    assert (dataset.ids(), faults(dataset)) == (
        ["00000001_001"],
        {"rows that cannot be used": 1, "boxes without an image": 2},
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("10,11,0,3", "the box 10, 11 – 10, 14 is empty"),
        ("10,11,15,3", "the box leaves the image of 20 × 24 pixels by 1 pixels"),
        ("ten,11,3,3", "x is 'ten'; give a number"),
        ("10,11,,3", "width is ''; give a number"),
    ],
)
def test_boxes_that_do_not_fit(nih: Path, row: str, message: str) -> None:
    lines(nih / "BBox_List_2017.csv", BBOX, f"00000001_000.png,Nodule,{row},,,", "00000001_001.png,Nodule,1,1,2,2,,,")
    dataset = NihBoxes(root=nih, size=SIZE)
    with pytest.raises(DataError, match=message):
        dataset.load("00000001_000")
    assert faults(dataset) == {"unreadable samples": 1}
    clipping = NihBoxes(root=nih, size=SIZE, overhang=1)
    if "leaves" in message:
        assert clipping.load("00000001_000").annotations[0].values.sum() == 14 * 3
        assert counts_of(clipping)["boxes clipped"] == (1, None)


def test_resized_images_are_refused(nih: Path) -> None:
    with pytest.raises(DataError, match=r"has \(20, 24\) pixels, but boxes were drawn on images of \(1024, 1024\)"):
        NihBoxes(root=nih).load("00000001_000")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Data_Entry_2017.csv", {}, r"holds neither Data_Entry_2017_v2020\.csv nor Data_Entry_2017\.csv; obtain it"),
        ("BBox_List_2017.csv", {}, r"BBox_List_2017\.csv does not exist"),
        ("test_list.txt", {"division": "published"}, r"test_list\.txt does not exist"),
        ("", {"source": "rsna"}, r"holds no stage_2_train_labels\.csv; obtain it from the Kaggle competition"),
    ],
)
def test_missing_tables(nih: Path, name: str, settings: dict[str, Any], message: str) -> None:
    if name:
        (nih / name).unlink()
    with pytest.raises(DataError, match=message):
        NihBoxes(root=nih, size=SIZE, **settings).ids()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"source": "rsna", "division": "published"},
            r"RSNA published the boxes of one set only .* set division to shares",
        ),
        ({"size": (0, 1024)}, r"size\.0: should be greater than or equal to 1"),
    ],
)
def test_settings_that_contradict_the_sources(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HeatproofError, match=message):
        NihBoxes(root=tmp_path, **settings)


@pytest.fixture
def rsna(tmp_path: Path) -> Path:
    """Three images, of which one has two boxes and one was read as normal."""
    for number, name in enumerate("abc"):
        write_dicom(np.full((1, *SIZE), 60 * number, dtype=np.uint8), tmp_path / f"stage_2_train_images/{name}.dcm")
    lines(
        tmp_path / "stage_2_train_labels.csv",
        RSNA,
        "a,2.0,3.0,4.0,5.0,1",
        "a,10.0,3.0,4.5,5.0,1",
        "b,,,,,0",
        "c,0,0,1,1,1",
    )
    return tmp_path


def test_boxes_and_negative_images_of_rsna(rsna: Path) -> None:
    dataset = NihBoxes(root=rsna, source="rsna", size=SIZE, images="all", shares=ALL_TEST)
    both, well, _ = (dataset.load(id) for id in dataset.ids())
    assert [dataset.classes[sample.label] for sample in (both, well)] == ["Pneumonia", "No Pneumonia"]
    assert [float(annotation.values.sum()) for annotation in both.annotations] == [20, 22.5]
    assert [annotation.finding for annotation in (*both.annotations, *well.annotations)] == ["pneumonia"] * 3
    assert not well.annotations[0].values.any()
    np.testing.assert_array_equal(well.image, 60)
    assert NihBoxes(root=rsna, source="rsna").ids() == ["a", "c"]
    tallies = counts_of(dataset)
    assert (tallies["samples"], tallies["boxes"]) == ((3, 26_684), (3, 9_555))
    assert faults(dataset) == {}
    check_dataset(dataset)


def test_patients_of_rsna_are_those_of_nih(rsna: Path) -> None:
    unmapped = NihBoxes(root=rsna, source="rsna", size=SIZE, images="all")
    assert [unmapped.patient(id) for id in "abc"] == ["a", "b", "c"]
    unknown = "images whose patient is unknown (no pneumonia-challenge-dataset-mappings_2018.json)"
    assert counts_of(unmapped)[unknown] == (3, None)
    entries = [
        {"subset_img_id": id, "img_id": f"{number:08d}_000.png"} for id, number in (("a", 1), ("b", 1), ("c", 7))
    ]
    path = rsna / "pneumonia-challenge-dataset-mappings_2018.json"
    path.write_text(json.dumps(entries))
    mapped = NihBoxes(root=rsna, source="rsna", size=SIZE, images="all")
    assert [mapped.patient(id) for id in "abc"] == ["00000001", "00000001", "00000007"]
    assert (counts_of(mapped)[unknown], counts_of(mapped)["patients"]) == ((0, None), (2, None))
    assert mapped.identity != unmapped.identity
    path.write_text('{"a": 1}')
    with pytest.raises(DataError, match="is not a list of objects with subset_img_id and img_id"):
        NihBoxes(root=rsna, source="rsna").ids()


def test_faults_of_the_table_of_rsna(rsna: Path) -> None:
    with open(rsna / "stage_2_train_labels.csv", "a") as table:
        table.write("a,2.0,3.0,4.0,5.0,1\nb,,,,,0\nd,,,,,1\ne,1,1,2,2,0\nf,1,1,,2,1\ng,,,,,2\n../h,,,,,0\nc,,,,,0\n")
    dataset = NihBoxes(root=rsna, source="rsna", size=SIZE, images="all")
    assert dataset.ids() == ["a", "b"]
    assert len(dataset.load("a").annotations) == 2
    assert faults(dataset) == {"ids with two meanings": 1, "rows that cannot be used": 5, "boxes listed twice": 2}


def samples() -> list[Sample]:
    image = np.full((1, *SIZE), 50, dtype=np.uint8)
    box = np.zeros(SIZE, dtype=np.float32)
    box[3:9, 5:11] = 1
    box[9, 5:11] = 0.5
    annotations = (Annotation("consolidation", box, "box"), Annotation("cardiomegaly", box[::-1] > 0.6))
    full = [Sample(f"synthetic_{n}", image + np.uint8(n), annotations, n % 2, f"p_{n // 2}") for n in range(6)]
    return [*full, replace(full[0], id="unmarked", annotations=(), label=99)]


@pytest.mark.parametrize(("source", "findings"), [("nih", ["infiltration", "cardiomegaly"]), ("rsna", ["pneumonia"])])
def test_samples_are_written_and_read_back(source: Any, findings: list[str], tmp_path: Path) -> None:
    root = tmp_path / "twin"
    assert NihBoxes(root=root, source=source).write(samples(), root) == 7
    dataset = NihBoxes(root=root, source=source, size=SIZE, images="all")
    assert faults(dataset) == {}
    for sample in samples():
        actual = dataset.load(sample.id)
        assert actual.patient == sample.patient
        np.testing.assert_array_equal(actual.image, sample.image)
        shown = {annotation.finding: annotation for annotation in actual.annotations if annotation.values.any()}
        if sample.annotations:
            assert list(shown) == findings
            np.testing.assert_array_equal(shown[findings[0]].values, sample.annotations[0].values)
    labels = [dataset.load(id).label for id in dataset.ids()]
    assert labels == ([0, 1, 0, 1, 0, 1, 14] if source == "nih" else [1] * 6 + [0])
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples(), root)


def test_colour_becomes_grey_in_dicom(tmp_path: Path) -> None:
    image = np.stack([np.full(SIZE, value, dtype=np.uint8) for value in (0, 90, 180)])
    root = tmp_path / "twin"
    NihBoxes(root=root, source="rsna").write([replace(samples()[0], image=image)], root)
    actual = NihBoxes(root=root, source="rsna", size=SIZE).load("synthetic_0")
    np.testing.assert_array_equal(actual.image, np.full((1, *SIZE), 90))
