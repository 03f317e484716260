"""Tests of IDRiD's part A: published layouts with tiny images, damaged downloads, and two real images if present."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatproof.digests import digest
from heatproof.errors import DataError, HeatproofError
from heatproof.records import Annotation, Sample
from heatproof.testing import check_dataset
from heatproof_idrid.idrid import Idrid

REAL = Path(__file__).resolve().parents[4] / "../shared/data/idrid"
SHAPE = (20, 30)
CODES = {
    "haemorrhages": "HE",
    "microaneurysms": "MA",
    "hard_exudates": "EX",
    "soft_exudates": "SE",
    "optic_disc": "OD",
}
FOLDER = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}


def lesion(number: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[number % 15 : number % 15 + 3, 5:9] = True
    return mask


def red(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    return image


def image_file(
    root: Path, number: int, name: str = "{:02d}.jpg", part: str = "A. Segmentation/1. Original Images"
) -> Path:
    image = Image.new("RGB", SHAPE[::-1], (200, number, 0))
    return save(image, root / part / folder(number) / f"IDRiD_{name.format(number)}")


def mask(root: Path, number: int, code: str, image: Image.Image | None = None, suffix: str = "tif") -> Path:
    base = root / "A. Segmentation/2. All Segmentation Groundtruths" / folder(number) / FOLDER[code]
    return save(image or red(lesion(number)), base / f"IDRiD_{number:02d}_{code}.{suffix}")


def folder(number: int) -> str:
    return "a. Training Set" if number <= 54 else "b. Testing Set"


def save(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="JPEG" if path.suffix == ".jpg" else "TIFF")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Training 1, 2 and 54, testing 55 and 81; haemorrhages in 1 and 81, soft exudates examined in training only."""
    for number in (2, 1, 54, 55, 81):
        image_file(tmp_path, number)
        mask(tmp_path, number, "MA")
    mask(tmp_path, 1, "HE")
    mask(tmp_path, 81, "HE", suffix="TIF")
    mask(tmp_path, 54, "SE")
    return tmp_path


def test_splits_ids_and_patients(root: Path) -> None:
    dataset = Idrid(root=root)
    assert dataset.ids("tuning") == ["IDRiD_01", "IDRiD_02", "IDRiD_54"]
    assert dataset.ids("test") == ["IDRiD_55", "IDRiD_81"]
    assert dataset.ids() == dataset.ids("tuning") + dataset.ids("test")
    sample = dataset.load("IDRiD_55")
    assert (sample.patient, sample.label, sample.field) == ("IDRiD_55", None, None)
    assert dataset.patient("IDRiD_55") == "IDRiD_55"
    with pytest.raises(DataError, match="no split 'train'"):
        dataset.ids("train")
    with pytest.raises(DataError, match="did you mean 'IDRiD_55'"):
        dataset.load("IDRiD_56")


def test_a_sample_holds_the_stored_image_and_masks(root: Path) -> None:
    sample = Idrid(root=root).load("IDRiD_01")
    assert sample.image.dtype == np.uint8
    np.testing.assert_allclose(sample.image.mean(axis=(1, 2)), [200, 1, 0], atol=2)
    np.testing.assert_array_equal(sample.mask("microaneurysms"), lesion(1))
    assert sample.geometry is not None
    assert sample.geometry.source.endswith("IDRiD_01.jpg")
    assert sample.annotations[0].source.endswith("IDRiD_01_MA.tif")


def test_a_missing_mask_is_absent_and_a_missing_folder_was_not_examined(root: Path) -> None:
    dataset = Idrid(root=root)
    assert dataset.load("IDRiD_02").findings() == ("microaneurysms", "haemorrhages", "soft_exudates")
    absent = dataset.load("IDRiD_02").mask("haemorrhages")
    assert absent is not None
    assert absent.shape == SHAPE
    assert not absent.any()
    assert dataset.load("IDRiD_55").findings() == ("microaneurysms", "haemorrhages")
    assert dataset.load("IDRiD_01").mask("hard_exudates") is None


def test_an_empty_folder_was_examined_and_counts_in_the_identity(root: Path) -> None:
    before = Idrid(root=root).identity
    (root / "A. Segmentation/2. All Segmentation Groundtruths/b. Testing Set/3. Hard Exudates").mkdir()
    assert Idrid(root=root).load("IDRiD_81").findings() == ("microaneurysms", "haemorrhages", "hard_exudates")
    assert Idrid(root=root).identity != before


def test_an_empty_mask_file_is_an_absent_finding_with_a_source(root: Path) -> None:
    path = mask(root, 2, "HE", red(np.zeros(SHAPE, dtype=bool)))
    haemorrhages = Idrid(root=root, findings=("haemorrhages",)).load("IDRiD_02").annotations[0]
    assert (haemorrhages.values.any(), haemorrhages.source) == (False, str(path))


