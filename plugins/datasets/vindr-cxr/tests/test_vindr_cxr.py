"""Tests of VinDr-CXR: the published layout with synthetic images, the rules that combine readers, and faults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Label, Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_dicom_files.writing import write_dicom
from heatproof_lesions.readings import readings
from heatproof_vindr_cxr.findings import CLASSES, LOCAL
from heatproof_vindr_cxr.vindr_cxr import VindrCxr

SHAPE = (30, 24)
NAMES = (*CLASSES[1:-1], "Other diseases", "No finding")
"""The columns as in public loaders: alphabetic findings, then diseases, and the last two."""
Reading = Mapping[str, Sequence[tuple[float, float, float, float]]]
"""Stated class → its boxes; a disease has none."""


def index(name: str) -> int:
    return CLASSES.index(name)


def write_part(root: Path, split: str, images: Mapping[str, Mapping[str, Reading]]) -> None:
    """The tables and images of a split: image → reader → reading; a consensus has no reader."""
    labels = [",".join(("image_id", *["rad_ID"] * (split == "train"), *NAMES))]
    boxes = [",".join(("image_id", *["rad_id"] * (split == "train"), "class_name,x_min,y_min,x_max,y_max"))]
    for number, (id, by_reader) in enumerate(images.items()):
        write_dicom(np.full((1, *SHAPE), 1000 * number, dtype=np.uint16), root / split / f"{id}.dicom")
        for reader, reading in by_reader.items():
            key = ",".join((id, *[reader] * (split == "train")))
            stated = reading.keys() or {"No finding"}
            labels.append(",".join((key, *(str(int(name in stated)) for name in NAMES))))
            rows = [f"{key},{name},{','.join(map(str, box))}" for name, drawn in reading.items() for box in drawn]
            boxes += rows or [f"{key},No finding,,,,"]
    (root / "annotations").mkdir(exist_ok=True)
    (root / f"annotations/image_labels_{split}.csv").write_text("\n".join(labels) + "\n")
    (root / f"annotations/annotations_{split}.csv").write_text("\n".join(boxes) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image on which three readers differ, one that all find normal, and one of the test split."""
    differing: dict[str, Reading] = {
        "R8": {"Cardiomegaly": [(2, 10, 12, 20)], "Nodule/Mass": [(15, 2, 18, 5), (20, 2, 22, 4)]},
        "R9": {"Cardiomegaly": [(6, 12, 16.5, 22)], "Pneumonia": []},
        "R10": {"Nodule/Mass": [(16, 3, 19, 6)], "ILD": []},
    }
    write_part(tmp_path, "train", {"a1": differing, "b2": {reader: {} for reader in ("R1", "R2", "R3")}})
    write_part(tmp_path, "test", {"c3": {"": {"Lung Opacity": [(0, 0, 24, 30)], "Other diseases": []}}})
    return tmp_path


def area(left: float, top: float, right: float, bottom: float) -> Array:
    """The covered share of each pixel by a box, pixel by pixel."""
    mask = np.zeros(SHAPE)
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            width = min(right, column + 1) - max(left, column)
            height = min(bottom, row + 1) - max(top, row)
            mask[row, column] = max(0, width) * max(0, height)
    return mask


def test_each_reader_annotates(root: Path) -> None:
    dataset = VindrCxr(root=root)
    assert (dataset.ids("train"), dataset.ids("test")) == (["a1", "b2"], ["c3"])
    assert dataset.readers == ("R1", "R10", "R2", "R3", "R8", "R9")
    assert VindrCxr(root=root, readers="union").readers == ()
    sample = dataset.load("a1")
    drawn = [(a.finding, a.reader, a.kind) for a in sample.annotations if a.values.any()]
    assert drawn == [
        ("cardiomegaly", "R8", "box"),
        ("nodule_mass", "R8", "box"),
        ("nodule_mass", "R8", "box"),
        ("cardiomegaly", "R9", "box"),
        ("nodule_mass", "R10", "box"),
    ]
    hearts = {a.reader: a.values for a in sample.annotations if a.finding == "cardiomegaly"}
    np.testing.assert_allclose(hearts["R9"], area(6, 12, 16.5, 22), atol=1e-6)
    assert not hearts["R10"].any()
    # R10 states ILD without a box: this reader's place is not known, the others deny it.
    assert {a.reader for a in sample.annotations if a.finding == "ild"} == {"R8", "R9"}
    assert dataset.load("b2").findings() == dataset.findings
    consensus = dataset.load("c3")
    assert consensus.label == (index("Lung Opacity"), index("Other disease"))
    assert consensus.mask("lung_opacity").min() == 1
    assert {annotation.reader for annotation in consensus.annotations} == {""}
    np.testing.assert_array_equal(dataset.load("b2").image, np.full((1, *SHAPE), 1000))
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("readers", "labels"),
    [
        ("each", {"a1": ("Cardiomegaly", "Nodule/Mass"), "b2": ("No finding",)}),
        ("majority", {"a1": ("Cardiomegaly", "Nodule/Mass"), "b2": ("No finding",)}),
        ("union", {"a1": ("Cardiomegaly", "ILD", "Nodule/Mass", "Pneumonia"), "b2": ("No finding",)}),
    ],
)
def test_a_label_applies_if_enough_readers_state_it(
    root: Path, readers: Any, labels: Mapping[str, Sequence[str]]
) -> None:
    dataset = VindrCxr(root=root, readers=readers)
    expected: dict[str, Label] = {id: tuple(map(index, names)) for id, names in labels.items()}
    actual = {id: tuple(np.atleast_1d(np.array(dataset.load(id).label)).tolist()) for id in labels}
    assert actual == expected


