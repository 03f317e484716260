"""Tests of image_folder: class folders, tables, masks, boxes and densities, and faults in them."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from heatproof.errors import DataError, HeatproofError
from heatproof.imaging.turning import turned
from heatproof.records import Annotation, Sample
from heatproof.registry.catalog import Catalog
from heatproof.testing import check_dataset
from heatproof_cohorts.image_files import write_image, write_mask
from heatproof_dicom_files.writing import write_dicom
from heatproof_image_folder.image_folder import ImageFolder

SHAPE = (8, 10)


def image_file(path: Path, value: int = 0) -> Path:
    write_image(np.full((3, *SHAPE), value, dtype=np.uint8), path)
    return path


def table(root: Path, text: str, name: str = "samples.csv") -> Path:
    (root / name).write_text(text)
    return root


def counts(dataset: ImageFolder) -> dict[str, int]:
    return {tally.what: tally.count for tally in dataset.check()}


def faults(dataset: ImageFolder) -> dict[str, int]:
    return {tally.what: tally.count for tally in dataset.check() if tally.expected == 0 and tally.count}


def test_class_folders(tmp_path: Path) -> None:
    for name in ("ill/7_a.png", "ill/7_b.JPG", "healthy/9_a.tif", "healthy/deeper/8.png", "masks/scar/ill/7_a.png"):
        image_file(tmp_path / name)
    (tmp_path / "ill/notes.txt").write_text("no image")
    (tmp_path / "ill/.7_c.png").write_bytes(b"no image")
    dataset = ImageFolder(root=tmp_path, patient="^([0-9]+)_")
    assert dataset.classes == ("healthy", "ill")
    assert dataset.ids() == ["healthy/9_a", "healthy/deeper/8", "ill/7_a", "ill/7_b"]
    assert [dataset.load(id).label for id in dataset.ids()] == [0, 0, 1, 1]
    assert [dataset.patient(id) for id in dataset.ids()] == ["9", "healthy/deeper/8", "7", "7"]
    assert dataset.load("ill/7_a").findings() == ("scar",)
    assert ImageFolder(root=tmp_path, classes=("ill", "healthy")).load("ill/7_a").label == 0
    check_dataset(dataset)
    assert faults(dataset) == {}


def test_further_columns_are_attributes(tmp_path: Path) -> None:
    image_file(tmp_path / "a.png")
    table(tmp_path, "File,label,patient,Age,site\na.png,ill,p1,61,\n")
    dataset = ImageFolder(root=tmp_path)
    assert dataset.attributes == ("Age",)
    assert dataset.attributes_of("a") == {"Age": 61}
    check_dataset(dataset)


def test_a_patient_is_found_in_a_name_without_its_whole_suffix(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4))
    for name in ("first_7", "second_7", "first_8"):
        nibabel.save(volume, tmp_path / f"{name}.nii.gz")
    table(tmp_path, "file\nfirst_7.nii.gz\nsecond_7.nii.gz\nfirst_8.nii.gz\n")
    dataset = ImageFolder(root=tmp_path, patient="_([0-9]+)$")
    assert [dataset.patient(id) for id in dataset.ids()] == ["7", "7", "8"]


def test_class_folders_within_folders_of_splits(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "val/a/1.png", "val/b/2.png", "test/b/3.png", ".hidden/a/1.png", "__MACOSX/a/1.png"):
        image_file(tmp_path / name)
    dataset = ImageFolder(root=tmp_path)
    assert [dataset.ids(split) for split in dataset.splits] == [["train/a/1"], ["val/a/1", "val/b/2"], ["test/b/3"]]
    assert dataset.classes == ("a", "b")


TABLE = """file,label,patient,split,id
scans/7.png,ill,p7,Training,seven
scans/8.png,ill | old,p8,validation,
scans/9.png,,p9,test,nine
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in (7, 8, 9):
        image_file(tmp_path / f"scans/{number}.png", number)
    return table(tmp_path, TABLE)


