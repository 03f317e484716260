"""AML-Cytomorphology_LMU: single cells of blood smears, with and without acute myeloid leukaemia."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from heatproof.component import Seed
from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import read_lines

TABLE = "annotations.dat"
FOLDER = "AML-Cytomorphology_LMU"
READINGS = ("annotation", "first_reannotation", "second_reannotation")
Cell = Literal[
    "BAS", "EBO", "EOS", "KSC", "LYA", "LYT", "MMZ", "MOB", "MON", "MYB", "MYO", "NGB", "NGS", "PMB", "PMO"
]  # fmt: skip
PUBLISHED: dict[Cell, int] = {
    "BAS": 79, "EBO": 78, "EOS": 424, "KSC": 15, "LYA": 11, "LYT": 3937, "MMZ": 15, "MOB": 26, "MON": 1789, "MYB": 42,
    "MYO": 3268, "NGB": 109, "NGS": 8484, "PMB": 18, "PMO": 70,
}  # fmt: skip
UNREAD = ("nan", "")


class AmlCellsParams(ListedParams):
    """The types of cells to use, the reading that is the label, and the division of cells."""

    cells: tuple[Cell, ...] = tuple(PUBLISHED)
    reading: Literal["annotation", "first_reannotation", "second_reannotation"] = "annotation"
    shares: Shares = Shares()
    seed: Seed = 0


class AmlCells(ListedDataset[AmlCellsParams]):
    """18,365 single cells from the blood smears of 100 patients with and 100 without leukaemia, of fifteen types.

    Matek, Schwarz, Spiekermann and Marr 2019, "Human-level recognition of blast cells in acute myeloid leukaemia with
    convolutional neural networks", Nature Machine Intelligence 1:538–544, doi:10.1038/s42256-019-0101-9. Some cells
    were read a second and a third time; ``reading`` selects one reading, and cells without it are unused. The patients
    were not published, so each cell is its own patient, and cells of one person may be in several splits.
    """

    classes = tuple(PUBLISHED)
    splits = SPLITS
    tuning = "tuning"
    citation = "Matek et al. 2019, Nature Machine Intelligence 1:538–544, doi:10.1038/s42256-019-0101-9"
    licence = "CC BY 3.0; check the page of the collection before use"
    obtain = "obtain it from the collection AML-Cytomorphology_LMU of The Cancer Imaging Archive"

    @property
    def published(self) -> Mapping[str, int]:
        """The authors' counts of the selected cells, known for the first reading only."""
        if self.params.reading != "annotation":
            return {}
        counts = dict.fromkeys(PUBLISHED, 0) | {name: PUBLISHED[name] for name in self.params.cells}
        return {f"samples of {name}": count for name, count in counts.items()} | {"samples": sum(counts.values())}

    @cached_property
    def table(self) -> Path:
        """The table of annotations, at any depth below root; raise ``DataError`` unless there is exactly one."""
        paths = sorted(self.params.root.rglob(TABLE))
        if len(paths) != 1:
            raise DataError(
                f"{self.params.root} must hold one file named {TABLE} (got {len(paths)}); {self.obtain}, and set "
                "root to one copy."
            )
        return paths[0]

    def listed(self) -> Listing:
        """List the lines of the table that name an image and a known type of cell."""
        lines = []
        faulty = []
        unused: dict[str, list[str]] = {"cells of types to leave out": [], "cells without this reading": []}
        for line, source in read_lines(self.table):
            values = line.rsplit(maxsplit=len(READINGS))
            if not _sound(values):
                faulty.append(f"{source}: {' '.join(values)}")
                continue
            cell = values[1 + READINGS.index(self.params.reading)]
            if cell.lower() in UNREAD:
                unused["cells without this reading"].append(source)
            elif cell not in self.params.cells:
                unused["cells of types to leave out"].append(source)
            else:
                lines.append((values[0], cell, source))
        entries, faults = gathered(self._entries(lines))
        return Listing(entries, {**faults, "lines without image or known cell": faulty}, unused, [self.table])

    def _entries(self, lines: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, ListedSample]]:
        """An entry per line: image, type of cell, and source of the line."""
        folder = self.table.parent / FOLDER
        if not folder.is_dir():
            folder = self.table.parent
        for name, cell, source in lines:
            path = folder / name
            id = path.stem
            split = split_of(id, self.params.shares, self.params.seed)
            # The table is right, but one image of the download ends with .tiff.tiff.
            doubled = path.with_name(f"{path.name}.tiff")
            if doubled.is_file():
                path = doubled
            yield id, ListedSample(path, split, self.classes.index(cell), source=source)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in this layout, with one reading each, under an empty folder; return their number.

        Neither splits nor patients are written; cells are divided anew when they are read.
        """
        require_new(root)
        lines = []
        for sample in samples:
            name = self.name_to_write(sample)
            cell = self.classes[self.class_to_write(sample)]
            write_image(sample.image, root / FOLDER / cell / f"{name}.tiff")
            lines.append(f"{cell}/{name}.tiff {cell} nan nan\n")
        (root / TABLE).write_text("".join(lines), encoding="utf-8")
        return len(lines)


def _sound(values: list[str]) -> bool:
    """Whether a line names an image and, in each reading, a known type of cell or none."""
    if len(values) != 1 + len(READINGS) or not values[0].lower().endswith((".tiff", ".tif")):
        return False
    return all(cell in PUBLISHED or cell.lower() in UNREAD for cell in values[1:])
