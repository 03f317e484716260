"""Tests of COVID-CT: its lists and unusual file names, damaged downloads, and samples written and read back."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_cohorts.image_files import write_image
from heatproof_covid_ct.covid_ct import CovidCt

COVID = {
    "train": ["2020.01.24.919183-p27-132.png", "Coronavirus disease 2019%0.png"],
    "val": ["a b%3.png"],
    "test": ["c.png"],
}
OTHERS = {"train": ["1%0.jpg", "7.jpg", "7.png"], "val": ["c.png"], "test": ["12.jpg"]}


def lists(root: Path, part: str, split: str, names: list[str]) -> Path:
    path = root / "Data-split" / part / f"{split}CT_{part}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join(names))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, splits in (("COVID", COVID), ("NonCOVID", OTHERS)):
        for split, names in splits.items():
            lists(tmp_path, part, split, names)
            for name in names:
                image = np.full((1, 6, 9), len(name), dtype=np.uint8)
                write_image(image, tmp_path / "Images-processed" / f"CT_{part}" / name)
    return tmp_path


def test_splits_labels_and_names(root: Path) -> None:
    dataset = CovidCt(root=root)
    assert dataset.ids("train") == [
        "1%0",
        "7.jpg",
        "7.png",
        "2020.01.24.919183-p27-132",
        "Coronavirus disease 2019%0",
    ]
    assert dataset.ids("tuning") == ["CT_NonCOVID/c.png", "a b%3"]
    assert dataset.ids("test") == ["12", "CT_COVID/c.png"]
    assert [dataset.load(id).label for id in dataset.ids("test")] == [0, 1]
    assert (dataset.load("a b%3").image == len("a b%3.png")).all()
    assert dataset.patient("7.jpg") == "7.jpg"
    check_dataset(dataset)
    tallies = counts_of(dataset)
    assert (tallies["samples of covid"], tallies["samples of non_covid"]) == ((4, 349), (5, 397))
    assert not any(count for count, expected in tallies.values() if expected == 0)


def test_folders_unpacked_in_folders(root: Path) -> None:
    outer = root / "Images-processed/CT_COVID"
    outer.rename(root / "inner")
    outer.mkdir()
    (root / "inner").rename(outer / "CT_COVID")
    (root / "__MACOSX/CT_COVID").mkdir(parents=True)
    (root / "__MACOSX/CT_COVID/._c.png").write_bytes(b"\0")
    assert CovidCt(root=root).load("a b%3").label == 1


def test_a_slice_in_two_splits_is_rejected(root: Path) -> None:
    lists(root, "COVID", "test", ["c.png", "a b%3.png", "c.png", "gone.png"])
    dataset = CovidCt(root=root)
    assert "a b%3" not in dataset.ids()
    tallies = counts_of(dataset)
    assert tallies["ids with two meanings"] == (1, 0)
    assert tallies["samples listed twice"] == (1, 0)
    assert tallies["missing images"] == (1, 0)
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        dataset.load("gone")


def test_lists_that_are_missing(root: Path) -> None:
    for path in (root / "Data-split").rglob("test*"):
        path.unlink()
    assert CovidCt(root=root).ids("test") == []
    assert counts_of(CovidCt(root=root))["missing lists"] == (2, 0)
    for path in (root / "Data-split").rglob("*.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"trainCT_COVID\.txt; obtain it from the repository UCSD-AI4H"):
        CovidCt(root=root).ids()


def test_damaged_images_and_other_encodings(root: Path) -> None:
    (root / "Images-processed/CT_COVID/c.png").write_bytes(b"no image")
    path = lists(root, "COVID", "val", [])
    for encoding in ("latin-1", "utf-8-sig", "utf-16"):
        path.write_text("é.png", encoding=encoding)
        assert "é" in CovidCt(root=root).ids("tuning")
    assert counts_of(CovidCt(root=root))["unreadable samples"] == (1, 0)


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    splits = ("train", "tuning", "test")
    samples = [
        Sample(f"synthetic_{n}", image + np.uint8(n), label=n % 2, extras={"split": splits[n % 3]}) for n in range(12)
    ]
    samples.append(Sample("severe", image, label=4))
    assert CovidCt(root=tmp_path).write(samples, tmp_path / "twin") == 13
    dataset = CovidCt(root=tmp_path / "twin")
    assert sorted(dataset.ids()) == sorted(sample.id for sample in samples)
    for sample in samples[:-1]:
        actual = dataset.load(sample.id)
        assert (actual.label, dataset.entry(sample.id).split) == (sample.label, sample.extras["split"])
        np.testing.assert_array_equal(actual.image, sample.image)
    assert (dataset.load("severe").label, "severe" in dataset.ids("train")) == (1, True)
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")