def test_a_table(root: Path) -> None:
    dataset = ImageFolder(root=root)
    assert dataset.classes == ("ill", "old")
    assert dataset.ids() == ["seven", "scans/8", "nine"]
    assert [dataset.ids(split) for split in dataset.splits] == [["seven"], ["scans/8"], ["nine"]]
    assert [dataset.load(id).label for id in dataset.ids()] == [0, (0, 1), None]
    assert dataset.load("nine").image[0, 0, 0] == 9
    assert [dataset.patient(id) for id in dataset.ids()] == ["p7", "p8", "p9"]
    check_dataset(dataset)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_a_table_of_another_program(tmp_path: Path, encoding: str) -> None:
    image_file(tmp_path / "é.png")
    (tmp_path / "samples.csv").write_text("File;Label\né.png;maláde\n", encoding=encoding)
    dataset = ImageFolder(root=tmp_path)
    assert (dataset.classes, dataset.load("é").label) == (("maláde",), 0)


def test_patients_are_divided_where_no_split_is_given(tmp_path: Path) -> None:
    rows = [f"{number}.png,{number // 4}" for number in range(200)]
    table(tmp_path, "\n".join(("file,patient", *rows)))
    dataset = ImageFolder(root=tmp_path)
    parts = [{dataset.patient(id) for id in dataset.ids(split)} for split in dataset.splits]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 50
    everything = ImageFolder(root=tmp_path, shares={"train": 0, "tuning": 0, "test": 1})
    assert len(everything.ids("test")) == 200
    with pytest.raises(HeatproofError, match="make them add up to 1"):
        ImageFolder(root=tmp_path, shares={"train": 1})


def test_rows_that_cannot_be_used_are_counted(root: Path) -> None:
    rows = (
        "../secret.png,ill,p1,test,\n/etc/x.png,ill,p1,test,\n,ill,p1,test,\nscans/a.png,ill,p1,nowhere,\n"
        "scans/b.png,ill,p1,,\nscans/c.png,new,p1,test,\nscans/d.png,ill,p1,test,d,more\n"
        "scans/7.png,ill,p7,train,seven\nscans/7.png,old,p9,test,nine\nscans/e.png,ill,p8,test,e\n"
        "scans/f.png,ill,p5,test,f\n"
    )
    dataset = ImageFolder(root=table(root, TABLE + rows), classes=("ill", "old"))
    assert dataset.ids() == ["seven", "f"]
    assert faults(dataset) == {
        "rows that cannot be used": 7,
        "samples listed twice": 1,
        "ids with two meanings": 1,
        "patients in two splits": 1,
        "missing images": 1,
    }
    with pytest.raises(DataError, match=r"f\.png does not exist"):
        dataset.load("f")
    assert ImageFolder(root=root, classes=("ill", "old"), absent="skip").ids() == ["seven"]


def test_masks_and_densities(root: Path) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:3, 4:6] = True
    write_mask(mask, root / "masks/scar/seven.tif")
    write_mask(mask.T, root / "masks/scar/nine.tif")
    write_mask(mask, root / "masks/scar/scans/stray.tif")
    write_image((mask * 51).astype(np.uint8)[None], root / "densities/gaze/scans/8.png")
    dataset = ImageFolder(root=root)
    assert dataset.findings == ("gaze", "scar")
    np.testing.assert_array_equal(dataset.load("seven").mask("scar"), mask)
    (density,) = dataset.load("scans/8").annotations
    assert (density.kind, density.finding) == ("density", "gaze")
    np.testing.assert_allclose(density.values, mask * 0.2, rtol=1e-6)
    with pytest.raises(DataError, match=r"nine\.tif has \(10, 8\) pixels, its image \(8, 10\)"):
        dataset.load("nine")
    assert faults(dataset) == {"unreadable samples": 1, "masks without an image": 1}
    assert [path.name for path in dataset.files()][-3:] == ["seven.tif", "8.png", "nine.tif"]
    image_file(root / "masks/scar/scans/8.jpg")
    with pytest.raises(DataError, match=r"8\.jpg is of a kind that cannot be used"):
        ImageFolder(root=root).load("scans/8")