@pytest.mark.parametrize(("readers", "least"), [("union", 1), ("majority", 2)])
def test_readers_are_combined_pixel_by_pixel(readers: Any, least: int, tmp_path: Path) -> None:
    """Counting in each pixel the readers who cover it gives the same maps, also where a reader denies the finding."""
    rng = np.random.default_rng(least)
    images: dict[str, dict[str, Reading]] = {}
    counts: dict[str, Array] = {}
    for number in range(4):
        id = f"image{number}"
        images[id] = {}
        counts[id] = np.zeros(SHAPE)
        for reader in ("R1", "R2", "R3"):
            boxes = [tuple(map(int, (x, y, x + w, y + h))) for x, y, w, h in rng.integers(1, 12, (number, 4))]
            images[id][reader] = {"Edema": boxes} if boxes and not (number == 2 and reader == "R2") else {}
            reached = [area(*box) for box in images[id][reader].get("Edema", ())]
            counts[id] += np.maximum.reduce([np.zeros(SHAPE), *reached])
    write_part(tmp_path, "train", images)
    dataset = VindrCxr(root=tmp_path, readers=readers)
    for id, count in counts.items():
        (annotation,) = [a for a in dataset.load(id).annotations if a.finding == "edema"]
        np.testing.assert_array_equal(annotation.values, count >= least)
        assert (annotation.kind, annotation.reader) == ("mask", "")
    check_dataset(dataset)


def test_a_reader_without_a_box_does_not_vote_on_its_place(root: Path) -> None:
    """Two of the three readers deny ILD and one states it without a box, so nobody covers a pixel."""
    sample = VindrCxr(root=root, readers="majority").load("a1")
    (annotation,) = [a for a in sample.annotations if a.finding == "ild"]
    assert not annotation.values.any()


def test_agreement_between_readers_can_be_computed(root: Path) -> None:
    """The intersection over union of two readers' hearts is that of their boxes."""
    maps = readings(VindrCxr(root=root).load("a1"), ["cardiomegaly"], "each")
    first, second = (reading["cardiomegaly"] for reading in maps[:2])
    actual = np.minimum(first, second).sum() / np.maximum(first, second).sum()
    assert actual == pytest.approx(6 * 8 / (10 * 10 + 10.5 * 10 - 6 * 8))
    assert len(maps) == 3


