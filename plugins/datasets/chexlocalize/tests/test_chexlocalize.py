"""Tests of CheXlocalize: the published layout with synthetic images, both groups of readers, and damaged files."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_chexlocalize.chexlocalize import Chexlocalize
from heatproof_chexlocalize.findings import CLASSES, INDICES, OUTLINED
from heatproof_cohorts.image_files import write_image

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")

SHAPE = (12, 10)
HEADER = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"  # noqa: E501
SICK = "patient1_study1_view1_frontal"
WELL = "patient2_study1_view1_frontal"
SIDE = "patient2_study1_view2_lateral"
TUNING = "patient9_study1_view1_frontal"


def rows(part: str, *radiographs: tuple[str, tuple[str, ...]]) -> str:
    """A table with the positive classes of each radiograph."""
    lines = [HEADER]
    for path, positive in radiographs:
        lines.append(f"{part}/{path}.jpg,F,50,Frontal,AP,{','.join(str(float(name in positive)) for name in CLASSES)}")
    return "\n".join(lines) + "\n"


def heart(left: int = 3) -> Array:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:9, left : left + 4] = True
    return mask


def encoded(masks: dict[str, Array]) -> dict[str, Any]:
    """The entry of an image: all ten findings, as pycocotools encodes them."""
    entry = {}
    for name in OUTLINED.values():
        mask = masks.get(name, np.zeros(SHAPE, dtype=bool))
        lengths = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        entry[name] = {"size": lengths["size"], "counts": lengths["counts"].decode()}
    return entry


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three test images of two patients and one of the validation set; one has a large heart and an opacity."""
    images = tmp_path / "CheXpert"
    for number, id in enumerate((SICK, WELL, SIDE, TUNING)):
        part = "val" if id == TUNING else "test"
        write_image(np.full((1, *SHAPE), 60 * number, dtype=np.uint8), images / part / f"{id.replace('_', '/', 2)}.jpg")
    (images / "test_labels.csv").write_text(
        rows(
            "test",
            ("patient1/study1/view1_frontal", ("Cardiomegaly", "Lung Opacity")),
            ("patient2/study1/view1_frontal", ("No Finding",)),
            ("patient2/study1/view2_lateral", ()),
        )
    )
    (images / "val_labels.csv").write_text(rows("val", ("patient9/study1/view1_frontal", ("Edema",))))
    outlines = tmp_path / "CheXlocalize"
    outlines.mkdir()
    truth = encoded({"Cardiomegaly": heart(), "Airspace Opacity": heart(0)})
    (outlines / "gt_segmentations_test.json").write_text(json.dumps({SICK: truth}))
    (outlines / "gt_segmentations_val.json").write_text(json.dumps({}))
    (outlines / "hb_segmentations_test.json").write_text(json.dumps({SICK: encoded({"Cardiomegaly": heart(5)})}))
    (outlines / "hb_salient_pt_test.json").write_text(json.dumps({SICK: {"Cardiomegaly": [[4.5, 6], [7, 8.25]]}}))
    return tmp_path


def test_labels_patients_and_outlines(root: Path) -> None:
    dataset = Chexlocalize(root=root)
    assert dataset.ids("test") == [SICK, WELL, SIDE]
    assert dataset.ids("tuning") == [TUNING]
    samples = [dataset.load(id) for id in dataset.ids("test")]
    assert [sample.label for sample in samples] == [(2, 3), 0, ()]
    assert [sample.patient for sample in samples] == ["patient1", "patient2", "patient2"]
    sick, well, _ = samples
    assert sick.findings() == well.findings() == dataset.findings
    np.testing.assert_array_equal(sick.mask("cardiomegaly"), heart())
    np.testing.assert_array_equal(sick.mask("lung_opacity"), heart(0))
    shown = [annotation.finding for annotation in sick.annotations if annotation.values.any()]
    assert shown == ["cardiomegaly", "lung_opacity"]
    assert {annotation.reader for annotation in sick.annotations} == {"ground_truth"}
    assert not any(annotation.values.any() for annotation in well.annotations)
    assert {finding: CLASSES[index] for finding, index in INDICES.items()}["lung_opacity"] == "Lung Opacity"
    check_dataset(dataset)