def test_an_empty_mask_means_examined_and_absent(root: Path) -> None:
    write_mask(np.zeros(SHAPE, dtype=bool), root / "masks/scar/seven.tif")
    (annotation,) = ImageFolder(root=root).load("seven").annotations
    assert (annotation.finding, annotation.kind, annotation.values.any()) == ("scar", "mask", False)


def test_a_duplicated_mask(root: Path) -> None:
    for suffix in ("tif", "tiff"):
        write_mask(np.ones(SHAPE, dtype=bool), root / f"masks/scar/seven.{suffix}")
    dataset = ImageFolder(root=root)
    with pytest.raises(DataError, match=r"seven\.tif and .*seven\.tiff annotate the same finding of one image"):
        dataset.load("seven")
    assert faults(dataset) == {"unreadable samples": 1}


def test_contours(root: Path) -> None:
    (root / "contours").mkdir()
    table(root / "contours", "finding,contour,x,y\nscar,a,2,1\nscar,a,5,1\nscar,a,5,3\nscar,a,2,3\n", "seven.csv")
    table(root / "contours", '[{"finding": "scar", "points": []}]', "nine.json")
    dataset = ImageFolder(root=root)
    expected = np.zeros(SHAPE)
    expected[1:3, 2:5] = 1
    np.testing.assert_array_equal(dataset.load("seven").mask("scar"), expected)
    (annotation,) = dataset.load("nine").annotations
    assert (annotation.finding, annotation.values.any()) == ("scar", False)
    assert dataset.load("scans/8").annotations == ()
    check_dataset(dataset)
    assert faults(dataset) == {}
    (root / "contours/seven.csv").rename(root / "contours/stray.csv")
    assert faults(ImageFolder(root=root)) == {"contours without an image": 1}


def test_a_table_may_name_what_installed_readers_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(20, dtype=np.uint16).reshape(1, 4, 5) * 3000
    write_dicom(pixels, tmp_path / "a scan.DCM")
    (tmp_path / "samples.csv").write_text("file,label\na scan.DCM,ill\n")
    dataset = ImageFolder(root=tmp_path)
    np.testing.assert_array_equal(dataset.load("a scan").image, pixels)
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: Catalog([]))
    with pytest.raises(DataError, match=r"a scan\.DCM has no reader; install heatproof-dicom, which reads \.dcm"):
        dataset.load("a scan")
    assert "unreadable samples" in {entry.what for entry in dataset.check() if entry.count}


def test_a_table_without_the_column_that_is_required(root: Path) -> None:
    with pytest.raises(DataError, match="has no column 'file' \\(its columns: "):
        ImageFolder(root=table(root, TABLE.replace("file,", "files,"))).ids()


def test_a_finding_without_an_annotation(root: Path) -> None:
    (root / "masks/scar").mkdir(parents=True)
    assert ImageFolder(root=root).load("seven").annotations == ()
    (annotation,) = ImageFolder(root=root, unmarked="absent").load("seven").annotations
    assert (annotation.finding, annotation.values.shape, annotation.values.any()) == ("scar", SHAPE, False)


def test_an_empty_folder_of_masks_counts_in_the_identity(root: Path) -> None:
    before = ImageFolder(root=root, unmarked="absent").identity
    (root / "masks/scar").mkdir(parents=True)
    assert ImageFolder(root=root, unmarked="absent").identity != before


BOXES = "file,finding,x1,y1,x2,y2\n"


