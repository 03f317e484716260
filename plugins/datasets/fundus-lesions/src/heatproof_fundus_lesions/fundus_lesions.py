"""Fundus photographs of one's own, with the lesions that readers marked, as masks or as contours."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from heatproof.errors import DataError
from heatproof.imaging.images import LOSSLESS, LOSSY
from heatproof.records import Annotation, Sample
from heatproof_cohorts.annotation_files import BOXES, MarkedDataset, MarkedFolder, MarkedParams
from heatproof_cohorts.folders import image_paths
from heatproof_cohorts.manifest import ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, patient_in
from heatproof_cohorts.tables import Row, Table, read_table, write_table

IMAGES, TABLE = "images", "grades.csv"
COLUMNS = ("name", "grade", "patient", "reader")


class FundusLesionsParams(MarkedParams):
    """What a missing mark means, and how patients are divided: all for testing, unless it is said otherwise."""

    shares: Shares = Shares(train=0, tuning=0, test=1)


class FundusLesions(MarkedDataset[FundusLesionsParams]):
    """Photographs in ``images/``, lesions in ``masks/FINDING/`` or ``contours/``, and grades 0–4 in ``grades.csv``.

    For studies such as González-Gonzalo, Liefers, van Ginneken and Sánchez 2018, "Improving weakly-supervised lesion
    localization with iterative saliency map refinement" (MIDL), which rate heatmaps on 50 photographs of grades 2 and 3
    in which two graders marked red lesions, cotton-wool spots and hard exudates in consensus. That set is not public.
    ``grades.csv`` may be missing; if it is there, it lists the samples, and ``reader`` says who drew the masks.
    """

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    splits = SPLITS
    tuning = "tuning"
    obtain = "put the photograph there, or take its row out of grades.csv"

    @cached_property
    def _images(self) -> Mapping[str, list[Path]]:
        """The photographs by name, several where they differ by suffix only."""
        found: dict[str, list[Path]] = {}
        for path in image_paths(self.params.root / IMAGES):
            found.setdefault(_plain(path.relative_to(self.params.root / IMAGES).as_posix()), []).append(path)
        return found

    @cached_property
    def _table(self) -> Table:
        path = self.params.root / TABLE
        if path.is_file():
            return read_table(path, COLUMNS[:1], COLUMNS[1:])
        empty = dict.fromkeys(COLUMNS, "")
        return Table(tuple(Row(empty | {"name": name}, str(paths[0])) for name, paths in self._images.items()), (), "")

    @cached_property
    def _readers(self) -> Mapping[str, str]:
        return {_plain(row["name"]): row["reader"] for row in self._table.rows}

    def listed(self) -> Listing:
        """The rows of the table, or else the photographs; raises ``DataError`` where there are neither."""
        if not self._table.rows:
            raise DataError(f"{self.params.root} holds no photograph in {IMAGES}/ and no row in {TABLE}; add them.")
        entries, faults = gathered(self._entries(row for row in self._table.rows if not _problem(row)))
        problems = [f"{row.source}: {problem}" for row in self._table.rows if (problem := _problem(row))]
        faults["rows that cannot be used"] = [*self._table.faults, *problems]
        files = {entry.path.relative_to(self.params.root).as_posix() for entry in entries.values()}
        unlisted = [str(path) for name, paths in self._images.items() if name not in self._readers for path in paths]
        tables = [path for path in (self.params.root / TABLE, self.params.root / BOXES) if path.is_file()]
        stray = self.annotation_files.stray(set(entries), files)
        return Listing(entries, {**faults, **stray}, {"photographs without a row": unlisted}, tables)

    def _entries(self, rows: Iterable[Row]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            id = _plain(row["name"])
            patient = row["patient"] or patient_in(Path(id).name, self.params.patient)
            split, label = self.params.split_of(patient or id), int(row["grade"]) if row["grade"] else None
            for path in self._images.get(id, [self.params.root / IMAGES / f"{id}.png"]):
                yield id, ListedSample(path, split, label, patient, row.source)

    def annotations(self, id: str, shape: tuple[int, ...]) -> tuple[Annotation, ...]:
        """Masks and contours, with the reader whom the table names; raises ``DataError`` where one does not fit."""
        reader = self._readers[id]
        return tuple(replace(mark, reader=mark.reader or reader) for mark in super().annotations(id, shape))

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples under an empty folder as PNG, with masks and a table of grades; how many.

        Readers are written where one of them marked all; splits are not: whoever reads them divides patients anew.
        """
        require_new(root)
        folder, rows = MarkedFolder(root), []
        for sample in samples:
            name = self.name_to_write(sample)
            folder.add(sample, name)
            grade = "" if sample.label is None else self.class_to_write(sample)
            readers = {mark.reader for mark in sample.annotations}
            rows.append((name, grade, sample.patient, readers.pop() if len(readers) == 1 else ""))
        write_table(root / TABLE, COLUMNS, rows)
        folder.close()
        return len(rows)


def _plain(name: str) -> str:
    """The name of a photograph without its suffix."""
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in LOSSY + LOSSLESS else name


def _problem(row: Row) -> str:
    """What is wrong with a row, empty where nothing is."""
    if not row["name"] or Path(row["name"]).is_absolute() or ".." in Path(row["name"]).parts:
        return f"name {row['name']!r} is no photograph in {IMAGES}/"
    return "" if row["grade"] in ("", *"01234") else f"grade {row['grade']!r} is not one of 0–4"
