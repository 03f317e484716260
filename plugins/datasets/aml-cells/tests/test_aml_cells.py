"""Tests of AML-Cytomorphology_LMU: published layouts, damaged downloads, and samples written and read back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_aml_cells.aml_cells import AmlCells

LINES = (
    "BAS/BAS_0001.tiff BAS nan nan",
    "BAS/BAS_0002.tiff BAS EOS BAS",
    "EOS/EOS_0001.tiff EOS NaN NaN",
    "MYO/MYO_0001.tiff MYO MYO MOB",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "AML-Cytomorphology_LMU"
    for number, line in enumerate(LINES):
        path = folder / "AML-Cytomorphology_LMU" / line.split()[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (9, 7), (number, 100, 200, 255)).save(path)
    (folder / "annotations.dat").write_text("\n".join(LINES) + "\n")
    return tmp_path


def test_cells_and_labels(root: Path) -> None:
    (path,) = root.rglob("BAS_0002.tiff")
    path.rename(path.with_name("BAS_0002.tiff.tiff"))
    dataset = AmlCells(root=root)
    assert dataset.ids() == ["BAS_0001", "BAS_0002", "EOS_0001", "MYO_0001"]
    assert [dataset.classes[dataset.entry(id).label or 0] for id in dataset.ids()] == ["BAS", "BAS", "EOS", "MYO"]
    image = dataset.load("BAS_0002").image
    assert image.shape == (3, 7, 9)
    assert image[:, 0, 0].tolist() == [1, 100, 200]
    check_dataset(dataset)
    tallies = counts_of(dataset)
    assert (tallies["samples"], tallies["samples of BAS"]) == ((4, 18_365), (2, 79))
    assert not any(count for count, expected in tallies.values() if expected == 0)


def test_the_table_beside_the_folders_of_cells(root: Path) -> None:
    outer = root / "AML-Cytomorphology_LMU"
    (outer / "annotations.dat").rename(outer / "AML-Cytomorphology_LMU/annotations.dat")
    assert AmlCells(root=root).load("EOS_0001").label == 2


def test_other_readings(root: Path) -> None:
    first, second = (AmlCells(root=root, reading=f"{name}_reannotation") for name in ("first", "second"))
    assert first.ids() == second.ids() == ["BAS_0002", "MYO_0001"]
    assert [first.classes[first.entry(id).label or 0] for id in first.ids()] == ["EOS", "MYO"]
    assert [second.classes[second.entry(id).label or 0] for id in second.ids()] == ["BAS", "MOB"]
    assert counts_of(first)["cells without this reading"] == (2, None)


def test_types_of_cells_may_be_selected(root: Path) -> None:
    dataset = AmlCells(root=root, cells=("EOS", "LYT", "MON", "MYO"))
    assert dataset.ids() == ["EOS_0001", "MYO_0001"]
    assert dataset.load("MYO_0001").label == AmlCells.classes.index("MYO")
    tallies = counts_of(dataset)
    assert tallies["cells of types to leave out"] == (2, None)
    # Athanasoula et al. 2022 states these four counts: 424, 3937, 1789 and 3268.
    assert tallies["samples"] == (2, 9418)


def test_lines_that_are_not_as_published(root: Path) -> None:
    (path,) = root.rglob("annotations.dat")
    extra = (
        "XYZ/XYZ_0001.tiff XYZ nan nan",
        "BAS/BAS_0003.tiff BAS",
        "BAS/BAS_0003.tiff BAS nan nan nan",
        "BAS/BAS_0001.tiff BAS nan nan",
        "EOS/EOS_0001.tiff MON nan nan",
        "MON/MON_0001.tiff MON nan nan",
    )
    path.write_text("\n".join((*LINES, *extra)), encoding="utf-8-sig")
    dataset = AmlCells(root=root)
    assert dataset.ids() == ["BAS_0001", "BAS_0002", "MYO_0001", "MON_0001"]
    tallies = counts_of(dataset)
    assert tallies["lines without image or known cell"] == (3, 0)
    assert (tallies["samples listed twice"], tallies["ids with two meanings"]) == ((1, 0), (1, 0))
    assert tallies["missing images"] == (1, 0)
    with pytest.raises(DataError, match=r"MON_0001\.tiff does not exist"):
        dataset.load("MON_0001")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_in_another_encoding(root: Path, encoding: str) -> None:
    (path,) = root.rglob("annotations.dat")
    path.write_text("BAS/é_0001.tiff BAS nan nan\n", encoding=encoding)
    assert AmlCells(root=root).ids() == ["é_0001"]


def test_damaged_images(root: Path) -> None:
    next(root.rglob("BAS_0001.tiff")).write_bytes(b"no image")
    assert counts_of(AmlCells(root=root))["unreadable samples"] == (1, 0)
    with pytest.raises(DataError, match=r"BAS_0001\.tiff is damaged"):
        AmlCells(root=root).load("BAS_0001")


def test_a_missing_or_duplicated_table(root: Path) -> None:
    (path,) = root.rglob("annotations.dat")
    (root / "annotations.dat").write_text(path.read_text())
    with pytest.raises(DataError, match=r"must hold one file named annotations\.dat \(got 2\)"):
        AmlCells(root=root).ids()
    path.unlink()
    (root / "annotations.dat").unlink()
    with pytest.raises(DataError, match=r"annotations\.dat \(got 0\); obtain it from the collection AML"):
        AmlCells(root=root).ids()


def test_the_table_counts_by_content_in_the_identity(root: Path) -> None:
    before = AmlCells(root=root).identity
    (path,) = root.rglob("annotations.dat")
    path.write_text(path.read_text().replace("BAS nan nan", "EOS nan nan"))
    assert AmlCells(root=root).identity != before


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    samples = [Sample(f"a cell {n}", image + np.uint8(n), label=n % 15) for n in range(45)]
    assert AmlCells(root=tmp_path).write(samples, tmp_path / "twin") == 45
    dataset = AmlCells(root=tmp_path / "twin")
    assert dataset.ids() == [sample.id for sample in samples]
    for sample in samples:
        actual = dataset.load(sample.id)
        assert actual.label == sample.label
        np.testing.assert_array_equal(actual.image, sample.image)
    assert all(dataset.ids(split) for split in dataset.splits)
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")