def test_boxes(root: Path) -> None:
    table(
        root,
        f"{BOXES}scans/7.png,nodule,1.5,2,4,3.25\nscans/7.png,nodule,0,0,10,8\nscans/8.png,nodule,,,,\n",
        "boxes.csv",
    )
    dataset = ImageFolder(root=root)
    first, second = dataset.load("seven").annotations
    expected = np.zeros(SHAPE)
    expected[2, 1:4] = (0.5, 1, 1)
    expected[3, 1:4] = (0.125, 0.25, 0.25)
    np.testing.assert_allclose(first.values, expected, atol=1e-7)
    assert float(first.values.sum()) == pytest.approx(2.5 * 1.25)
    assert second.values.min() == 1
    (absent,) = dataset.load("scans/8").annotations
    assert (absent.kind, absent.values.any()) == ("box", False)
    assert dataset.load("nine").annotations == ()
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("scans/7.png,nodule,1,1,11,2", "leaves the image"),
        ("scans/7.png,nodule,-1,1,5,2", "leaves the image"),
        ("scans/7.png,nodule,5,1,5,2", "is empty"),
        ("scans/7.png,nodule,nan,1,5,2", "x1 is 'nan'; give a finite number"),
        ("scans/7.png,nodule,left,1,5,2", "x1 is 'left'; give a number"),
        ("scans/7.png,nodule,1,1,5,", "give x1, y1, x2, y2 in pixels, or leave all of them empty"),
        ("scans/7.png,,1,1,5,2", "the box has no finding"),
    ],
)
def test_boxes_that_do_not_fit(root: Path, row: str, message: str) -> None:
    table(root, f"{BOXES}scans/none.png,nodule,0,0,1,1\n{row}\n", "boxes.csv")
    dataset = ImageFolder(root=root)
    with pytest.raises(DataError, match=f"line 3: .*{message}"):
        dataset.load("seven")
    assert faults(dataset) == {"unreadable samples": 1, "boxes without an image": 1}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, r"no images, alone or in class folders, and no samples\.csv"),
        ({"table": "mine.csv"}, r"mine\.csv does not exist"),
    ],
)
def test_an_empty_folder(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageFolder(root=tmp_path, **params).ids()


def test_images_without_folders_have_no_label_and_masks_beside_them(tmp_path: Path) -> None:
    values = np.zeros((6, 8), np.uint8)
    for name in ("b.png", "a one.PNG", ".hidden.png", "masks/nodule/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values + 255 * ("masks" in name)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    dataset = ImageFolder(root=tmp_path)
    assert dataset.ids() == ["a one", "b"]
    assert (dataset.classes, dataset.findings) == ((), ("nodule",))
    assert [dataset.load(id).label for id in dataset.ids()] == [None, None]
    assert dataset.load("b").mask("nodule").all()
    assert [(tally.what, tally.count) for tally in dataset.passed_over()] == [("files passed over (.txt)", 1)]


@pytest.mark.parametrize("pattern", ["(", "[0-9]+", "(a)(b)"])
def test_patterns_without_one_group(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(HeatproofError, match="pattern"):
        ImageFolder(root=tmp_path, patient=pattern)


def samples_of_all_kinds() -> list[Sample]:
    """Samples with a mask, a box and a density, and one with two labels and an empty box."""
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:4, 1:9] = True
    box = np.zeros(SHAPE)
    box[2:6, 3:5] = 1
    box[6, 3:5] = 0.25
    density = rng.random(SHAPE)
    annotations = (Annotation("scar", mask), Annotation("nodule", box, "box"), Annotation("gaze", density, "density"))
    splits = ("train", "tuning", "test")
    samples = []
    for n in range(6):
        image = rng.integers(0, 256, (3, *SHAPE), dtype=np.uint8)
        samples.append(Sample(f"s{n}", image, annotations, n % 3, f"p{n}", extras={"split": splits[n % 3]}))
    empty = Annotation("nodule", box * 0, "box")
    samples.append(Sample("both", image, (empty,), (0, 2), extras={"split": "test"}))
    return samples


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    samples = samples_of_all_kinds()
    assert ImageFolder(root=tmp_path, classes=("no", "yes")).write(samples, tmp_path / "twin") == 7
    dataset = ImageFolder(root=tmp_path / "twin", classes=("no", "yes", "class_2"))
    assert dataset.ids() == [sample.id for sample in samples]
    for sample in samples:
        actual = dataset.load(sample.id)
        assert (actual.label, actual.patient) == (sample.label, sample.patient)
        assert dataset.entry(sample.id).split == sample.extras["split"]
        np.testing.assert_array_equal(actual.image, sample.image)
        for finding in sample.findings():
            expected = sample.mask(finding)
            largest = expected.max() or 1
            np.testing.assert_allclose(actual.mask(finding), expected / largest, atol=1e-5)
    assert faults(dataset) == {}
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")


def test_names_that_look_like_formulas_are_neutral_in_the_tables_and_come_back(tmp_path: Path) -> None:
    """A spreadsheet would run them; the files of images keep their names."""
    image = np.zeros((3, 4, 4), np.uint8)
    box = Annotation("@scar", np.ones((4, 4), np.float32), "box")
    samples = [Sample(id, image, (box,), 0, patient=f"+{id}") for id in ("=a", "-1", "plain")]
    ImageFolder(root=tmp_path, classes=("=ill",)).write(samples, tmp_path)
    rows = (tmp_path / "samples.csv").read_text().splitlines()[1:]
    assert rows[0] == "images/=a.png,'=ill,'+=a,,'=a"
    assert "images/=a.png,'@scar,0,0,4,4" in (tmp_path / "boxes.csv").read_text()
    dataset = ImageFolder(root=tmp_path)
    assert (dataset.classes, dataset.findings, sorted(dataset.ids())) == (("=ill",), ("@scar",), ["-1", "=a", "plain"])
    assert dataset.patient("=a") == "+=a"
    assert dataset.load("-1").findings() == ("@scar",)


def turned_photograph(path: Path, orientation: int, stored: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored.astype(np.uint8) * 255).save(path, exif=exif)


LESION = np.zeros(SHAPE, dtype=bool)
LESION[1:3, 4:9] = True
CORNERS = (4, 1, 9, 3)
"""The lesion as a box on the stored pixels: x1, y1, x2, y2."""


def test_a_turned_image_and_its_mask_stay_together(tmp_path: Path) -> None:
    """Half of the masks are drawn on the image as shown, half on the stored pixels: their size tells."""
    for orientation in range(5, 9):
        for drawn in ("shown", "stored"):
            turned_photograph(tmp_path / f"a/{orientation}{drawn}.png", orientation, LESION)
            shown = turned(LESION, orientation)
            (tmp_path / "masks/scar/a").mkdir(parents=True, exist_ok=True)
            mask = Image.fromarray(shown if drawn == "shown" else LESION)
            mask.save(tmp_path / f"masks/scar/a/{orientation}{drawn}.gif")
    dataset = ImageFolder(root=tmp_path)
    assert len(dataset.ids()) == 8
    for id in dataset.ids():
        sample = dataset.load(id)
        np.testing.assert_array_equal(sample.mask("scar"), sample.image[0] > 0, err_msg=id)
    check_dataset(dataset)


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_outlines_of_a_turned_image_need_a_setting(tmp_path: Path, orientation: int) -> None:
    turned_photograph(tmp_path / "scans/7.png", orientation, LESION)
    x1, y1, x2, y2 = CORNERS
    rows = "".join(f"scar,1,{x},{y}\n" for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)))
    (tmp_path / "contours").mkdir()
    (tmp_path / "contours/seven.csv").write_text("finding,contour,x,y\n" + rows)
    table(tmp_path, f"file,finding,x1,y1,x2,y2\nscans/7.png,burn,{x1},{y1},{x2},{y2}\n", "boxes.csv")
    table(tmp_path, "file,id\nscans/7.png,seven\n")
    with pytest.raises(DataError, match=rf"7\.png, which its EXIF orientation \({orientation}\) turns.*set `turned`"):
        ImageFolder(root=tmp_path).load("seven")
    sample = ImageFolder(root=tmp_path, turned="stored").load("seven")
    for finding in ("scar", "burn"):
        np.testing.assert_array_equal(sample.mask(finding), sample.image[0] / np.float32(255))
    if orientation != 6:  # the box would leave the image as it is shown
        sample = ImageFolder(root=tmp_path, turned="shown").load("seven")
        np.testing.assert_array_equal(sample.mask("burn"), LESION)


