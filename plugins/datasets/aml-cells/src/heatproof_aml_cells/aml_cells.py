"""AML-Cytomorphology_LMU: single cells of blood smears, with and without acute myeloid leukaemia."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

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
    """Which cells to take, whose reading is the label, and how cells are divided."""

    cells: tuple[Cell, ...] = tuple(PUBLISHED)
    reading: Literal["annotation", "first_reannotation", "second_reannotation"] = "annotation"
    shares: Shares = Shares()
    seed: int = Field(default=0, ge=0)


class AmlCells(ListedDataset[AmlCellsParams]):
    """18,365 single cells from the blood smears of 100 patients with and 100 without leukaemia, of fifteen types.

    Matek, Schwarz, Spiekermann and Marr 2019, "Human-level recognition of blast cells in acute myeloid leukaemia with
    convolutional neural networks", Nature Machine Intelligence 1:538–544, doi:10.1038/s42256-019-0101-9. Some cells
    were read a second and a third time; ``reading`` chooses, and what was not read so is left out. Which patient a cell
    is of was not published, so each cell is its own patient, and no split can keep patients apart.
    """

    classes = tuple(PUBLISHED)
    splits = SPLITS
    tuning = "tuning"
    citation = "Matek et al. 2019, Nature Machine Intelligence 1:538–544, doi:10.1038/s42256-019-0101-9"
    licence = "CC BY 3.0, as far as is known; the page of the collection says"
    obtain = "obtain it from the collection AML-Cytomorphology_LMU of The Cancer Imaging Archive"

    @property
    def published(self) -> Mapping[str, int]:
        """The authors' counts of the cells that are taken, by their first reading."""
        if self.params.reading != "annotation":
            return {}
        counts = {name: count if name in self.params.cells else 0 for name, count in PUBLISHED.items()}
        return {f"samples of {name}": count for name, count in counts.items()} | {"samples": sum(counts.values())}

    @cached_property
    def table(self) -> Path:
        """The table of annotations, at any depth below root; raises ``DataError`` unless there is one."""
        found = sorted(self.params.root.rglob(TABLE))
        if len(found) != 1:
            seen = f"{len(found)} files" if found else "no file"
            raise DataError(f"{self.params.root} holds {seen} named {TABLE}; {self.obtain}, and set root to one copy.")
        return found[0]

    def listed(self) -> Listing:
        """The lines of the table that name a known cell."""
        lines = [(line.rsplit(maxsplit=len(READINGS)), place) for line, place in read_lines(self.table)]
        odd = [f"{place}: {' '.join(parts)}" for parts, place in lines if not _sound(parts)]
        read = {place: self._reading(parts) for parts, place in lines if _sound(parts)}
        entries, faults = gathered(self._entries(lines, read))
        unused = {
            "cells of types to leave out": [p for p, name in read.items() if name and name not in self.params.cells],
            "cells without this reading": [place for place, name in read.items() if not name],
        }
        return Listing(entries, {**faults, "lines without image or known cell": odd}, unused, [self.table])

    def _reading(self, parts: list[str]) -> str:
        name = parts[1 + READINGS.index(self.params.reading)]
        return "" if name.lower() in UNREAD else name

    def _entries(
        self, lines: list[tuple[list[str], str]], read: Mapping[str, str]
    ) -> Iterator[tuple[str, ListedSample]]:
        inner = self.table.parent / FOLDER
        base = inner if inner.is_dir() else self.table.parent
        for parts, place in lines:
            if read.get(place, "") in self.params.cells:
                path = base / parts[0]
                doubled = path.with_name(f"{path.name}.tiff")
                split = split_of(path.stem, self.params.shares, self.params.seed)
                label = self.classes.index(read[place])
                # One image of the download ends with .tiff.tiff, though the table has it right.
                yield path.stem, ListedSample(doubled if doubled.is_file() else path, split, label, source=place)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples in this layout under an empty folder, each read once; how many.

        Neither splits nor patients are written: whoever reads them divides the cells anew.
        """
        require_new(root)
        lines = []
        for sample in samples:
            name, cell = self.name_to_write(sample), self.classes[self.class_to_write(sample)]
            write_image(sample.image, root / FOLDER / cell / f"{name}.tiff")
            lines.append(f"{cell}/{name}.tiff {cell} nan nan\n")
        (root / TABLE).write_text("".join(lines), encoding="utf-8")
        return len(lines)


def _sound(parts: list[str]) -> bool:
    """Whether a line names an image and, in each reading, a known cell or none."""
    known = len(parts) == 1 + len(READINGS) and parts[0].lower().endswith((".tiff", ".tif"))
    return known and all(name in PUBLISHED or name.lower() in UNREAD for name in parts[1:])