def test_a_finding_that_nobody_outlined_is_not_absent(root: Path) -> None:
    """An image outside the file is free of the findings that its label denies, and of these only."""
    dataset = Chexlocalize(root=root)
    assert dataset.load(TUNING).findings() == tuple(finding for finding in OUTLINED if finding != "edema")
    assert counts_of(dataset)["images with a finding but without outlines of the ground truth"] == (1, None)


@pytest.mark.parametrize(("readers", "names"), [("benchmark", {"benchmark"}), ("both", {"benchmark", "ground_truth"})])
def test_the_benchmark_and_its_points(root: Path, readers: Any, names: set[str]) -> None:
    dataset = Chexlocalize(root=root, readers=readers)
    sick = dataset.load(SICK)
    assert {annotation.reader for annotation in sick.annotations} == names == {*dataset.readers}
    masks = [a.values for a in sick.annotations if a.reader == "benchmark" and a.finding == "cardiomegaly"]
    np.testing.assert_array_equal(masks, [heart(5)])
    assert sick.extras["points"].tolist() == [[6, 4.5], [8.25, 7]]
    assert sick.extras["point_findings"].tolist() == ["cardiomegaly", "cardiomegaly"]
    hits = [heart()[int(row), int(column)] for row, column in sick.extras["points"]]
    assert hits == [True, False]
    well, tuning = (dataset.load(id) for id in (WELL, TUNING))
    assert {annotation.reader for annotation in well.annotations} == names
    assert not any(annotation.values.any() for annotation in well.annotations)
    assert {annotation.reader for annotation in tuning.annotations} == names - {"benchmark"}
    assert well.extras["points"].shape == tuning.extras["points"].shape == (0, 2)
    assert counts_of(dataset)["unreadable samples"] == (0, 0)
    check_dataset(dataset)


def test_points_of_the_benchmark_are_pixels(root: Path) -> None:
    """The share of these pixels in the ground truth is that of the points that hit; a finding without one is missed."""
    dataset = Chexlocalize(root=root, readers="points")
    sick = dataset.load(SICK)
    pixels = {a.finding: a.values for a in sick.annotations if a.reader == "benchmark"}
    assert tuple(pixels) == dataset.findings
    assert [(finding, mask.sum()) for finding, mask in pixels.items() if mask.any()] == [("cardiomegaly", 2)]
    assert pixels["cardiomegaly"][6, 4]
    assert pixels["cardiomegaly"][8, 7]
    (truth,) = [a.values for a in sick.annotations if a.reader == "ground_truth" and a.finding == "cardiomegaly"]
    assert (truth & pixels["cardiomegaly"]).sum() / pixels["cardiomegaly"].sum() == 0.5
    assert {a.reader for a in dataset.load(WELL).annotations} == {"ground_truth", "benchmark"}
    assert {a.reader for a in dataset.load(TUNING).annotations} == {"ground_truth"}
    check_dataset(dataset)


def test_what_the_benchmark_lacks_is_counted(root: Path) -> None:
    for name in ("hb_segmentations_test.json", "hb_salient_pt_test.json"):
        (root / "CheXlocalize" / name).write_text("{}")
    dataset = Chexlocalize(root=root, readers="both")
    tallies = counts_of(dataset)
    assert tallies["images with a finding but without outlines of the benchmark"] == (1, None)
    assert tallies["images with a finding but without a point of the benchmark"] == (1, None)
    drawn = [a.values for a in dataset.load(SICK).annotations if a.reader == "benchmark"]
    assert (len(drawn), np.any(drawn)) == (10, False)
    (root / "CheXlocalize/hb_salient_pt_test.json").unlink()
    with pytest.raises(DataError, match=r"hb_salient_pt_test\.json does not exist; download it"):
        Chexlocalize(root=root, readers="points").ids()