def test_files_that_are_passed_over_are_counted(tmp_path: Path) -> None:
    image_file(tmp_path / "ill/1.png")
    write_mask(LESION, tmp_path / "masks/scar/ill/1.tif")
    others = [
        "loose.psd", "ill/2.xcf", "ill/deeper/3.xcf", "masks/scar/ill/2.npy", "masks/4.svg", "contours/5.xml",
        "densities/gaze/6.npy",
    ]  # fmt: skip
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    dataset = ImageFolder(root=tmp_path)
    counted = {tally.what: tally.count for tally in dataset.passed_over()}
    kinds = {".psd": 1, ".xcf": 2, ".npy": 2, ".svg": 1, ".xml": 1}
    assert counted == {f"files passed over ({kind})": count for kind, count in kinds.items()}
    assert counted.items() <= counts(dataset).items()
    assert dataset.ids() == ["ill/1"]
    table(tmp_path, "file\nill/1.png\n")
    listed = ImageFolder(root=tmp_path)
    assert {tally.what for tally in listed.passed_over()} == {f"files passed over ({kind})" for kind in
                                                              (".npy", ".svg", ".xml")}  # fmt: skip


def test_every_kind_that_a_reader_reads_is_an_image_or_a_mask(tmp_path: Path) -> None:
    kinds = (".bmp", ".gif", ".webp", ".ppm", ".pgm", ".png", ".tif", ".jpg")
    image = Image.fromarray(LESION.astype(np.uint8) * 255)
    (tmp_path / "ill").mkdir()
    (tmp_path / "masks/scar/ill").mkdir(parents=True)
    for kind in kinds:
        image.save(tmp_path / f"ill/7{kind[1:]}{kind}", lossless=True)
        if kind != ".jpg":
            image.save(tmp_path / f"masks/scar/ill/7{kind[1:]}{kind}", lossless=True)
    write_dicom(LESION[None].astype(np.uint8), tmp_path / "ill/7dcm.dcm")
    write_dicom(LESION[None].astype(np.uint8), tmp_path / "masks/scar/ill/7dcm.dcm")
    dataset = ImageFolder(root=tmp_path)
    assert len(dataset.ids()) == len(kinds) + 1
    for id in dataset.ids():
        if id != "ill/7jpg":
            np.testing.assert_array_equal(dataset.load(id).mask("scar"), LESION, err_msg=id)
    assert dataset.passed_over() == []