def test_faults_and_remarks_are_counted(root: Path) -> None:
    folder = root / "annotations"
    zeros = ",0" * len(NAMES)
    with open(folder / "image_labels_train.csv", "a") as table:
        table.write(f"d4,R1{zeros}\n,R1{zeros}\nb2,{zeros}\nb2,R1{zeros}\nd4,R2{',x' * len(NAMES)}\n")
    with open(folder / "annotations_train.csv", "a") as table:
        table.write("a1,R8,Cardiomegaly,2,10,12,20\na1,R8,Rickets,2,10,12,20\nz9,R8,Edema,2,10,12,20\n")
        table.write("a1,R4,Edema,2,10,12,20\na1,R9,Edema,2,10,12,20\n")
    dataset = VindrCxr(root=root)
    tallies = counts_of(dataset)
    assert {name: count for name, (count, expected) in tallies.items() if expected == 0 and count} == {
        "rows that cannot be used": 3,
        "readings listed twice": 1,
        "boxes of unknown findings": 1,
        "boxes without an image or a reader": 2,
        "boxes listed twice": 1,
        "missing images": 1,
    }
    assert tallies["training images with fewer than 3 readers"] == (1, None)
    assert tallies["findings that a reader states without a box"] == (1, None)
    assert tallies["boxes that the labels of their reader deny"] == (1, None)
    assert tallies["samples in test"] == (1, 3_000)
    with pytest.raises(DataError, match=r"d4\.dicom does not exist"):
        dataset.load("d4")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("2,10,12,40", r"line 7: the box leaves the image of 30 × 24 pixels by 10 pixels"),
        ("2,10,2,20", r"line 7: the box 2, 10 – 2, 20 is empty"),
        ("2,10,12,", r"line 7: y_max is ''; give a number"),
    ],
)
def test_boxes_that_do_not_fit(root: Path, box: str, message: str) -> None:
    path = root / "annotations/annotations_train.csv"
    lines = path.read_text().splitlines()
    lines.insert(6, f"a1,R8,Edema,{box}")
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        VindrCxr(root=root).load("a1")
    assert counts_of(VindrCxr(root=root))["unreadable samples"] == (1, 0)
    if "leaves" in message:
        clipping = VindrCxr(root=root, overhang=10)
        assert clipping.load("a1").mask("edema").sum() == 10 * 20
        assert counts_of(clipping)["boxes clipped"] == (1, None)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "annotations_train.csv").unlink(), r"annotations_train\.csv does not exist"),
        (lambda folder: [path.unlink() for path in folder.glob("image*")], "obtain it from the page 'VinDr-CXR'"),
        (
            lambda folder: (folder / "image_labels_test.csv").write_text(f"image_id,{','.join(NAMES[:-2])},No finding"),
            "has no column 'Other disease'",
        ),
        (lambda folder: (folder / "image_labels_test.csv").write_text("image_id,Edema"), "has no column 'No finding'"),
    ],
)
def test_tables_that_cannot_be_read(root: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(root / "annotations")
    with pytest.raises(DataError, match=message):
        VindrCxr(root=root).ids()


def test_one_split_may_be_missing_and_tables_may_lie_beside_the_images(root: Path) -> None:
    for path in (root / "annotations").glob("*_test.csv"):
        path.rename(root / path.name)
    (root / "annotations/image_labels_train.csv").unlink()
    dataset = VindrCxr(root=root)
    assert dataset.ids() == ["c3"]
    assert counts_of(dataset)["missing tables"] == (1, None)


def test_the_window_of_the_settings_is_used(root: Path) -> None:
    assert VindrCxr(root=root, window=(0, 2000)).load("b2").image.max() == round(65535 / 2)


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    image = np.full((1, *SHAPE), 500, dtype=np.uint16)
    box = np.zeros(SHAPE, dtype=np.float32)
    box[3:9, 5:11] = 1
    annotations = (
        Annotation("enlarged_cardiac_silhouette", box, "box", "A"),
        Annotation("edema", box[::-1] > 0, reader="B"),
        Annotation("edema", np.zeros(SHAPE, dtype=bool), reader="A"),
        Annotation("left_lung", box),
    )
    full = [Sample(f"synthetic_{n}", image, annotations, 1 + n, extras={"split": "train"}) for n in range(3)]
    samples = [*full, replace(full[0], id="test", label=(2, 99), extras={"split": "test"}),
               replace(full[0], id="unread", annotations=(), label=0)]  # fmt: skip
    twin = tmp_path / "twin"
    assert VindrCxr(root=twin).write(samples, twin) == 5
    dataset = VindrCxr(root=twin)
    assert not any(tally.count for tally in dataset.check() if tally.expected == 0)
    for sample in samples:
        actual = dataset.load(sample.id)
        assert actual.label == ((2, len(CLASSES) - 1) if sample.id == "test" else sample.label)
        np.testing.assert_array_equal(actual.image, sample.image)
        shown = {(a.finding, a.reader): a.values for a in actual.annotations if a.values.any()}
        readers = ("", "") if sample.id == "test" else ("A", "B")
        if sample.annotations:
            assert shown.keys() == {("cardiomegaly", readers[0]), ("edema", readers[1])}
            np.testing.assert_array_equal(shown["cardiomegaly", readers[0]], box)
    assert (dataset.ids("test"), dataset.load("unread").findings()) == (["test"], tuple(LOCAL))
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, twin)
