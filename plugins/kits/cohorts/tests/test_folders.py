"""Class folders at any depth of a download, and their images among other files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatproof.dataset import Tally
from heatproof.errors import DataError
from heatproof_cohorts.folders import FolderDataset, class_folders, image_paths, name_below, unread_paths
from heatproof_cohorts.image_files import write_image


def image_file(path: Path) -> Path:
    write_image(np.zeros((1, 3, 4), dtype=np.uint8), path)
    return path


class Cats(FolderDataset):
    """Images of cats and of dogs."""

    classes = ("cat", "big_dog")
    obtain = "draw them"


def test_only_readable_images_are_listed(tmp_path: Path) -> None:
    images = [image_file(tmp_path / name) for name in ("a.png", "b/c.JPG", "b/d.tif")]
    for name in ("e.bmp", "f.gif", "g.WEBP", "h.pgm", "i.ppm", "j.dcm", "k.nii.gz"):
        (tmp_path / name).touch()
        images.append(tmp_path / name)
    images.sort()
    others = ["notes.txt", "b/d.tif~", "b/x.xcf", "unnamed"]
    for name in ("b/._c.JPG", "__MACOSX/a.png", ".hidden/a.png", "Thumbs.db", *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "f.png").mkdir()
    assert image_paths(tmp_path) == images
    assert unread_paths(tmp_path) == sorted(tmp_path / name for name in others)
    names = [name_below(path, tmp_path) for path in images]
    assert names == ["a", "b/c", "b/d", "e", "f", "g", "h", "i", "j", "k"]
    assert image_paths(tmp_path / "nowhere") == []


def test_folders_at_any_depth(tmp_path: Path) -> None:
    image_file(tmp_path / "part/Cat/Cat/1.png")
    image_file(tmp_path / "part/BIG-dog/p7/1.png")
    image_file(tmp_path / "__MACOSX/part/Cat/1.png")
    (tmp_path / "cat").mkdir()
    assert class_folders(tmp_path, ("big_dog", "cat", "cow")) == {
        "big_dog": tmp_path / "part/BIG-dog",
        "cat": tmp_path / "part/Cat/Cat",
    }
    image_file(tmp_path / "cat/2.png")
    with pytest.raises(DataError, match=r"folders of the class cat are .* and .*; set root to one copy"):
        class_folders(tmp_path, ("cat",))


def test_a_dataset_of_folders(tmp_path: Path) -> None:
    for name in ("cat/7_a.png", "cat/deeper/8_b.jpg", "Big dog/7_a.png"):
        image_file(tmp_path / name)
    dataset = Cats(root=tmp_path)
    assert dataset.ids() == ["cat/7_a", "cat/deeper/8_b", "big_dog/7_a"]
    assert [dataset.load(id).label for id in dataset.ids()] == [0, 0, 1]
    assert dataset.patient("cat/7_a") == "cat/7_a"
    by_patient = Cats(root=tmp_path, patient="^([0-9]+)_")
    assert [by_patient.patient(id) for id in by_patient.ids()] == ["7", "8", "7"]
    assert len({by_patient.entry(id).split for id in ("cat/7_a", "big_dog/7_a")}) == 1
    only_tuning = Cats(root=tmp_path, shares={"train": 0, "tuning": 1, "test": 0})
    assert only_tuning.ids("tuning") == only_tuning.ids()


def test_files_that_nothing_reads_are_counted(tmp_path: Path) -> None:
    for name in ("cat/1.png", "big_dog/2.gif"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.zeros((3, 4), dtype=np.uint8)).save(tmp_path / name)
    assert Cats(root=tmp_path).passed_over() == []
    for name in ("cat/1.xcf", "cat/2.XCF", "cat/notes", "big_dog/.hidden"):
        (tmp_path / name).touch()
    dataset = Cats(root=tmp_path)
    assert dataset.ids() == ["cat/1", "big_dog/2"]
    counted = [Tally("files passed over (.xcf)", 2, None, str(tmp_path / "cat/1.xcf"))]
    counted.append(Tally("files passed over (no suffix)", 1, None, str(tmp_path / "cat/notes")))
    assert dataset.passed_over() == counted
    assert [tally for tally in dataset.check() if "passed over" in tally.what] == counted


def test_an_empty_folder_is_not_missing(tmp_path: Path) -> None:
    image_file(tmp_path / "cat/1.png")
    (tally,) = [tally for tally in Cats(root=tmp_path).check() if tally.what == "missing folders"]
    assert (tally.count, tally.example) == (1, "big_dog; draw them")
    (tmp_path / "big_dog").mkdir()
    assert {tally.what: tally.count for tally in Cats(root=tmp_path).check()}["missing folders"] == 0
    with pytest.raises(DataError, match="holds no folder named cat or big_dog; draw them"):
        Cats(root=tmp_path / "nowhere").ids()