def test_windows(tmp_path: Path) -> None:
    """12 bits in 16 and signed values keep their contrast by a window, which is part of the identity."""
    values = (np.arange(80).reshape(SHAPE) * 50).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values.astype(np.int32) - 2000).save(tmp_path / "b.tif")
    volume = nibabel.Nifti1Image(np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5), np.eye(4))
    nibabel.save(volume, tmp_path / "c.nii.gz")
    table(tmp_path, "file\na.png\nb.tif\nc.nii.gz\n")
    stored = ImageFolder(root=tmp_path)
    assert stored.ids() == ["a", "b", "c"]
    np.testing.assert_array_equal(stored.load("a").image[0], values)
    np.testing.assert_array_equal(stored.load("c").image[0], volume.get_fdata().transpose(2, 1, 0)[:, ::-1, ::-1])
    with pytest.raises(DataError, match=r"b\.tif holds values from -2000 to 1950 \(int32\).*set `window`"):
        stored.load("b")
    (tally,) = [tally for tally in stored.check() if tally.what == "images of low contrast"]
    assert (tally.count, tally.expected) == (1, None)
    assert tally.example == f"{tmp_path / 'a.png'}: 0 to 3950 of 65535; see the setting `window`"
    stretched = ImageFolder(root=tmp_path, window="percentiles")
    for id in stretched.ids():
        image = stretched.load(id).image
        assert (image.dtype, image.min(), image.max()) == (np.uint16, 0, 65535)
    fixed = ImageFolder(root=tmp_path, window=(0, 4095))
    np.testing.assert_array_equal(fixed.load("a").image[0], np.rint(values / 4095 * 65535))
    assert len({dataset.identity for dataset in (stored, stretched, fixed)}) == 3
    assert stretched.describe()["window"] == "percentiles"
    with pytest.raises(HeatproofError, match="does not rise"):
        ImageFolder(root=tmp_path, window=(5, 5))
    with pytest.raises(HeatproofError, match="window"):
        ImageFolder(root=tmp_path, window="auto")