def test_the_optic_disc_and_chosen_findings(root: Path) -> None:
    mask(root, 2, "OD")
    dataset = Idrid(root=root, findings=("haemorrhages",), optic_disc=True)
    assert dataset.load("IDRiD_02").findings() == ("haemorrhages", "optic_disc")
    assert [path.name for path in dataset.files_of("IDRiD_02") or ()] == ["IDRiD_02.jpg", "IDRiD_02_OD.tif"]
    assert len(list(Idrid(root=root).files_of("IDRiD_01") or ())) > 2
    check_dataset(dataset)
    with pytest.raises(HeatproofError, match="findings"):
        Idrid(root=root, findings=("drusen",))


@pytest.mark.parametrize("kind", ["RGBA", "RGB", "L"])
def test_masks_of_other_modes(root: Path, kind: str) -> None:
    channels = {"RGBA": (255, 0, 0, 255), "RGB": (255, 0, 0), "L": 255}[kind]
    image = Image.new(kind, SHAPE[::-1], {"RGBA": (0, 0, 0, 255), "RGB": (0, 0, 0), "L": 0}[kind])
    image.paste(channels, (5, 6, 9, 9))
    mask(root, 81, "EX", image)
    np.testing.assert_array_equal(Idrid(root=root).load("IDRiD_81").mask("hard_exudates"), lesion(81))


def test_a_doubled_level_and_other_parts_beside(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    plain = Idrid(root=root).load("IDRiD_54")
    double = tmp_path_factory.mktemp("mirror")
    (root / "A. Segmentation").rename(double / "inner")
    (double / "A. Segmentation").mkdir()
    (double / "inner").rename(double / "A. Segmentation/A. Segmentation")
    image_file(double, 1, "{:03d}.jpg", "B. Disease Grading/1. Original Images")
    (double / "A. Segmentation/__MACOSX").mkdir()
    (double / "A. Segmentation/__MACOSX/._IDRiD_01.jpg").write_bytes(b"\0")
    dataset = Idrid(root=double)
    assert dataset.ids() == ["IDRiD_01", "IDRiD_02", "IDRiD_54", "IDRiD_55", "IDRiD_81"]
    assert len(list(dataset.files())) == 5 + 8
    assert dataset.load("IDRiD_54").findings() == plain.findings()
    assert Idrid(root=double / "A. Segmentation/A. Segmentation").ids() == dataset.ids()


def test_a_file_that_exists_twice_is_refused(root: Path) -> None:
    image_file(root, 1, part="copy/1. Original Images")
    with pytest.raises(DataError, match=r"IDRiD_01\.jpg exists twice"):
        Idrid(root=root).ids()


def test_images_outside_the_named_folders_are_refused(tmp_path: Path) -> None:
    save(Image.new("RGB", (4, 4)), tmp_path / "images" / "IDRiD_01.jpg")
    with pytest.raises(DataError, match="no folder named after the training or the testing set"):
        Idrid(root=tmp_path).ids()


@pytest.mark.parametrize(("name", "state"), [("nowhere", "does not exist"), ("", "holds no image such as .*")])
def test_a_missing_or_empty_root_says_what_to_download(tmp_path: Path, name: str, state: str) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(DataError, match=rf"{state}; download 'A\. Segmentation'.*CC BY 4\.0.*Porwal et al\. 2018"):
        Idrid(root=tmp_path / name).ids()


def test_a_mask_of_another_size_names_both_files(root: Path) -> None:
    mask(root, 2, "HE", Image.new("L", (15, 10)))
    with pytest.raises(DataError, match=r"IDRiD_02_HE\.tif is 10 × 15 pixels, its image .*IDRiD_02\.jpg is 20 × 30"):
        Idrid(root=root).load("IDRiD_02")


@pytest.mark.parametrize("name", ["IDRiD_02.jpg", "IDRiD_02_MA.tif"])
def test_a_truncated_file_is_an_error(root: Path, name: str) -> None:
    path = next(root.rglob(name))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=f"{name} is damaged"):
        Idrid(root=root).load("IDRiD_02")


def test_check_counts_and_names_every_fault(root: Path) -> None:
    mask(root, 2, "HE", Image.new("L", (15, 10)))
    mask(root, 3, "MA")
    broken = next(root.rglob("IDRiD_54.jpg"))
    broken.write_bytes(broken.read_bytes()[:-300])
    tallies = Idrid(root=root).check()
    counts = {tally.what: (tally.count, tally.expected) for tally in tallies}
    assert counts["images in tuning"] == (3, 54)
    assert counts["masks of haemorrhages in tuning"] == (2, 53)
    assert counts["masks of soft_exudates in test"] == (0, 14)
    examples = {tally.what: tally.example for tally in tallies}
    for fault, example in (
        ("unreadable files", "IDRiD_54.jpg is damaged"),
        ("masks of another size", "IDRiD_02_HE.tif is 10 × 15"),
        ("masks without an image", "IDRiD_03_MA.tif"),
    ):
        assert counts[fault] == (1, 0)
        assert example in examples[fault]


