"""The COVID-19 image data collection: chest radiographs from publications, with the finding of each."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from heatproof.errors import DataError
from heatproof.imaging.images import LOSSLESS, LOSSY
from heatproof.records import Label, Sample
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, plain_name, read_table, write_table

from .findings import CLASSES, FAMILIES, NAMES, UNKNOWN, WRITTEN

COLUMNS = ("patientid", "finding", "view", "modality", "folder", "filename")
VOLUMES = re.compile(r"\.(nii|nii\.gz|dcm)$", re.IGNORECASE)


class CovidChestxrayParams(ListedParams):
    """Which views and modalities to take, how fine the labels are, and how patients are divided."""

    views: tuple[str, ...] = ("PA", "AP", "AP Supine", "AP Erect")
    modalities: tuple[str, ...] = ("X-ray",)
    level: Literal["finding", "family"] = "finding"
    shares: Shares = Shares()
    seed: int = Field(default=0, ge=0)


class CovidChestxray(ListedDataset[CovidChestxrayParams]):
    """Radiographs and slices gathered from publications, with one or more findings each.

    Cohen, Morrison, Dao, Roth, Duong and Ghassemi 2020, "COVID-19 Image Data Collection: Prospective Predictions Are
    the Future", arXiv:2006.11988. The table grew and changed its columns and findings over time; both forms of a
    finding (``COVID-19, ARDS``, ``Pneumonia/Viral/COVID-19``) are read. Several findings make a tuple of labels;
    ``todo`` and ``Unknown`` make None. ``level: family`` gives the kind of pneumonia (viral, bacterial …) instead.
    Volumes, and what is no frontal radiograph, are left out and counted. Patients that share an image are one.
    """

    classes = CLASSES
    splits = SPLITS
    tuning = "tuning"
    citation = "Cohen et al. 2020, COVID-19 Image Data Collection, arXiv:2006.11988 (table Apache-2.0, images each own)"
    licence = "each image's own, in the column license of metadata.csv"
    obtain = "obtain it from the repository ieee8023/covid-chestxray-dataset on GitHub, and set root to its folder"

    def listed(self) -> Listing:
        """The rows of ``metadata.csv``; raises ``DataError`` where it is missing or lacks a column."""
        path = self.params.root / "metadata.csv"
        if not path.is_file():
            raise DataError(f"{self.params.root} holds no metadata.csv; {self.obtain}.")
        table = read_table(path, ("patientid", "finding", "view", "filename"), ("modality", "folder"))
        sound = [row for row in table.rows if _sound(row)]
        chosen, unused = self._chosen(sound)
        entries, faults = gathered(self._entries(chosen, _patients(table.rows)))
        # The published table does so for five images, and nothing is lost.
        unused["samples listed twice"] = faults.pop("samples listed twice")
        faults["rows that are not as the header"] = list(table.faults)
        faults["rows without image or known finding"] = [
            f"{row.source}: image {row['filename']!r}, finding {row['finding']!r}"
            for row in table.rows
            if not _sound(row)
        ]
        return Listing(entries, faults, unused, [path])

    def _chosen(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, list[str]]]:
        """The rows to take, and those of other kinds by the first rule that they break."""
        views, modalities = (
            {plain_name(name) for name in names} for names in (self.params.views, self.params.modalities)
        )
        unused: dict[str, list[str]] = {"volumes": [], "rows of another modality": [], "rows of another view": []}
        chosen = []
        for row in rows:
            if plain_name(row["folder"]) == "volumes" or VOLUMES.search(row["filename"]):
                unused["volumes"].append(f"{row.source}: {row['filename']}")
            elif row["modality"] and plain_name(row["modality"]) not in modalities:
                unused["rows of another modality"].append(f"{row.source}: {row['modality']}")
            elif plain_name(row["view"]) not in views:
                unused["rows of another view"].append(f"{row.source}: {row['view'] or 'none'}")
            else:
                chosen.append(row)
        return chosen, unused

    def _entries(self, rows: Sequence[Row], patients: Mapping[str, str]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            path = self.params.root / (row["folder"] or "images") / row["filename"]
            patient = patients.get(row["patientid"], "")
            split = split_of(patient or path.stem, self.params.shares, self.params.seed)
            yield path.stem, ListedSample(path, split, self._label(row["finding"]), patient, row.source)

    def _label(self, text: str) -> Label:
        """The classes of a finding as the table writes it; None where nobody named one."""
        names = [NAMES[plain] for plain in _parts(text) if plain not in UNKNOWN]
        if self.params.level == "family":
            names = [FAMILIES.get(name, name) for name in names]
        labels = tuple(CLASSES.index(name) for name in dict.fromkeys(names))
        return labels if len(labels) > 1 else (labels[0] if labels else None)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples under an empty folder, as PNG and as frontal radiographs of the table; how many.

        Splits are not written: whoever reads them divides the patients anew.
        """
        require_new(root)
        rows = []
        for sample in samples:
            labels = sample.label if isinstance(sample.label, tuple) else (sample.label,)
            indices = [self.class_to_write(replace(sample, label=label)) for label in labels]
            findings = ", ".join(WRITTEN[CLASSES[index]] for index in indices)
            name = f"{self.name_to_write(sample)}.png"
            write_image(sample.image, root / "images" / name)
            rows.append((sample.patient, findings, "PA", "X-ray", "images", name))
        write_table(root / "metadata.csv", COLUMNS, rows)
        return len(rows)


def _parts(text: str) -> list[str]:
    """The plain names of the findings of a row, each the last step of its path."""
    return [plain_name(part.rsplit("/", 1)[-1]) for part in text.split(",")]


def _sound(row: Row) -> bool:
    """Whether a row names a file and findings that are known; one that an extra comma has shifted does not."""
    named = VOLUMES.search(row["filename"]) or row["filename"].lower().endswith(LOSSY + LOSSLESS)
    return bool(named) and all(plain in NAMES or plain in UNKNOWN for plain in _parts(row["finding"]))


def _patients(rows: Sequence[Row]) -> dict[str, str]:
    """The patient behind each number: numbers that are given to one image belong to the first of them."""
    patients = {row["patientid"]: row["patientid"] for row in rows if row["patientid"]}
    owners: dict[str, str] = {}
    for row in rows:
        if row["patientid"]:
            one, other = patients[owners.setdefault(row["filename"], row["patientid"])], patients[row["patientid"]]
            if one != other:
                patients |= {number: one for number, patient in patients.items() if patient == other}
    return patients
