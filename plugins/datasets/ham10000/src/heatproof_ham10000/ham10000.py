"""HAM10000: dermatoscopic images of pigmented lesions with diagnoses and masks."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from heatproof.component import Seed
from heatproof.errors import DataError
from heatproof.imaging.images import read_mask
from heatproof.records import Annotation, Geometry, Sample
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.image_files import write_binary, write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, Table, read_table, write_table

Diagnosis = Literal["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
PER_FOLDER = 5000


class Ham10000Params(ListedParams):
    """The diagnoses to use, and the division of lesions."""

    diagnoses: tuple[Diagnosis, ...] = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    shares: Shares = Shares()
    seed: Seed = 0


class Ham10000(ListedDataset[Ham10000Params]):
    """10,015 dermatoscopic images of 7,470 lesions, of seven diagnoses.

    Tschandl, Rosendahl and Kittler 2018, "The HAM10000 dataset, a large collection of multi-source dermatoscopic images
    of common pigmented skin lesions", Scientific Data 5:180161, doi:10.1038/sdata.2018.161. Several images may show
    one lesion, which takes the role of the patient, because patients were not published. The mask of an image annotates
    ``lesion``; an image without a mask was not examined.
    """

    classes = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    findings = ("lesion",)
    splits = SPLITS
    tuning = "tuning"
    citation = "Tschandl et al. 2018, Scientific Data 5:180161, doi:10.1038/sdata.2018.161"
    licence = "CC BY-NC 4.0 (no commercial use); check the page of the dataset before use"
    obtain = "obtain it from the page 'The HAM10000 dataset' of Harvard Dataverse, doi:10.7910/DVN/DBW86T"

    @property
    def published(self) -> Mapping[str, int]:
        """The authors' counts of the selected diagnoses."""
        counts = dict(zip(self.classes, (327, 514, 1099, 115, 1113, 6705, 142)))
        selected = dict.fromkeys(counts, 0) | {name: counts[name] for name in self.params.diagnoses}
        published = {f"samples of {name}": count for name, count in selected.items()}
        published["samples"] = sum(selected.values())
        if selected == counts:
            published["patients"] = 7_470
        return published

    @cached_property
    def image_paths(self) -> Mapping[str, Path]:
        """The images in both folders, or beside the table, by name without suffix."""
        paths: dict[str, Path] = {}
        for name in (".", *FOLDERS, *map(str.lower, FOLDERS)):
            paths |= {path.stem: path for path in sorted((self.params.root / name).glob("*.jpg"))}
        return paths

    def listed(self) -> Listing:
        """List the rows of the metadata; raise ``DataError`` where the table is missing or lacks a column."""
        paths = [self.params.root / name for name in TABLES]
        path = next(filter(Path.is_file, paths), None)
        if path is None:
            raise DataError(f"{self.params.root} holds neither {' nor '.join(TABLES)}; {self.obtain}.")
        table = read_table(path, COLUMNS[:3])
        entries, faults = gathered(self._entries(table.rows))
        return Listing(entries, {**faults, **self._row_faults(table)}, self._unused(table), [path])

    def _entries(self, rows: Iterable[Row]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            diagnosis = row["dx"].lower()
            lesion = row["lesion_id"]
            if diagnosis in self.params.diagnoses and row["image_id"]:
                id = row["image_id"].removesuffix(".jpg")
                path = self.image_paths.get(id, self.params.root / FOLDERS[0] / f"{id}.jpg")
                split = split_of(lesion or id, self.params.shares, self.params.seed)
                label = self.classes.index(diagnosis)
                yield id, ListedSample(path, split, label, lesion, row.source, attributes=attributes(row))

    def _row_faults(self, table: Table) -> dict[str, list[str]]:
        unknown = [row for row in table.rows if row["dx"].lower() not in self.classes or not row["image_id"]]
        return {
            "rows that are not as the header": list(table.faults),
            "rows without image or known diagnosis": [f"{row.source}: {row['dx']!r}" for row in unknown],
        }

    def _unused(self, table: Table) -> dict[str, list[str]]:
        unwanted = set(self.classes) - set(self.params.diagnoses)
        rows = [row.source for row in table.rows if row["dx"].lower() in unwanted]
        return {"rows of diagnoses to leave out": rows, "images without a mask": self._unmasked(table)}

    def _unmasked(self, table: Table) -> list[str]:
        names = {row["image_id"].removesuffix(".jpg") for row in table.rows if row["image_id"]}
        return sorted(str(self._mask(name)) for name in names if not self._mask(name).is_file())

    def _mask(self, id: str) -> Path:
        return self.params.root / MASKS / f"{id}_segmentation.png"

    def marks(self, id: str) -> Iterable[Path]:
        """The mask of an image, where there is one."""
        return filter(Path.is_file, [self._mask(id)])

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """The mask of the lesion, where there is one; raise ``DataError`` where its size is not that of the image."""
        path = self._mask(id)
        if not path.is_file():
            return ()
        return (Annotation("lesion", read_mask(path, image=geometry), source=str(path)),)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in this layout under an empty folder; return their number.

        Images become JPEG, and the union of all annotations becomes the mask of the lesion. Splits are not written;
        lesions are divided anew when the samples are read.
        """
        require_new(root)
        rows = []
        for number, sample in enumerate(samples):
            name = self.name_to_write(sample)
            diagnosis = self.classes[self.class_to_write(sample)]
            write_image(sample.image, root / FOLDERS[min(number // PER_FOLDER, 1)] / f"{name}.jpg")
            if sample.annotations:
                union = np.maximum.reduce([annotation.values for annotation in sample.annotations])
                write_binary(union, root / MASKS / f"{name}_segmentation.png")
            rows.append((sample.patient, name, diagnosis, "histo", "", "unknown", "unknown"))
        write_table(root / TABLES[0], COLUMNS, rows)
        return len(rows)