def test_identity_follows_the_files(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = Idrid(root=root).identity
    (root / "notes.txt").write_text("mine")
    assert Idrid(root=root).identity == before
    mask(root, 2, "HE")
    assert Idrid(root=root).identity != before


def test_part_a_keeps_the_identity_of_earlier_versions(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heatproof.component.source", lambda kind: "")  # as if installed, not editable
    folder = root / "A. Segmentation"
    files = [[path.relative_to(root).as_posix(), path.stat().st_size] for path in sorted(folder.rglob("IDRiD_*"))]
    examined = [("test", "haemorrhages"), ("test", "microaneurysms"), ("tuning", "haemorrhages")]
    examined += [("tuning", "microaneurysms"), ("tuning", "soft_exudates")]
    lesions = ["microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates"]
    params = {"root": "", "findings": lesions, "optic_disc": False}
    content = digest([digest(files), examined])
    assert Idrid(root=root).identity == digest(["heatproof_idrid.idrid:Idrid", 1, params, content])
    assert Idrid(root=root, optic_disc=True).identity != Idrid(root=root).identity


def samples(count: int) -> Iterator[Sample]:
    for number in range(count):
        ramp = np.linspace(40, 200, SHAPE[1])[None, None] * np.ones((3, SHAPE[0], 1))
        haemorrhages = lesion(number) & bool(number % 2)
        annotations = (
            Annotation("haemorrhages", haemorrhages),
            Annotation("soft_exudates", np.zeros(SHAPE, dtype=bool)),
        )
        yield Sample(f"synthetic_{number}", ramp.astype(np.uint8), annotations, patient=f"p{number // 2}")


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    assert Idrid(root=tmp_path).write(samples(56), tmp_path / "twin") == 56
    dataset = Idrid(root=tmp_path / "twin")
    assert len(dataset.ids("tuning")) == 54
    assert dataset.ids("test") == ["IDRiD_55", "IDRiD_56"]
    for id, original in zip(dataset.ids(), samples(56)):
        actual = dataset.load(id)
        assert np.abs(actual.image.astype(int) - original.image).max() <= 3
        assert actual.findings() == original.findings()
        np.testing.assert_array_equal(actual.mask("haemorrhages"), original.mask("haemorrhages"))
    assert (tmp_path / "twin/origin.csv").read_text().splitlines()[1:3] == [
        "IDRiD_01,synthetic_0,p0",
        "IDRiD_02,synthetic_1,p0",
    ]
    assert len(list((tmp_path / "twin").rglob("*_HE.tif"))) == 28


def test_a_sample_may_name_its_split(tmp_path: Path) -> None:
    tests = (replace(sample, extras={"split": "test"}) for sample in samples(2))
    Idrid(root=tmp_path).write(tests, tmp_path / "twin")
    assert Idrid(root=tmp_path / "twin").ids("test") == ["IDRiD_01", "IDRiD_02"]


def test_samples_that_the_layout_cannot_hold_are_refused(tmp_path: Path) -> None:
    dataset = Idrid(root=tmp_path)
    first, second = samples(2)
    with pytest.raises(DataError, match="at most 99 samples"):
        dataset.write(samples(100), tmp_path / "a")
    with pytest.raises(DataError, match="others of its split"):
        dataset.write([first, replace(second, annotations=second.annotations[:1])], tmp_path / "b")
    with pytest.raises(DataError, match="no finding 'drusen'"):
        dataset.write([replace(first, annotations=(Annotation("drusen", lesion(1)),))], tmp_path / "c")
    with pytest.raises(DataError, match="cannot hold an image"):
        dataset.write([replace(first, image=first.image.astype(np.float32))], tmp_path / "d")
    with pytest.raises(DataError, match="is not empty"):
        dataset.write([first], tmp_path)


def test_two_real_images() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no download of IDRiD at {REAL}")
    dataset = Idrid(root=REAL, optic_disc=True)
    assert len(dataset.ids("tuning")) == 54
    codes = Counter(path.stem[-2:] for path in dataset.files() if path.suffix == ".tif")
    assert codes == {"MA": 54, "HE": 53, "EX": 54, "SE": 26, "OD": 54}
    for id in ("IDRiD_01", "IDRiD_43"):
        sample = dataset.load(id)
        assert sample.image.shape == (3, 2848, 4288)
        assert sample.image.dtype == np.uint8
        for annotation in sample.annotations:
            files = list(REAL.rglob(f"{id}_{CODES[annotation.finding]}.tif"))
            assert bool(files) == bool(annotation.values.any()) == bool(annotation.source)
            if files:
                with Image.open(files[0]) as stored:
                    np.testing.assert_array_equal(annotation.values, np.asarray(stored.convert("RGB"))[..., 0] == 255)
    assert not dataset.load("IDRiD_43").mask("haemorrhages").any()  # type: ignore[union-attr]