def test_views_are_selected_and_counted(root: Path) -> None:
    dataset = Chexlocalize(root=root, views=("frontal",))
    assert dataset.ids() == [TUNING, SICK, WELL]
    tallies = counts_of(dataset)
    assert (tallies["rows of another view"], tallies["samples"]) == ((1, None), (3, None))
    assert counts_of(Chexlocalize(root=root))["samples in test"] == (3, 668)


def test_other_names_of_files_and_columns(root: Path) -> None:
    """The sample of the authors' repository lies flat, has CheXpert's names, and another prefix of the paths."""
    table = root / "CheXpert/val_labels.csv"
    text = table.read_text().replace("Lung Opacity", "Airspace Opacity").replace("val/", "CheXpert-v1.0/valid/")
    table.unlink()
    (root / "CheXpert/test_labels.csv").unlink()
    (root / "valid.csv").write_text(text, encoding="utf-8-sig")
    (root / "CheXpert/val").rename(root / "valid")
    (root / "CheXlocalize/gt_segmentations_val.json").rename(root / "gt_segmentations_val.json")
    dataset = Chexlocalize(root=root)
    assert dataset.ids() == [TUNING]
    assert dataset.load(TUNING).label == CLASSES.index("Edema")
    assert counts_of(dataset)["missing tables"] == (1, None)


TRUTH = "CheXlocalize/gt_segmentations_test.json"
POINTS = "CheXlocalize/hb_salient_pt_test.json"


def resized(value: Any) -> None:
    value[SICK]["Edema"]["size"] = [6, 5]


def cut(value: Any) -> None:
    value[SICK]["Edema"]["counts"] = value[SICK]["Cardiomegaly"]["counts"][:-1]


def beside(value: Any) -> None:
    value[SICK]["Cardiomegaly"][0] = [10, 3]


def no_pair(value: Any) -> None:
    value[SICK]["Cardiomegaly"][0] = [10]


def no_list(value: Any) -> None:
    value[SICK]["Cardiomegaly"] = 5


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (TRUTH, resized, rf"{SICK}, Edema: the mask has the size \[6, 5\], its image \[12, 10\]"),
        (TRUTH, cut, rf"{SICK}, Edema: the counts of the mask (fill|end)"),
        (POINTS, beside, rf"{SICK}, Cardiomegaly: the point 10, 3 lies beside its image"),
        (POINTS, no_pair, r"Cardiomegaly: '\[10\]' is not a point"),
        (POINTS, no_list, r"Cardiomegaly: '5' is not a list of points"),
    ],
)
def test_one_damaged_annotation_makes_only_its_image_unreadable(
    root: Path, path: str, change: Callable[[Any], None], message: str
) -> None:
    edit(root / path, change)
    dataset = Chexlocalize(root=root, readers="both")
    with pytest.raises(DataError, match=message):
        dataset.load(SICK)
    assert dataset.load(WELL).label == 0
    assert counts_of(dataset)["unreadable samples"] == (1, 0)