def test_a_finding_that_no_sample_shows_is_said(root: Path) -> None:
    write_mask(np.zeros(SHAPE, dtype=bool), root / "masks/scar/seven.tif")
    write_mask(np.zeros(SHAPE, dtype=bool), root / "masks/scar/nine.tif")
    write_mask(LESION, root / "masks/burn/nine.tif")
    (tally,) = [tally for tally in ImageFolder(root=root).check() if "empty" in tally.what]
    assert (tally.what, tally.count, tally.expected) == ("annotations of scar that are empty: all", 2, None)


def test_any_error_of_a_sample_is_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFolder, id: str) -> Sample:
        raise RecursionError("too deep")

    monkeypatch.setattr(ImageFolder, "load", load)
    (tally,) = [tally for tally in ImageFolder(root=root).check() if tally.what == "unreadable samples"]
    assert (tally.count, tally.example) == (3, "seven cannot be loaded (RecursionError: too deep)")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("Healthy", "healthy"), r"'Healthy' \(.*line 2\) and 'healthy' \(.*line 3\) differ in .* the setting classes"),
        (("1", "1.0"), r"'1' \(.*line 2\) and '1.0' \(.*line 3\) differ"),
        (("mild dr", "mild_DR"), "'mild dr' .* and 'mild_DR' .* differ"),
        (("ill", "NA"), r"label 'NA' \(.*line 3\) may be a name, or say that there is none; leave .* setting classes"),
        (("ill", "nan"), "label 'nan'"),
        (("ill", "None"), "label 'None'"),
    ],
)
def test_labels_that_are_no_classes_are_asked_about(root: Path, labels: tuple[str, str], message: str) -> None:
    rows = "".join(f"scans/{7 + index}.png,{label}\n" for index, label in enumerate(labels))
    table(root, f"file,label\n{rows}")
    with pytest.raises(DataError, match=message):
        ImageFolder(root=root).ids()
    listed = ImageFolder(root=root, classes=labels)
    assert [listed.load(id).label for id in listed.ids()] == [0, 1], "the setting decides"


def test_blanks_around_labels_and_empty_labels_make_no_class(root: Path) -> None:
    table(root, "file,label\nscans/7.png,ill \nscans/8.png,\u00a0ill\nnine.png,\n")
    dataset = ImageFolder(root=root)
    assert dataset.classes == ("ill",)
    assert counts(dataset)["samples without a label"] == 1


@pytest.mark.parametrize(("first", "second"), [("7", "7.0"), ("P1", "p1"), ("a", "nan")])
def test_patients_under_two_names_or_none_are_asked_about(root: Path, first: str, second: str) -> None:
    table(root, f"file,patient\nscans/7.png,{first}\nscans/8.png,{second}\n")
    with pytest.raises(DataError, match=f"patients? .*'{second}'.*correct the table|patient 'nan' .*leave the patient"):
        ImageFolder(root=root).ids()


