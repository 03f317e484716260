"""The COVID-19 image data collection: chest radiographs from publications, with their findings."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Literal

from heatproof.component import Seed
from heatproof.errors import DataError, near
from heatproof.imaging.images import LOSSLESS, LOSSY
from heatproof.records import Label, Sample
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.labels import indices_to_write
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, plain_name, read_table, write_table

from .findings import CLASSES, FAMILIES, NAMES, UNKNOWN, WRITTEN

COLUMNS = ("patientid", "finding", "view", "modality", "folder", "filename")
VOLUMES = re.compile(r"\.(nii|nii\.gz|dcm)$", re.IGNORECASE)


class CovidChestxrayParams(ListedParams):
    """The views and modalities to use, the level of the labels, and the division of patients."""

    views: tuple[str, ...] = ("PA", "AP", "AP Supine", "AP Erect")
    modalities: tuple[str, ...] = ("X-ray",)
    level: Literal["finding", "family"] = "finding"
    shares: Shares = Shares()
    seed: Seed = 0


class CovidChestxray(ListedDataset[CovidChestxrayParams]):
    """Radiographs and slices gathered from publications, with one or more findings each.

    Cohen, Morrison, Dao, Roth, Duong and Ghassemi 2020, "COVID-19 Image Data Collection: Prospective Predictions Are
    the Future", arXiv:2006.11988. The columns and findings of the table changed over time; both forms of a finding
    (``COVID-19, ARDS``, ``Pneumonia/Viral/COVID-19``) are read. Several findings become a tuple of labels; ``todo`` and
    ``Unknown`` become None. With ``level: family`` labels are kinds of pneumonia (viral, bacterial …). Volumes, and
    images that are no frontal radiographs, are counted as unused. Patients that share an image count as one.
    """

    classes = CLASSES
    splits = SPLITS
    tuning = "tuning"
    citation = "Cohen et al. 2020, COVID-19 Image Data Collection, arXiv:2006.11988 (table Apache-2.0, images each own)"
    licence = "differs by image; see the column license of metadata.csv"
    obtain = "obtain it from the repository ieee8023/covid-chestxray-dataset on GitHub, and set root to its folder"

    def listed(self) -> Listing:
        """List the rows of ``metadata.csv``; raise ``DataError`` where it is missing or lacks a column."""
        path = self.params.root / "metadata.csv"
        if not path.is_file():
            raise DataError(f"{self.params.root} holds no metadata.csv; {self.obtain}.")
        table = read_table(path, ("patientid", "finding", "view", "filename"), ("modality", "folder"))
        _require_known("views", self.params.views, {row["view"] for row in table.rows})
        _require_known("modalities", self.params.modalities, {row["modality"] for row in table.rows})
        sound = [row for row in table.rows if _sound(row)]
        cohort, unused = self._cohort(sound)
        entries, faults = gathered(self._entries(cohort, _patients(table.rows)))
        # The published table lists five images twice, with the same labels, so this is no fault.
        unused["samples listed twice"] = faults.pop("samples listed twice")
        faults["rows that are not as the header"] = list(table.faults)
        faults["rows without image or known finding"] = [
            f"{row.source}: image {row['filename']!r}, finding {row['finding']!r}"
            for row in table.rows
            if not _sound(row)
        ]
        return Listing(entries, faults, unused, [path])

    def _cohort(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, list[str]]]:
        """The rows to use, and the unused ones by the first rule that excludes them."""
        views = {plain_name(name) for name in self.params.views}
        modalities = {plain_name(name) for name in self.params.modalities}
        unused: dict[str, list[str]] = {"volumes": [], "rows of another modality": [], "rows of another view": []}
        cohort = []
        for row in rows:
            if plain_name(row["folder"]) == "volumes" or VOLUMES.search(row["filename"]):
                unused["volumes"].append(f"{row.source}: {row['filename']}")
            elif row["modality"] and plain_name(row["modality"]) not in modalities:
                unused["rows of another modality"].append(f"{row.source}: {row['modality']}")
            elif plain_name(row["view"]) not in views:
                unused["rows of another view"].append(f"{row.source}: {row['view'] or 'none'}")
            else:
                cohort.append(row)
        return cohort, unused

    def _entries(self, rows: Sequence[Row], patients: Mapping[str, str]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            path = self.params.root / (row["folder"] or "images") / row["filename"]
            patient = patients.get(row["patientid"], "")
            split = split_of(patient or path.stem, self.params.shares, self.params.seed)
            label = self._label(row["finding"])
            yield path.stem, ListedSample(path, split, label, patient, row.source, attributes=attributes(row))

    def _label(self, text: str) -> Label:
        """The classes of a finding in the table; None where it is unknown."""
        names = [NAMES[plain] for plain in _parts(text) if plain not in UNKNOWN]
        if self.params.level == "family":
            names = [FAMILIES.get(name, name) for name in names]
        labels = tuple(CLASSES.index(name) for name in dict.fromkeys(names))
        if len(labels) > 1:
            return labels
        return next(iter(labels), None)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples as PNG and as frontal radiographs under an empty folder; return their number.

        Splits are not written; patients are divided anew when the samples are read.
        """
        require_new(root)
        rows = []
        for sample in samples:
            findings = ", ".join(WRITTEN[CLASSES[index]] for index in indices_to_write(self, sample))
            name = f"{self.name_to_write(sample)}.png"
            write_image(sample.image, root / "images" / name)
            rows.append((sample.patient, findings, "PA", "X-ray", "images", name))
        write_table(root / "metadata.csv", COLUMNS, rows)
        return len(rows)


def _require_known(setting: str, names: Sequence[str], values: Set[str]) -> None:
    """Raise ``DataError`` for a name, other than a default, that no row of the table has."""
    known = {plain_name(name) for name in (*values, *CovidChestxrayParams.model_fields[setting].default)}
    for name in names:
        if plain_name(name) not in known:
            raise DataError(f"no row of metadata.csv has {name!r} among its {setting}; {near(name, values)}")


def _parts(text: str) -> list[str]:
    """The plain names of the findings of a row, without the families before them."""
    return [plain_name(part.rsplit("/", 1)[-1]) for part in text.split(",")]


def _sound(row: Row) -> bool:
    """Whether a row names a file and known findings; a row that is shifted by an extra comma does not."""
    named = VOLUMES.search(row["filename"]) or row["filename"].lower().endswith(LOSSY + LOSSLESS)
    return bool(named) and all(plain in NAMES or plain in UNKNOWN for plain in _parts(row["finding"]))


def _patients(rows: Sequence[Row]) -> dict[str, str]:
    """The patient of each number; numbers that share an image belong to the patient of the first of them."""
    numbered = [row for row in rows if row["patientid"]]
    patients = {row["patientid"]: row["patientid"] for row in numbered}
    first_numbers: dict[str, str] = {}
    for row in numbered:
        first = patients[first_numbers.setdefault(row["filename"], row["patientid"])]
        current = patients[row["patientid"]]
        if first != current:
            patients |= {number: first for number, patient in patients.items() if patient == current}
    return patients
