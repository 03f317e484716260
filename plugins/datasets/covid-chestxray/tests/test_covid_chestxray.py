"""Tests of the COVID-19 image data collection: both forms of its table, damaged ones, and the real one if present."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.imaging.transforms import Resize
from heatproof.records import Label, Sample
from heatproof.testing import check_dataset
from heatproof_cohorts.image_files import write_image
from heatproof_covid_chestxray.covid_chestxray import CovidChestxray
from heatproof_covid_chestxray.findings import CLASSES, FAMILIES, WRITTEN

REAL = Path(__file__).resolve().parents[4] / "../shared/data/covid-chestxray"
HEADER = "patientid,offset,finding,view,modality,folder,filename,url,clinical_notes,"


def index(name: str) -> int:
    return CLASSES.index(name)


def folder(root: Path, *rows: str, header: str = HEADER) -> Path:
    (root / "metadata.csv").write_text("\n".join((header, *rows)) + "\n")
    return root


def labels(dataset: CovidChestxray) -> dict[str, Label]:
    return {id: entry.label for id, entry in dataset.listing.entries.items()}


def counts(dataset: CovidChestxray) -> dict[str, int]:
    return {tally.what: tally.count for tally in dataset.check()}


def test_findings_of_both_forms(tmp_path: Path) -> None:
    rows = (
        '1,0,"COVID-19, ARDS",PA,X-ray,images,a.jpg,u,,',
        "2,0,Pneumonia/Viral/COVID-19,PA,X-ray,images,b.jpg,u,,",
        "3,0,Pneumonia/Bacterial/Staphylococcus/MRSA,AP,X-ray,images,c.jpg,u,,",
        "4,0,Mycoplasma Bacterial Pneumonia,AP Supine,X-ray,images,d.png,u,,",
        "5,0,No Finding,PA,X-ray,images,e.png,u,,",
        "6,0,todo,PA,X-ray,images,f.png,u,,",
        "7,0,Unknown,PA,X-ray,images,g.png,u,,",
        '8,0,"COVID-19, SARS",PA,X-ray,images,h.png,u,,',
    )
    covid = index("covid_19")
    viral = index("viral")
    fine = labels(CovidChestxray(root=folder(tmp_path, *rows)))
    assert fine == {
        "a": (covid, index("ards")),
        "b": covid,
        "c": index("mrsa"),
        "d": index("mycoplasma"),
        "e": index("no_finding"),
        "f": None,
        "g": None,
        "h": (covid, index("sars")),
    }
    coarse = labels(CovidChestxray(root=tmp_path, level="family"))
    assert coarse["a"] == (viral, index("ards"))
    assert [coarse[id] for id in "bcdefgh"] == [viral, *[index("bacterial")] * 2, fine["e"], None, None, viral]


def test_findings_and_families_are_classes() -> None:
    assert set(FAMILIES) | set(FAMILIES.values()) <= set(CLASSES)
    assert not set(FAMILIES) & set(FAMILIES.values())


def test_the_first_table_had_other_column_names(tmp_path: Path) -> None:
    header = "Patientid,offset,finding,view,modality,folder,filename,doi, url,license,clinical notes,other notes"
    folder(tmp_path, "2,0,COVID-19,PA,X-ray,images,a.jpg,,u,,,", header=header)
    assert CovidChestxray(root=tmp_path).ids() == ["a"]
    assert CovidChestxray(root=tmp_path).patient("a") == "2"


def test_rows_of_other_kinds_are_counted(tmp_path: Path) -> None:
    rows = (
        "1,0,COVID-19,PA,X-ray,images,a.jpg,u,,",
        "1,0,COVID-19,L,X-ray,images,b.jpg,u,,",
        "1,0,COVID-19,,X-ray,images,c.jpg,u,,",
        "1,0,COVID-19,Axial,CT,images,d.jpg,u,,",
        "1,0,COVID-19,Axial,CT,volumes,e.nii.gz,u,,",
        "1,0,Flu,PA,X-ray,images,f.jpg,u,,",
        "1,0,COVID-19, ARDS,PA,X-ray,images,g.jpg,u,,",
        "1,0,COVID-19, ARDS,PA,X-ray,images,g.jpg,u,notes,more",
    )
    dataset = CovidChestxray(root=folder(tmp_path, *rows))
    assert dataset.ids() == ["a"]
    tallies = counts(dataset)
    assert (tallies["volumes"], tallies["rows of another modality"], tallies["rows of another view"]) == (1, 1, 2)
    assert (tallies["rows without image or known finding"], tallies["rows that are not as the header"]) == (2, 1)
    assert tallies["missing images"] == 1
    everything = CovidChestxray(root=tmp_path, views=("pa", "L", "", "axial"), modalities=("X-ray", "CT"))
    assert everything.ids() == ["a", "b", "c", "d"]
    with pytest.raises(DataError, match=r"no row .* has 'axal' among its views; did you mean 'Axial'\?"):
        CovidChestxray(root=tmp_path, views=("PA", "axal")).ids()
    with pytest.raises(DataError, match=r"'MR' among its modalities; allowed: .*CT"):
        CovidChestxray(root=tmp_path, modalities=("X-ray", "MR")).ids()


def test_patients_that_share_an_image_are_one(tmp_path: Path) -> None:
    pairs = (("1", "a"), ("2", "b"), ("3", "b"), ("3", "c"), ("1", "c"), ("4", "d"), ("", "e"))
    rows = [f"{patient},0,SARS,PA,X-ray,images,{name}.jpg,u,," for patient, name in pairs]
    dataset = CovidChestxray(root=folder(tmp_path, *rows))
    assert dataset.ids() == ["a", "b", "c", "d", "e"]
    assert len({dataset.patient(id) for id in "abc"}) == 1
    assert (dataset.patient("d"), dataset.patient("e")) == ("4", "e")
    assert counts(dataset)["samples listed twice"] == 2


def test_a_row_that_contradicts_another(tmp_path: Path) -> None:
    rows = [f"{patient},0,{finding},PA,X-ray,images,a.jpg,u,," for patient, finding in (("1", "SARS"), ("1", "ARDS"))]
    dataset = CovidChestxray(root=folder(tmp_path, *rows))
    assert dataset.ids() == []
    assert counts(dataset)["ids with two meanings"] == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"holds no metadata\.csv; obtain it from the repository ieee8023"),
        (lambda path: path.write_text("a,b\n1,2\n"), "has no column 'patientid'"),
        (lambda path: path.write_text(""), "has no column 'patientid'"),
    ],
)
def test_missing_tables_and_columns(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder(tmp_path)
    damage(tmp_path / "metadata.csv")
    with pytest.raises(DataError, match=message):
        CovidChestxray(root=tmp_path).ids()


def test_other_encodings(tmp_path: Path) -> None:
    row = "é1,0,COVID-19,PA,X-ray,images,a.jpg,u,,"
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        (tmp_path / "metadata.csv").write_text(f"{HEADER}\n{row}\n", encoding=encoding)
        assert CovidChestxray(root=tmp_path).patient("a") == "é1"


def test_absent_and_damaged_images(tmp_path: Path) -> None:
    rows = [f"{name},0,SARS,PA,X-ray,images,{name}.jpg,u,," for name in "ab"]
    dataset = CovidChestxray(root=folder(tmp_path, *rows))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/b.jpg").write_bytes(b"no image")
    tallies = counts(dataset)
    assert (tallies["missing images"], tallies["unreadable samples"]) == (1, 1)
    for id, message in (("a", r"a\.jpg does not exist"), ("b", r"b\.jpg is damaged")):
        with pytest.raises(DataError, match=message):
            dataset.load(id)


def samples() -> list[Sample]:
    image = np.random.default_rng(1).integers(0, 256, (3, 12, 16), dtype=np.uint8)
    images = [Sample(f"s{n}", image + np.uint8(n), label=n % 5, patient=f"p{n // 2}") for n in range(40)]
    return [*images, replace(images[0], id="both", label=(index("covid_19"), index("ards")))]


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    assert CovidChestxray(root=twin).write(samples(), twin) == 41
    dataset = CovidChestxray(root=twin)
    assert dataset.ids() == [sample.id for sample in samples()]
    for sample in samples():
        actual = dataset.load(sample.id)
        assert (actual.label, actual.patient) == (sample.label, sample.patient)
        np.testing.assert_array_equal(actual.image, sample.image)
    assert all(dataset.ids(split) for split in dataset.splits)
    check_dataset(dataset)
    assert not any(tally.count for tally in dataset.check() if tally.expected == 0)
    assert "both.png" in (twin / "metadata.csv").read_text()
    assert '"COVID-19, ARDS"' in (twin / "metadata.csv").read_text()
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples(), twin)
    with pytest.raises(DataError, match="needs one class index"):
        dataset.write([replace(samples()[0], label=None)], tmp_path / "other")


def test_written_names_of_classes_are_unique() -> None:
    assert len({text.casefold() for text in WRITTEN.values()}) == len(CLASSES)


def test_a_seed_moves_patients_and_a_filter_does_not(tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    CovidChestxray(root=twin).write(samples(), twin)
    other = CovidChestxray(root=twin, seed=1)
    dataset = CovidChestxray(root=twin)
    assert [other.ids(split) for split in other.splits] != [dataset.ids(split) for split in dataset.splits]
    write_image(samples()[0].image, twin / "images/unlisted.png")
    (twin / "images/s7.png").unlink()
    skipping = CovidChestxray(root=twin, absent="skip")
    for split in skipping.splits:
        assert skipping.ids(split) == [id for id in CovidChestxray(root=twin).ids(split) if id != "s7"]


def test_the_real_table_and_its_permissive_images() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no download of covid-chestxray at {REAL}")
    dataset = CovidChestxray(root=REAL, absent="skip")
    images = sorted((REAL / "images").iterdir())
    assert sorted(dataset.ids()) == sorted(path.stem for path in images)
    whole = CovidChestxray(root=REAL)
    # 751 rows: 21 volumes, 84 - 21 slices of CT, 97 radiographs that are lateral or of no view, 4 images twice.
    assert {reason: len(cases) for reason, cases in whole.listing.unused.items()} == {
        "volumes": 21,
        "rows of another modality": 63,
        "rows of another view": 97,
        "samples listed twice": 4,
    }
    assert not any(whole.listing.faults.values())
    assert len(whole.ids()) == 751 - 21 - 63 - 97 - 4
    assert whole.patient("000001-24") == whole.patient("000007-15") == "285"
    patients = {split: {whole.patient(id) for id in whole.ids(split)} for split in whole.splits}
    assert not patients["train"] & patients["test"]
    assert not patients["train"] & patients["tuning"]
    assert not patients["tuning"] & patients["test"]
    assert (dataset.entry("ARDSSevere").label, dataset.patient("ARDSSevere")) == (index("ards"), "5")
    assert dataset.entry("cae2c0a9").label == index("no_finding")
    assert dataset.load("thnov10p5641g006-c").image.shape == (3, 277, 375)
    check_dataset(dataset)


@pytest.mark.slow
def test_grey_and_colour_of_the_real_radiographs_meet() -> None:
    """15 are grey, 3 have three equal channels, and 5 have colours, as of arrows that somebody drew."""
    if not REAL.is_dir():
        pytest.skip(f"no download of covid-chestxray at {REAL}")
    dataset = CovidChestxray(root=REAL, absent="skip")
    samples = [dataset.load(id) for id in dataset.ids()]
    coloured = [sample for sample in samples if np.ptp(sample.image, axis=0).any()]
    assert (len(samples), len(coloured)) == (23, 5)
    for sample in samples:
        assert Resize(size=32, channels="luminance")(sample).image.shape == (1, 32, 32)
        assert Resize(size=32, channels=3)(sample).image.shape == (3, 32, 32)
        if all(sample is not other for other in coloured):
            assert Resize(size=32, channels=1)(sample).image.shape == (1, 32, 32)
    for sample in coloured:
        with pytest.raises(DataError, match="has 3 channels, but channels is 1; convert it, or set channels"):
            Resize(size=32, channels=1)(sample)
