"""Your own fundus photographs, with lesions that readers annotated as masks or as contours."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from heatproof.errors import DataError
from heatproof.imaging.reader import readable_suffixes
from heatproof.records import Annotation, Geometry, Sample
from heatproof_cohorts.annotation_files import BOXES, MarkedDataset, MarkedFolder, MarkedParams
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.folders import image_paths, name_below, unread_paths
from heatproof_cohorts.manifest import ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, patient_in
from heatproof_cohorts.spelling import require_patients
from heatproof_cohorts.tables import Row, Table, read_table, write_table

IMAGES = "images"
TABLE = "grades.csv"
COLUMNS = ("name", "grade", "patient", "reader")


class FundusLesionsParams(MarkedParams):
    """The meaning of a missing annotation, and the division of patients (default: all into test)."""

    shares: Shares = Shares(train=0, tuning=0, test=1)


class FundusLesions(MarkedDataset[FundusLesionsParams]):
    """Photographs in ``images/``, lesions in ``masks/FINDING/`` or ``contours/``, and grades 0–4 in ``grades.csv``.

    For studies such as González-Gonzalo, Liefers, van Ginneken and Sánchez 2018, "Improving weakly-supervised lesion
    localization with iterative saliency map refinement" (MIDL), which rate heatmaps on 50 photographs of grades 2 and 3
    in which two graders annotated red lesions, cotton-wool spots and hard exudates in consensus. These are not public.
    ``grades.csv`` may be missing; if it exists, it lists the samples, its column ``reader`` names the author of the
    masks, and further columns are attributes.
    """

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    revision = 2
    splits = SPLITS
    tuning = "tuning"
    obtain = "put the photograph there, or take its row out of grades.csv"

    @cached_property
    def _images(self) -> Mapping[str, list[Path]]:
        """The photographs of each name; those that differ by suffix only have the same name."""
        paths: dict[str, list[Path]] = {}
        for path in image_paths(self.params.root / IMAGES):
            name = name_below(path, self.params.root / IMAGES)
            paths.setdefault(name, []).append(path)
        return paths

    @cached_property
    def _table(self) -> Table:
        path = self.params.root / TABLE
        if path.is_file():
            return read_table(path, COLUMNS[:1], COLUMNS[1:], neutralised=True)
        empty = dict.fromkeys(COLUMNS, "")
        rows = [Row(empty | {"name": name}, str(paths[0])) for name, paths in self._images.items()]
        return Table(tuple(rows), (), "")

    @cached_property
    def _readers(self) -> Mapping[str, str]:
        return {_plain(row["name"]): row["reader"] for row in self._table.rows}

    def listed(self) -> Listing:
        """List the rows of the table, or else the photographs; raise ``DataError`` where there are neither."""
        if not self._table.rows:
            raise DataError(f"{self.params.root} holds no photograph in {IMAGES}/ and no row in {TABLE}; add them.")
        require_patients(self._table.rows)
        entries, faults = gathered(self._entries(row for row in self._table.rows if not _problem(row)))
        problems = [f"{row.source}: {_problem(row)}" for row in self._table.rows if _problem(row)]
        faults["rows that cannot be used"] = [*self._table.faults, *problems]
        files = {entry.path.relative_to(self.params.root).as_posix() for entry in entries.values()}
        unlisted: list[str] = []
        for name, paths in self._images.items():
            if name not in self._readers:
                unlisted += map(str, paths)
        tables = [path for path in (self.params.root / TABLE, self.params.root / BOXES) if path.is_file()]
        stray = self.annotation_files.stray(set(entries), files)
        passed = [*unread_paths(self.params.root / IMAGES), *self.annotation_files.passed_over()]
        return Listing(entries, {**faults, **stray}, {"photographs without a row": unlisted}, tables, passed)

    def _entries(self, rows: Iterable[Row]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            id = _plain(row["name"])
            patient = row["patient"] or patient_in(Path(id).name, self.params.patient)
            split = self.params.split_of(patient or id)
            label = None
            if row["grade"]:
                label = int(row["grade"])
            known = attributes(row, ("name", "patient"))
            for path in self._images.get(id, [self.params.root / IMAGES / f"{id}.png"]):
                yield id, ListedSample(path, split, label, patient, row.source, attributes=known)

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """Masks and contours, with the reader from the table; raise ``DataError`` where one does not fit the image."""
        reader = self._readers[id]
        annotations = super().annotations(id, geometry)
        return tuple(replace(annotation, reader=annotation.reader or reader) for annotation in annotations)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples as PNG, with masks and a table of grades, under an empty folder; return their number.

        A reader is written where all annotations of a sample have the same one. Splits are not written; patients are
        divided anew when the samples are read.
        """
        require_new(root)
        folder = MarkedFolder(root)
        rows = []
        for sample in samples:
            name = self.name_to_write(sample)
            folder.add(sample, name)
            grade: object = ""
            if sample.label is not None:
                grade = self.class_to_write(sample)
            readers = {annotation.reader for annotation in sample.annotations}
            reader = ""
            if len(readers) == 1:
                reader = readers.pop()
            rows.append((name, grade, sample.patient, reader))
        write_table(root / TABLE, COLUMNS, rows, neutralised=True)
        folder.close()
        return len(rows)


def _plain(name: str) -> str:
    """The name of a photograph without its suffix."""
    if name.lower().endswith(readable_suffixes()):
        return name_below(Path(name))
    return name


def _problem(row: Row) -> str:
    """The problem of a row, empty for a sound one."""
    if not row["name"] or Path(row["name"]).is_absolute() or ".." in Path(row["name"]).parts:
        return f"name {row['name']!r} is not a photograph in {IMAGES}/"
    if row["grade"] not in ("", *"01234"):
        return f"grade {row['grade']!r} is not one of 0–4"
    return ""