def test_faults_are_counted(root: Path) -> None:
    table = root / "CheXpert/test_labels.csv"
    lines = table.read_text().splitlines()
    blank = lines[1].replace("study1", "study2").replace("1.0", "-1.0")
    table.write_text("\n".join([*lines, lines[1], lines[2].replace("1.0", "0.0"), blank, "no/path" + ",0" * 18]))

    def damage(value: Any) -> None:
        value["patient7_study1_view1_frontal"] = value[SICK].copy()
        value[SICK]["Rickets"] = value[SICK].pop("Edema")

    edit(root / TRUTH, damage)
    (root / "CheXpert/test/patient2/study1/view2_lateral.jpg").unlink()
    dataset = Chexlocalize(root=root)
    tallies = counts_of(dataset)
    assert {name: count for name, (count, expected) in tallies.items() if expected == 0 and count} == {
        "samples listed twice": 1,
        "ids with two meanings": 1,
        "rows that cannot be used": 2,
        "annotations without an image": 1,
        "annotations of unknown findings": 1,
        "findings that an image of a file lacks": 1,
        "missing images": 1,
    }
    assert dataset.load(SICK).findings() == tuple(finding for finding in OUTLINED if finding != "edema")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / TRUTH).unlink(), r"gt_segmentations_test\.json does not exist; download it"),
        (lambda root: (root / TRUTH).write_text("{"), r"gt_segmentations_test\.json is damaged"),
        (lambda root: (root / TRUTH).write_text('{"a": 1}'), "a holds no findings but '1'"),
        (lambda root: (root / TRUTH).write_text('{"a": {}, "a": {}}'), "the name 'a' stands twice"),
        (lambda root: (root / "CheXpert/test_labels.csv").write_text("Path,Edema\n"), "has no column 'No Finding'"),
        (
            lambda root: [path.unlink() for path in root.glob("CheXpert/*.csv")],
            "obtain it from the page 'CheX",
        ),
        (
            lambda root: (root / "CheXpert/test_labels.csv").write_text(HEADER.replace("Lung Opacity", "Lungs")),
            "has no column 'Lung Opacity'",
        ),
    ],
)
def test_files_that_cannot_be_read(root: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(root)
    with pytest.raises(DataError, match=message):
        Chexlocalize(root=root).ids()


def test_the_content_of_outlines_is_part_of_the_identity(root: Path) -> None:
    before = Chexlocalize(root=root).identity
    edit(root / TRUTH, lambda value: value[SICK].update(encoded({"Cardiomegaly": heart(1)})))
    assert Chexlocalize(root=root).identity != before


def written() -> list[Sample]:
    """Four samples of two patients, one in each split, with a reader of the benchmark."""
    image = np.full((1, *SHAPE), 90 * 257, dtype=np.uint16)
    extras = {"points": np.array([[6, 4.5]]), "point_findings": np.array(["edema"]), "split": "test"}
    return [
        Sample(
            f"synthetic_{number}",
            image,
            (
                Annotation("enlarged_cardiac_silhouette", heart()),
                Annotation("lung_opacity", heart(0) * 0.75, "box", "A"),
                Annotation("lung_opacity", heart(5), reader="B"),
                Annotation("edema", heart(2), reader="benchmark"),
                Annotation("left_lung", heart(1)),
            ),
            (2, 3),
            f"synthetic_{number // 2}",
            extras=extras | {"split": ("tuning", "test")[number // 2]},
        )
        for number in range(4)
    ]


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    samples = written()
    assert Chexlocalize(root=tmp_path).write(samples, tmp_path / "twin") == 4
    dataset = Chexlocalize(root=tmp_path / "twin", readers="both")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not any(tally.count for tally in dataset.check() if tally.expected == 0)
    assert [dataset.patient(id) for id in dataset.ids("test")] == ["patientsynthetic_1"] * 2
    for id in dataset.ids():
        actual = dataset.load(id)
        assert (actual.label, actual.image.dtype) == ((2, 3), np.uint8)
        np.testing.assert_allclose(actual.image, 90, atol=2)
        truth = {a.finding: a.values for a in actual.annotations if a.reader == "ground_truth" and a.values.any()}
        assert truth.keys() == {"cardiomegaly", "lung_opacity"}
        np.testing.assert_array_equal(truth["lung_opacity"], heart(0) | heart(5))
    assert actual.extras["points"].tolist() == [[6, 4.5]]
    benchmark = [a for a in actual.annotations if a.reader == "benchmark" and a.values.any()]
    assert [annotation.finding for annotation in benchmark] == ["edema"]
    origins = (tmp_path / "twin/origin.csv").read_text().splitlines()
    assert origins[-1] == f"{dataset.ids('test')[-1]},synthetic_3,synthetic_1"
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")
