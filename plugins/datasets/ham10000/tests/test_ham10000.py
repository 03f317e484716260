"""Tests of HAM10000: published layouts, damaged downloads, and samples written and read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Annotation, Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_cohorts.image_files import write_image
from heatproof_ham10000.ham10000 import FOLDERS, MASKS, Ham10000

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"
DIAGNOSES = ("nv", "mel", "df")
ROWS = [
    f"HAM_{number // 2:07d},ISIC_{number:07d},{DIAGNOSES[number // 2 % 3]},histo,50.0,male,back" for number in range(60)
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join((HEADER, *ROWS)) + "\n")
    for number in range(60):
        image = np.full((3, 8, 10), 4 * number, dtype=np.uint8)
        write_image(image, tmp_path / FOLDERS[number % 2] / f"ISIC_{number:07d}.jpg")
    return tmp_path


def mask(root: Path, number: int, shape: tuple[int, int] = (8, 10)) -> None:
    values = np.zeros((1, *shape), dtype=np.uint8)
    values[:, 2:5, 3:7] = 255
    write_image(values, root / MASKS / f"ISIC_{number:07d}_segmentation.png")


def test_images_of_both_folders(root: Path) -> None:
    dataset = Ham10000(root=root)
    assert dataset.ids() == [f"ISIC_{number:07d}" for number in range(60)]
    sample = dataset.load("ISIC_0000003")
    assert (sample.label, sample.patient, sample.annotations) == (dataset.classes.index("mel"), "HAM_0000001", ())
    np.testing.assert_allclose(sample.image, 12, atol=2)
    check_dataset(dataset)


def test_the_table_of_dataverse(root: Path) -> None:
    before = Ham10000(root=root)
    assert before.ids()
    (root / "HAM10000_metadata.csv").unlink()
    lines = [f"{HEADER},dataset", *(f"{row},vidir_modern" for row in ROWS)]
    (root / "HAM10000_metadata").write_text("\n".join(lines))
    dataset = Ham10000(root=root)
    identity = dataset.identity
    assert dataset.listing.entries == before.listing.entries
    (root / "HAM10000_metadata").write_text("\n".join(lines).replace(",mel,", ",bkl,"))
    assert Ham10000(root=root).identity != identity


def test_no_lesion_is_in_two_splits(root: Path) -> None:
    dataset = Ham10000(root=root)
    parts = [{dataset.patient(id) for id in dataset.ids(split)} for split in dataset.splits]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts)) == 30


def test_masks_annotate_the_lesion(root: Path) -> None:
    mask(root, 0)
    mask(root, 2, (4, 5))
    dataset = Ham10000(root=root)
    (annotation,) = dataset.load("ISIC_0000000").annotations
    expected = np.zeros((8, 10), dtype=bool)
    expected[2:5, 3:7] = True
    np.testing.assert_array_equal(annotation.values, expected)
    assert annotation.finding == "lesion"
    assert dataset.load("ISIC_0000001").annotations == ()
    with pytest.raises(DataError, match=r"0000002_segmentation\.png has \(4, 5\) pixels, its image \(8, 10\)"):
        dataset.load("ISIC_0000002")
    tallies = counts_of(dataset)
    assert (tallies["images without a mask"], tallies["unreadable samples"]) == ((58, None), (1, 0))
    assert sum(path.parent.name == MASKS for path in dataset.files()) == 2


def test_an_empty_mask_means_examined_and_absent(root: Path) -> None:
    write_image(np.zeros((1, 8, 10), dtype=np.uint8), root / MASKS / "ISIC_0000004_segmentation.png")
    (annotation,) = Ham10000(root=root).load("ISIC_0000004").annotations
    assert (annotation.finding, annotation.values.any()) == ("lesion", False)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_tables_in_other_encodings(root: Path, encoding: str) -> None:
    (root / "HAM10000_metadata.csv").write_text(
        "\n".join((HEADER, *(row.replace("HAM_", "HÄM_") for row in ROWS))), encoding=encoding
    )
    assert Ham10000(root=root).patient("ISIC_0000003") == "HÄM_0000001"


def test_counts_against_the_published_ones(root: Path) -> None:
    tallies = counts_of(Ham10000(root=root))
    assert (tallies["samples"], tallies["patients"]) == ((60, 10_015), (30, 7_470))
    assert (tallies["samples of nv"], tallies["samples of vasc"]) == ((20, 6705), (0, 142))


def test_diagnoses_may_be_selected(root: Path) -> None:
    dataset = Ham10000(root=root, diagnoses=("akiec", "bcc", "bkl", "mel", "nv"))
    assert len(dataset.ids()) == 40
    tallies = counts_of(dataset)
    assert (tallies["rows of diagnoses to leave out"], tallies["samples of df"]) == ((20, None), (0, 0))
    assert dataset.published["samples"] == 9758  # as Athanasoula et al. 2022 states
    for split in dataset.splits:
        assert set(dataset.ids(split)) <= set(Ham10000(root=root).ids(split))


def test_rows_that_are_not_as_published(root: Path) -> None:
    faulty = [
        "HAM_0000000,ISIC_0000000,nv,histo,50.0,male,back",
        "HAM_0000001,ISIC_0000002,nv,histo,50.0,male,back",
        "HAM_0000009,ISIC_0009999,warts,histo,50.0,male,back",
        "HAM_0000009,ISIC_0009998,nv,histo,50.0,male,back,more",
        "HAM_0000009,,nv,histo,50.0,male,back",
        "HAM_0000008,ISIC_0009997,nv,histo,50.0,male,back,,",
    ]
    (root / "HAM10000_metadata.csv").write_text("\n".join((HEADER, *ROWS, *faulty)), encoding="utf-8-sig")
    dataset = Ham10000(root=root)
    assert len(dataset.ids()) == 60
    tallies = counts_of(dataset)
    assert tallies["samples listed twice"] == (1, 0)
    assert tallies["ids with two meanings"] == (1, 0)
    assert tallies["rows without image or known diagnosis"] == (2, 0)
    assert tallies["rows that are not as the header"] == (1, 0)
    assert tallies["missing images"] == (1, 0)
    with pytest.raises(DataError, match=r"ISIC_0009997\.jpg does not exist"):
        dataset.load("ISIC_0009997")


@pytest.mark.parametrize(
    ("header", "name"), [("lesion,image_id,dx", "lesion_id"), ("lesion_id,image_id,diagnosis", "dx")]
)
def test_renamed_columns_and_missing_tables(root: Path, header: str, name: str) -> None:
    path = root / "HAM10000_metadata.csv"
    path.write_text(f"{header}\n")
    with pytest.raises(DataError, match=f"has no column '{name}'"):
        Ham10000(root=root).ids()
    path.unlink()
    with pytest.raises(DataError, match=r"holds neither HAM10000_metadata\.csv nor HAM10000_metadata; obtain it from"):
        Ham10000(root=root).ids()


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    values = np.zeros((16, 16), dtype=bool)
    values[3:9, 5:8] = True
    image = np.full((3, 16, 16), 90, dtype=np.uint8)
    annotations = (Annotation("soft_exudates", values), Annotation("haemorrhages", values.T))
    samples = [Sample(f"synthetic_{n}", image + np.uint8(n), annotations, n % 7, f"p{n // 2}") for n in range(40)]
    samples.append(replace(samples[0], id="unmarked", annotations=(), label=9))
    assert Ham10000(root=tmp_path).write(samples, tmp_path / "twin") == 41
    dataset = Ham10000(root=tmp_path / "twin")
    assert dataset.ids() == [sample.id for sample in samples]
    for sample in samples[:-1]:
        actual = dataset.load(sample.id)
        assert (actual.label, actual.patient) == (sample.label, sample.patient)
        np.testing.assert_array_equal(actual.mask("lesion"), values | values.T)
        np.testing.assert_allclose(actual.image, sample.image, atol=2)
    assert (dataset.load("unmarked").label, dataset.load("unmarked").annotations) == (6, ())
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")