def test_findings_that_differ_in_spelling_are_asked_about(root: Path) -> None:
    write_mask(np.ones(SHAPE, dtype=bool), root / "masks/Nodule/seven.tif")
    table(root, f"{BOXES}scans/7.png,nodule,0,0,1,1\n", "boxes.csv")
    with pytest.raises(DataError, match=r"findings 'Nodule' \(.*\) and 'nodule' \(.*line 2\) differ .* same name"):
        _ = ImageFolder(root=root).findings


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("x1,y1,x2,y2", "2,1,5,4"),
        ("x0,y0,x1,y1", "2,1,5,4"),
        ("xmin,ymin,xmax,ymax", "2,1,5,4"),
        ("X,Y,W,H", "2,1,3,3"),
        ("height,width,y,x", "3,3,1,2"),
    ],
)
def test_boxes_by_the_names_of_their_columns(root: Path, header: str, row: str) -> None:
    table(root, f"file,finding,{header},reader\nscans/7.png,nodule,{row},B\n", "boxes.csv")
    (annotation,) = ImageFolder(root=root).load("seven").annotations
    expected = np.zeros(SHAPE)
    expected[1:4, 2:5] = 1
    np.testing.assert_array_equal(annotation.values, expected)
    assert (annotation.reader, annotation.kind) == ("B", "box")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x1,y1,w,h\nscans/7.png,nodule,0,0,1,1\n", r"x, y, w, h; .*\(it has: none of them\)"),
        ("x,y,w,h,width,height\nscans/7.png,nodule,0,0,1,1,1,1\n", "it has: x, y, w, h; x, y, width, height"),
        ("x,y,w,h\nscans/7.png,nodule,0.2,0.1,0.3,0.25\n", "shares of the image; give pixels"),
    ],
)
def test_boxes_in_no_known_form(root: Path, text: str, message: str) -> None:
    table(root, f"file,finding,{text}", "boxes.csv")
    with pytest.raises(DataError, match=message):
        ImageFolder(root=root).load("seven")


def test_a_decimal_comma_is_said(root: Path) -> None:
    table(root, "file;finding;x1;y1;x2;y2\nscans/7.png;nodule;1,5;1;5;2\n", "boxes.csv")
    with pytest.raises(DataError, match=r"line 2: x1 is '1,5'; it has a decimal comma: write 1\.5"):
        ImageFolder(root=root).load("seven")


def test_boxes_half_a_pixel_outside_are_clipped_and_counted(root: Path) -> None:
    table(root, f"{BOXES}scans/7.png,nodule,-0.5,-0.25,3,8.5\nscans/8.png,nodule,0,0,1,1\n", "boxes.csv")
    dataset = ImageFolder(root=root)
    (annotation,) = dataset.load("seven").annotations
    expected = np.zeros(SHAPE)
    expected[:, :3] = 1
    np.testing.assert_array_equal(annotation.values, expected)
    (tally,) = [tally for tally in dataset.check() if tally.what == "boxes and contours clipped"]
    assert (tally.count, tally.expected) == (1, None)
    assert tally.example.endswith("line 2: the box leaves the image by 0.5 pixels")
    with pytest.raises(DataError, match=r"line 2: the box leaves .* by 0.5 pixels; .* set overhang \(now 0\)"):
        ImageFolder(root=root, overhang=0).load("seven")


def test_the_form_of_a_table_is_said(root: Path) -> None:
    (root / "samples.csv").write_bytes("\ufefffile;label\nscans/7.png;ill\n".encode())
    dataset = ImageFolder(root=root)
    assert dataset.ids() == ["scans/7"]
    names = counts(dataset)
    assert names["tables with a byte order mark"] == 1
    assert names["tables with semicolons between values"] == 1


def test_a_workbook_is_refused(root: Path) -> None:
    (root / "samples.xlsx").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(DataError, match=r"samples\.xlsx is a workbook of a spreadsheet.*save it as CSV"):
        ImageFolder(root=root, table="samples.xlsx").ids()
