"""Tests of IDRiD's parts B and C: published layouts with tiny images, and damaged tables."""

import pickle
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.imaging.transforms import Resize
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_cohorts.image_files import write_image
from heatproof_fundus.photograph import Fundus
from heatproof_idrid.idrid import Idrid

B = "B. Disease Grading"
C = "C. Localization"
FOLDERS = {"Training": "a. Training Set", "Testing": "b. Testing Set"}
HEADER = "Image name,Retinopathy grade,Risk of macular edema ,,,,,,,,,"
MARKUPS = "Image No,X- Coordinate,Y - Coordinate,,"


def table(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join(lines), encoding=encoding)
    return path


def image_file(part: Path, set_name: str, number: int) -> Path:
    path = part / "1. Original Images" / FOLDERS[set_name] / f"IDRiD_{number:03d}.jpg"
    write_image(np.full((3, 20, 30), 10 * number, dtype=np.uint8), path)
    return path


def grades(part: Path, set_name: str, *lines: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    name = f"{FOLDERS[set_name][0]}. IDRiD_Disease Grading_{set_name} Labels.csv"
    return table(part / "2. Groundtruths" / name, header, *lines, encoding=encoding)


def markups(part: Path, set_name: str, structure: str, *lines: str) -> Path:
    names = {
        "OD": f"1. Optic Disc Center Location/{FOLDERS[set_name][0]}. IDRiD_OD_Center_{set_name} Set_Markups.csv",
        "Fovea": f"2. Fovea Center Location/IDRiD_Fovea_Center_{set_name} Set_Markups.csv",
    }
    return table(part / "2. Groundtruths" / names[structure], MARKUPS, *lines)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Parts B and C with two training images and one testing image, in the doubled folders of mirrors."""
    for name in (B, C):
        for set_name, numbers in {"Training": (1, 2), "Testing": (1,)}.items():
            for number in numbers:
                image_file(tmp_path / name / name, set_name, number)
    grades(tmp_path / B / B, "Training", "IDRiD_001,3,2,,,,,,,,,", "IDRiD_002,0,0 ,,,,,,,,,", ",,,,,,,,,,,")
    grades(tmp_path / B / B, "Testing", "IDRiD_001,4,0", header="Image name,Retinopathy grade,Risk of macular edema")
    markups(tmp_path / C / C, "Training", "OD", "IDRiD_001,10,4,,", "IDRiD_002,11,5,,", ",,,,", ",,,,")
    markups(tmp_path / C / C, "Training", "Fovea", "IDRiD_001,20,6,,", "IDRiD_002,21,7,,", ",,,,")
    markups(tmp_path / C / C, "Testing", "OD", "IDRiD_001,12,8")
    markups(tmp_path / C / C, "Testing", "Fovea", "IDRiD_001,22.5,9")
    (tmp_path / "__MACOSX" / B).mkdir(parents=True)
    (tmp_path / "__MACOSX" / B / "._a. IDRiD_Disease Grading_Training Labels.csv").write_bytes(b"\0\1")
    return tmp_path


def faults(dataset: Idrid) -> dict[str, int]:
    return {fault: count for fault, (count, expected) in counts_of(dataset).items() if expected == 0 and count}


IDS = ["IDRiD_001_training", "IDRiD_002_training", "IDRiD_001_testing"]


def test_grades_and_risks(root: Path) -> None:
    dataset = Idrid(root=root, part="grading")
    assert dataset.ids() == IDS
    assert (dataset.ids("tuning"), dataset.ids("test")) == (IDS[:2], IDS[2:])
    loaded = [dataset.load(id) for id in IDS]
    assert [(sample.label, dict(sample.extras)) for sample in loaded] == [
        (3, {"macular_edema_risk": 2}),
        (0, {"macular_edema_risk": 0}),
        (4, {"macular_edema_risk": 0}),
    ]
    assert "a. Training Set" in str(dataset.part.entry(IDS[0]).path)  # type: ignore[attr-defined]
    assert (loaded[1].image > loaded[2].image).all()
    assert (dataset.classes[4], dataset.findings, dataset.patient(IDS[2])) == ("proliferative", (), IDS[2])
    check_dataset(dataset)
    tallies = counts_of(dataset)
    assert [tallies[f"samples{split}"] for split in ("", " in tuning", " in test")] == [(3, 516), (2, 413), (1, 103)]
    assert faults(dataset) == {}
    for inner in (root / B, root / B / B):
        assert Idrid(root=inner, part="grading").ids() == IDS


def test_centres_are_continuous_and_native(root: Path) -> None:
    dataset = Idrid(root=root, part="localization")
    assert dataset.ids() == IDS
    sample = dataset.load("IDRiD_001_testing")
    assert dict(sample.extras) == {"optic_disc_centre": (8.5, 12.5), "fovea_centre": (9.5, 23.0)}
    assert (sample.label, dataset.classes, dataset.extras) == (None, (), ("optic_disc_centre", "fovea_centre"))
    check_dataset(dataset)
    assert faults(dataset) == {}
    assert Idrid(root=root / C / C, part="localization").load(IDS[0]).extras["fovea_centre"] == (6.5, 20.5)


@pytest.mark.parametrize("prepare", [Resize(size=(10, 60)), Resize(size=12, fit="pad"), Fundus(size=64, graham=False)])
def test_centres_map_to_the_grid_of_the_model(root: Path, prepare: Resize | Fundus) -> None:
    """The inverse of the geometry maps a centre to the cell that holds its pixel, as in the README."""
    sample = Idrid(root=root, part="localization").load("IDRiD_002_training")
    image = np.full((3, 20, 30), 90, dtype=np.uint8)
    image[:, 5, 11] = 255
    prepared = prepare(replace(sample, image=image))
    assert prepared.extras["optic_disc_centre"] == (5.5, 11.5)
    assert prepared.geometry is not None
    row, column, _ = np.linalg.solve(prepared.geometry.affine, (*prepared.extras["optic_disc_centre"], 1))
    brightest = np.argwhere(prepared.image[0] > 0.999 * prepared.image[0].max()) + 0.5
    np.testing.assert_allclose(brightest.mean(axis=0), (row, column), atol=0.6)
    np.testing.assert_allclose(prepared.geometry.to_native(np.array([[row, column]])), [[5.5, 11.5]])


def test_parts_do_not_mix(root: Path) -> None:
    with pytest.raises(DataError, match="the root of IDRiD's part A, holds no image"):
        Idrid(root=root).ids()
    shutil.rmtree(root / C)
    with pytest.raises(DataError, match=r"holds no table such as .*OD_Center.*; download 'C\. Localization' from"):
        Idrid(root=root, part="localization").ids()
    parts = [Idrid(root=root, part="grading"), Idrid(root=root, part="grading", absent="skip")]
    assert len({part.identity for part in parts}) == 2
    assert pickle.loads(pickle.dumps(parts[0])).ids() == IDS


def test_missing_and_duplicated_tables(root: Path) -> None:
    path = next((root / B).rglob("*Testing Labels.csv"))
    text = path.read_text()
    path.unlink()
    dataset = Idrid(root=root, part="grading")
    assert dataset.ids() == IDS[:2]
    assert faults(dataset) == {"missing tables": 1, "images without a row": 1}
    table(root / "copy" / path.name, text)
    table(path, text)
    with pytest.raises(DataError, match=r"Testing Labels\.csv exists twice"):
        Idrid(root=root, part="grading").ids()


def test_renamed_columns(root: Path) -> None:
    grades(root / B / B, "Training", "IDRiD_001,1", header="Image name,Retinopathy grade,Risk")
    with pytest.raises(DataError, match="has no column 'Risk of macular edema'"):
        Idrid(root=root, part="grading").ids()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_other_encodings(root: Path, encoding: str) -> None:
    grades(root / B / B, "Training", "IDRiD_001,1,1", "IDRiD_002,2,1,é", encoding=encoding)
    assert Idrid(root=root, part="grading").load(IDS[0]).label == 1


def test_rows_of_grades_that_cannot_be_used(root: Path) -> None:
    lines = (
        "IDRiD_001,3,2", "IDRiD_001,3,2", "IDRiD_002,0,0", "IDRiD_002,0,1", "IDRiD_003,5,0", "IDRiD_004,1,3",
        "photo,1,0", "IDRiD_005,1", "IDRiD_006,1,0,,,,,,,,,,more", "IDRiD_007,2,1",
    )  # fmt: skip
    grades(root / B / B, "Training", *lines)
    dataset = Idrid(root=root, part="grading")
    assert dataset.ids("tuning") == [IDS[0], "IDRiD_007_training"]
    assert faults(dataset) == {
        "rows that cannot be used": 5,
        "samples listed twice": 1,
        "ids with two meanings": 1,
        "missing images": 1,
    }
    with pytest.raises(DataError, match=r"IDRiD_007\.jpg does not exist"):
        dataset.load("IDRiD_007_training")
    assert Idrid(root=root, part="grading", absent="skip").ids("tuning") == IDS[:1]


def test_rejected_counts_unusable_rows_and_images(root: Path) -> None:
    grades(root / B / B, "Training", "IDRiD_001,9,2", "IDRiD_002,0,0")
    rejected = {tally.what: tally.count for tally in Idrid(root=root, part="grading").rejected()}
    assert rejected == {"rows that cannot be used": 1, "images without a row": 1}
    assert "IEEE DataPort" in Idrid.obtain


def test_markups_that_cannot_be_used(root: Path) -> None:
    lines = ("IDRiD_001,10,4", "IDRiD_001,11,4", "IDRiD_002,nan,5", "IDRiD_003,left,1", "IDRiD_004,2,1,,,more")
    markups(root / C / C, "Training", "OD", *lines)
    markups(root / C / C, "Testing", "OD", "IDRiD_001,31,4")
    dataset = Idrid(root=root, part="localization")
    assert dataset.ids() == IDS[1:]
    assert dict(dataset.load(IDS[1]).extras) == {"fovea_centre": (7.5, 21.5)}
    with pytest.raises(DataError, match=r"the optic_disc_centre \(4\.5, 31\.5\) lies outside the image of \(20, 30\)"):
        dataset.load(IDS[2])
    assert faults(dataset) == {
        "ids with two meanings": 1,
        "rows that cannot be used": 3,
        "images without a centre of the optic disc": 1,
        "unreadable samples": 1,
    }


def test_damaged_and_stray_images(root: Path) -> None:
    image_file(root / B / B, "Testing", 9)
    next((root / B).rglob("IDRiD_002.jpg")).write_bytes(b"no image")
    dataset = Idrid(root=root, part="grading")
    assert faults(dataset) == {"images without a row": 1, "unreadable samples": 1}
    with pytest.raises(DataError, match=r"IDRiD_002\.jpg is damaged"):
        dataset.load(IDS[1])
    with pytest.raises(DataError, match="did you mean"):
        dataset.load("IDRiD_003_training")


def test_images_that_are_all_absent(root: Path) -> None:
    (root / B / B / "1. Original Images").rename(root / "elsewhere")
    dataset = Idrid(root=root, part="grading")
    with pytest.raises(DataError, match=r"1\. Original Images.a\. Training Set.IDRiD_001\.jpg does not exist"):
        dataset.load(IDS[0])
    assert faults(dataset) == {"missing images": 3}


def tiny_samples(extras: Mapping[str, object]) -> list[Sample]:
    image = np.full((3, 20, 30), 90, dtype=np.uint8)
    splits = ("tuning", "test", "tuning")
    return [
        Sample(f"s{n}", image + np.uint8(n), label=n + 2, patient=f"p{n}", extras={**extras, "split": split})
        for n, split in enumerate(splits)
    ]


def test_samples_of_part_b_are_written_and_read_back(tmp_path: Path) -> None:
    first, *others = tiny_samples({})
    with_risk = replace(first, extras={**first.extras, "macular_edema_risk": 1})
    assert Idrid(root=tmp_path, part="grading").write([with_risk, *others], tmp_path / "twin") == 3
    dataset = Idrid(root=tmp_path / "twin", part="grading")
    assert dataset.ids() == IDS
    assert [dataset.load(id).label for id in IDS] == [2, 4, 3]
    assert [dict(dataset.load(id).extras) for id in IDS] == [{"macular_edema_risk": 1}, {}, {}]
    np.testing.assert_allclose(dataset.load(IDS[1]).image, 92, atol=1)
    assert faults(dataset) == {}
    assert (tmp_path / "twin/origin.csv").read_text().split() == [
        "id,origin,patient",
        "IDRiD_001_training,s0,p0",
        "IDRiD_002_training,s2,p2",
        "IDRiD_001_testing,s1,p1",
    ]
    check_dataset(dataset)
    with pytest.raises(DataError, match="needs one class index"):
        dataset.write([replace(first, label=None)], tmp_path / "other")
    with pytest.raises(DataError, match="is not empty"):
        dataset.write([first], tmp_path / "twin")


def test_samples_of_part_c_are_written_and_read_back(tmp_path: Path) -> None:
    centres = {"optic_disc_centre": (4.25, 20.0), "fovea_centre": (9.5, 10.5)}
    assert Idrid(root=tmp_path, part="localization").write(tiny_samples(centres), tmp_path / "twin") == 3
    dataset = Idrid(root=tmp_path / "twin", part="localization")
    assert dataset.ids() == IDS
    assert all(dict(dataset.load(id).extras) == centres for id in IDS)
    assert faults(dataset) == {}
    check_dataset(dataset)
    with pytest.raises(DataError, match="has neither optic_disc_centre nor fovea_centre"):
        dataset.write(tiny_samples({}), tmp_path / "other")
