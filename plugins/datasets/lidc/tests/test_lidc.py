"""Tests of LIDC-IDRI on scans written in its layout: samples, unused nodules, and damaged downloads."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError, HeatproofError
from heatproof.imaging.window import windowed
from heatproof.records import Annotation, Geometry, Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_dicom_files.writing import write_dicom
from heatproof_lesions.readings import readings
from heatproof_lidc.lidc import Lidc

pydicom = pytest.importorskip("pydicom")
SHAPE = (10, 24, 26)
READERS = ("reader1", "reader2", "reader3", "reader4")
UNITS = np.random.default_rng(1).integers(-1000, 400, SHAPE)
FIRST = (slice(3, 7), slice(5, 11), slice(6, 12))
SECOND = (slice(2, 4), slice(14, 20), slice(15, 22))


def volume(patient: str, malignancies: tuple[int, ...], second: int | None = None, name: str = "") -> Sample:
    """A scan in which the first readers annotate a box, each a row less, and ``reader3`` a second one on request."""
    masks = {reader: np.zeros(SHAPE, dtype=bool) for reader in READERS}
    ratings = []
    for index, (reader, malignancy) in enumerate(zip(READERS, malignancies)):
        box = (FIRST[0], slice(5 + index, 11), FIRST[2])
        masks[reader][box] = True
        ratings.append({"nodule": 1, "reader": reader, "box": ends(box), "malignancy": malignancy, "texture": 5})
    if second is not None:
        masks["reader3"][SECOND] = True
        ratings.append({"nodule": 2, "reader": "reader3", "box": ends(SECOND), "malignancy": second})
    return Sample(
        name or f"{patient}_a",
        windowed(UNITS, -1000, 400)[None],
        tuple(Annotation("nodule", mask, reader=reader) for reader, mask in masks.items()),
        patient=patient,
        geometry=Geometry(np.eye(4), SHAPE, spacing=(2.5, 0.5, 0.5)),
        extras={"ratings": tuple(ratings), "small": ({"reader": "reader2", "place": (4, 8, 20)},)},
    )


def ends(box: tuple[slice, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((part.start, part.stop) for part in box)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lidc") / "root"
    scans = [
        volume("LIDC-IDRI-0001", (4, 5, 5), second=1),
        volume("LIDC-IDRI-0002", (2, 1)),
        volume("LIDC-IDRI-0003", (2, 4)),
        volume("LIDC-IDRI-0004", (5, 5, 5, 5)),
    ]
    assert Lidc(root=root.parent).write(scans, root) == 4
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "root"))


def folder(root: Path, patient: int = 1) -> Path:
    return next((root / f"LIDC-IDRI-{patient:04d}").glob("*/*"))


def edit(root: Path, change: Callable[[str], str], patient: int = 1) -> None:
    path = folder(root, patient) / "annotations.xml"
    text = path.read_text()
    changed = change(text)
    assert changed != text
    path.write_text(changed)


def test_a_whole_scan(pristine: Path) -> None:
    dataset = Lidc(root=pristine, crop="scan")
    assert len(dataset.ids()) == 4
    sample = dataset.load(dataset.ids()[0])
    assert (sample.label, sample.patient, sample.field) == (None, "LIDC-IDRI-0001", None)
    np.testing.assert_array_equal(sample.image[0], windowed(UNITS, -1000, 400))
    assert (sample.geometry.spacing, sample.geometry.orientation) == ((2.5, 0.5, 0.5), "SPL")
    expected = volume("LIDC-IDRI-0001", (4, 5, 5), second=1)
    for annotation, actual in zip(expected.annotations, sample.annotations, strict=True):
        assert (actual.finding, actual.reader) == ("nodule", annotation.reader)
        np.testing.assert_array_equal(actual.values, annotation.values)
    assert sample.extras["ratings"] == expected.extras["ratings"]
    assert sample.extras["small"] == ({"reader": "reader2", "place": (4, 8, 20)},)
    assert "scores" not in sample.extras  # of several nodules
    check_dataset(dataset)


def test_nodules_and_their_classes(pristine: Path) -> None:
    dataset = Lidc(root=pristine)
    ids = dataset.ids()
    assert [id.rpartition("_")[2] for id in ids] == ["1", "2", "1", "1"]
    assert [dataset.load(id).label for id in ids] == [1, 0, 0, 1]
    assert [dataset.load(id).extras["malignancy"] for id in ids] == [14 / 3, 1, 1.5, 5]
    scores = [dataset.load(id).extras["scores"] for id in ids]
    assert [by_name["malignancy"] for by_name in scores] == [(4, 5, 5), (1,), (2, 1), (5, 5, 5, 5)]
    tallies = counts_of(dataset)
    assert tallies["nodules of mean malignancy 3"] == (1, None)
    assert (tallies["samples of benign"], tallies["samples of malignant"]) == ((2, 620), (2, 616))
    assert (tallies["samples"], tallies["unreadable samples"]) == ((4, 1236), (0, 0))
    check_dataset(dataset)


def test_readers_agree_in_shares(pristine: Path) -> None:
    dataset = Lidc(root=pristine, crop="scan")
    shares = [np.unique(readings(dataset.load(id), readers="mean")[0]["nodule"]) for id in dataset.ids()]
    assert [share.tolist() for share in shares] == [
        [0, 0.25, 0.5, 0.75], [0, 0.25, 0.5], [0, 0.25, 0.5], [0, 0.25, 0.5, 0.75, 1],
    ]  # fmt: skip


def test_a_nodule_is_cut_out_as_slice_and_as_volume(pristine: Path) -> None:
    scan = volume("LIDC-IDRI-0001", (4, 5, 5), second=1)
    voxels = np.concatenate([np.argwhere(scan.annotations[index].values[FIRST[0]]) for index in range(2)])
    deep = Lidc(root=pristine, space=3, size=6, unit="voxels")
    sample = deep.load(deep.ids()[0])
    start = sample.extras["origin"]
    inside = tuple(slice(first, first + 6) for first in start)
    assert (sample.image.shape, start) == ((1, 6, 6, 6), (2, 5, 6))  # centre 5, 8.46 …, 9
    assert 5 <= voxels[:, 1].mean() <= 9
    np.testing.assert_array_equal(sample.image[0], scan.image[0][inside])
    for annotation, actual in zip(scan.annotations, sample.annotations, strict=True):
        np.testing.assert_array_equal(actual.values, annotation.values[inside])
    flat = Lidc(root=pristine, size=3)
    sample = flat.load(flat.ids()[0])
    assert sample.extras["origin"] == (3, 5, 6)
    assert (sample.image.shape, sample.geometry.spacing, sample.geometry.orientation) == ((1, 6, 6), (0.5, 0.5), "PL")
    np.testing.assert_array_equal(sample.image[0], scan.image[0][3, 5:11, 6:12])
    assert [annotation.values.sum() for annotation in sample.annotations] == [36, 30, 24, 0]
    assert sample.extras["ratings"][1]["box"] == ((1, 6), (0, 6))


def test_beyond_the_scan_there_is_air_and_no_field(pristine: Path) -> None:
    dataset = Lidc(root=pristine, space=3, size=40, unit="voxels")
    sample = dataset.load(dataset.ids()[0])
    first = [-index for index in sample.extras["origin"]]
    inside = tuple(slice(start, start + length) for start, length in zip(first, SHAPE))
    expected = np.zeros((40, 40, 40), dtype=bool)
    expected[inside] = True
    np.testing.assert_array_equal(sample.field, expected)
    np.testing.assert_array_equal(sample.image[0][inside], windowed(UNITS, -1000, 400))
    assert not sample.image[0][~expected].any()
    assert sample.extras["small"] == ({"reader": "reader2", "place": tuple(np.array([4, 8, 20]) + first)},)


def test_the_window_is_a_setting(pristine: Path) -> None:
    dataset = Lidc(root=pristine, crop="scan", window=(-600, 0))
    expected = np.rint(np.clip((UNITS + 600) / 600, 0, 1) * 65535)
    np.testing.assert_array_equal(dataset.load(dataset.ids()[0]).image[0], expected)
    with pytest.raises(HeatproofError, match=r"does not rise .*; give the lower end first"):
        Lidc(root=pristine, window=(400, -1000))


def test_nodules_of_few_readers_may_be_unused(pristine: Path) -> None:
    dataset = Lidc(root=pristine, least_readers=3)
    assert [dataset.patient(id)[-1] for id in dataset.ids()] == ["1", "4"]
    assert counts_of(dataset)["nodules of fewer readers"] == (3, None)


def test_an_excluded_outline_is_no_nodule(root: Path) -> None:
    """A second outline on a slice, with inclusion FALSE, removes its pixels from the nodule."""
    text = (folder(root) / "annotations.xml").read_text()
    uid = text.split("<imageSOP_UID>")[1].split("<")[0]
    chain = [(6, 7), (6, 8), (7, 9), (8, 8), (8, 7), (7, 6)]
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for y, x in chain)
    hole = f"<roi><imageZposition>7.5</imageZposition><imageSOP_UID>{uid}</imageSOP_UID><inclusion>FALSE</inclusion>"
    edit(root, lambda text: text.replace("</unblindedReadNodule>", f"{hole}{edges}</roi></unblindedReadNodule>", 1))
    dataset = Lidc(root=root, crop="scan")
    expected = volume("LIDC-IDRI-0001", (4,)).annotations[0].values.copy()
    expected[3, 7, 7:9] = False
    np.testing.assert_array_equal(dataset.load(dataset.ids()[0]).annotations[0].values, expected)


def test_a_nodule_without_ratings_has_no_class(root: Path) -> None:
    edit(root, lambda text: text.replace("<malignancy>1</malignancy>", ""))
    assert counts_of(Lidc(root=root))["nodules without malignancy"] == (1, None)


def test_outlines_that_enclose_nothing(root: Path) -> None:
    def squeeze(text: str) -> str:
        session = text.rindex("<readingSession>", 0, text.index("<noduleID>Nodule 002"))
        head = text[:session]
        nodule = text[session:]
        start = nodule.index("Nodule 002")
        stop = nodule.index("</unblindedReadNodule>", start)
        roi = nodule[nodule.index("<roi>", start) : nodule.index("<edgeMap>", start)]
        edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>4</yCoord></edgeMap>" for x in (5, 6))
        first = nodule.index("<roi>", start)
        return head + nodule[:first] + roi + edges + "</roi>" + nodule[stop:]

    edit(root, squeeze)
    dataset = Lidc(root=root)
    assert len(dataset.ids()) == 3
    assert counts_of(dataset)["outlines that enclose nothing"] == (1, None)


def test_series_without_an_xml_or_with_an_invalid_one(root: Path) -> None:
    (folder(root, 1) / "annotations.xml").unlink()
    edit(root, lambda text: text.replace("?>", '?><!DOCTYPE a [<!ENTITY b "c">]>'), 2)
    edit(root, lambda text: text[:-20], 3)
    edit(root, lambda text: text.replace("LidcReadMessage", "Message"), 4)
    dataset = Lidc(root=root)
    assert dataset.ids() == []
    reasons = dataset.listing.faults["series that cannot be used"]
    expected = ("must hold one XML file", "declares a DOCTYPE", "cannot be read", "not a LidcReadMessage")
    assert len(reasons) == 4
    assert all(part in reason for part, reason in zip(expected, reasons))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("<xCoord>5<", "<xCoord>-5<"), r"reaches pixel -5 .*; allowed: 0 to 4095"),
        (("<xCoord>5<", "<xCoord>90000<"), r"reaches pixel .* 90000"),
        (("<xCoord>5<", "<xCoord>five<"), r"invalid literal"),
        (("<malignancy>4<", "<malignancy>9<"), r"ratings must be 1 to 6 \(got {'malignancy': 9}\)"),
        (("<xCoord>5<", "<column>5<"), r"mismatched tag"),
        (("<yCoord>10</yCoord>", ""), r"an outline has \d+ rows and \d+ columns"),
        (("readingSession>", "session>"), r"it has no reading session"),
        (("SeriesInstanceUid>", "Series>"), r"it has no SeriesInstanceUid"),
        (("imageSOP_UID>", "slice>"), r"names no imageSOP_UID"),
    ],
)
def test_malformed_annotations(root: Path, change: tuple[str, str], message: str) -> None:
    edit(root, lambda text: text.replace(*change))
    dataset = Lidc(root=root)
    assert len(dataset.ids()) == 2
    (reason,) = dataset.listing.faults["series that cannot be used"]
    with pytest.raises(DataError, match=message):
        raise DataError(reason)


def test_chest_radiographs_are_unused(root: Path) -> None:
    other = root / "LIDC-IDRI-0001" / "study" / "series"
    write_dicom(UNITS[:1].astype(np.uint16), other / "1.dcm", Modality="DX", PatientID="LIDC-IDRI-0001")
    named = root / "LIDC-IDRI-0002" / "study" / "series"
    named.mkdir(parents=True)
    (named / "a.xml").write_text('<IdriReadMessage xmlns="http://www.nih.gov"/>')
    assert counts_of(Lidc(root=root))["chest radiographs"] == (2, None)


def test_a_patient_in_two_folders(root: Path) -> None:
    shutil.copytree(root / "LIDC-IDRI-0001", root / "copy")
    tallies = counts_of(Lidc(root=root))
    assert tallies["series that cannot be used"] == (1, 0)
    (reason,) = Lidc(root=root).listing.faults["series that cannot be used"]
    assert "copy" in reason
    assert "slices of patient LIDC-IDRI-0001, who would be in two splits" in reason
    shutil.move(root / "copy", root / "LIDC-IDRI-0001" / "again")
    again = next((root / "LIDC-IDRI-0001" / "again").iterdir())
    shutil.move(next(again.iterdir()), root / "LIDC-IDRI-0001" / "again")
    again.rmdir()
    dataset = Lidc(root=root)
    assert counts_of(dataset)["series in two folders"] == (1, 0)
    assert len(dataset.ids()) == 4


def damaged(root: Path) -> str:
    """The error of the first sample, after asserting that both nodules of its scan are unreadable."""
    dataset = Lidc(root=root)
    assert counts_of(dataset)["unreadable samples"] == (2, 0)
    with pytest.raises(DataError) as caught:
        dataset.load(dataset.ids()[0])
    assert dataset.load(dataset.ids()[-1]).label == 1
    return str(caught.value)


def test_a_slice_is_missing(root: Path) -> None:
    (folder(root) / "1-005.dcm").unlink()
    assert "are 5 mm apart, other slices 2.5 mm: slices are missing" in damaged(root)


def test_the_xml_refers_to_a_slice_that_is_absent(root: Path) -> None:
    for name in ("1-001.dcm", "1-002.dcm", "1-003.dcm", "1-004.dcm"):
        (folder(root) / name).unlink()
    assert "refers to slice" in damaged(root)


def test_a_slice_is_duplicated(root: Path) -> None:
    shutil.copy(folder(root) / "1-005.dcm", folder(root) / "1-005 (1).dcm")
    assert "are the same slice twice; delete one" in damaged(root)


def test_one_slice_only(root: Path) -> None:
    for path in sorted(folder(root).glob("*.dcm"))[1:]:
        path.unlink()
    assert "holds too few slices (1); give at least two" in damaged(root)


def test_a_slice_without_pixels(root: Path) -> None:
    path = folder(root) / "1-004.dcm"
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    dataset = Lidc(root=root, space=3)
    with pytest.raises(DataError, match=r"1-004\.dcm \(modality CT\) has no pixel data"):
        dataset.load(dataset.ids()[0])


def test_an_outline_leaves_the_image(root: Path) -> None:
    edit(root, lambda text: text.replace("<xCoord>5<", "<xCoord>26<"))
    assert "reaches row and column (11, 26), slices have (24, 26)" in damaged(root)


def test_the_xml_is_of_another_series(root: Path) -> None:
    for part in ("1", "2"):
        uid = folder(root, int(part)).name
        edit(root, lambda text, uid=uid: text.replace(f"{uid}</SeriesI", f"{uid[:-1]}</SeriesI"), int(part))
    dataset = Lidc(root=root)
    with pytest.raises(DataError, match=r"is of series .*, its slices are of .*; restore the folder"):
        dataset.load(dataset.ids()[0])


def test_slices_that_were_not_downloaded(root: Path) -> None:
    for path in folder(root).glob("*.dcm"):
        path.unlink()
    dataset = Lidc(root=root)
    assert counts_of(dataset)["missing images"] == (2, 0)
    with pytest.raises(DataError, match=r"\*\.dcm does not exist; obtain it from the collection LIDC-IDRI"):
        dataset.load(dataset.ids()[0])
    skipping = Lidc(root=root, absent="skip")
    assert len(skipping.ids()) == 2
    check_dataset(skipping)


def test_a_root_without_series(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no folders <patient>/<study>/<series>; obtain it"):
        Lidc(root=tmp_path).ids()


def test_the_identity_follows_the_files(root: Path) -> None:
    before = Lidc(root=root).identity
    assert Lidc(root=root).identity == before
    edit(root, lambda text: text.replace("<malignancy>4<", "<malignancy>5<"))
    assert Lidc(root=root).identity != before


def test_samples_that_cannot_be_written(tmp_path: Path) -> None:
    scan = volume("p", (4, 5))
    dataset = Lidc(root=tmp_path)
    edge = np.zeros(SHAPE, dtype=bool)
    edge[3:5, :4, 3:6] = True
    rated = {"ratings": ({"nodule": 1, "reader": "reader1", "box": ends((slice(3, 5), slice(0, 4), slice(3, 6)))},)}
    cases = [
        (replace(scan, image=scan.image[:, 0]), r"lidc holds volumes \(1, d, h, w\) of uint16 with a spacing"),
        (replace(scan, patient="a/b"), "cannot be the name of a folder"),
        (replace(scan, annotations=()), r"annotations of readers \[\]"),
        (replace(scan, extras={}), "voxels of reader1 outside of every box of .*: 144"),
        (replace(scan, annotations=(Annotation("nodule", edge, reader="reader1"),), extras=rated), "at the border"),
    ]
    for number, (sample, message) in enumerate(cases):
        with pytest.raises(DataError, match=message):
            dataset.write([sample], tmp_path / str(number))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(DataError, match="is not empty"):
        dataset.write([scan], tmp_path / "full")


def test_two_scans_of_a_patient(tmp_path: Path) -> None:
    scans = [volume("p", (4, 5)), volume("p", (1, 2), name="p_b")]
    Lidc(root=tmp_path).write(scans, tmp_path / "root")
    dataset = Lidc(root=tmp_path / "root")
    assert len(dataset.ids()) == 2
    assert {dataset.patient(id) for id in dataset.ids()} == {"p"}
    assert sorted(dataset.load(id).label for id in dataset.ids()) == [0, 1]
