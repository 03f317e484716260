"""IDRiD's part C: fundus photographs with the centres of optic disc and fovea."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import isfinite

from heatproof.errors import DataError
from heatproof.imaging.turning import require_known
from heatproof.records import Sample
from heatproof_cohorts.manifest import ListedSample, Listing, gathered
from heatproof_cohorts.tables import Row

from .sets import SETS, LabelTable, Sets, id_of

COLUMNS = ("Image No", "X- Coordinate", "Y - Coordinate")
DISC = LabelTable(
    "odcenter",
    "2. Groundtruths/1. Optic Disc Center Location/{letter}. IDRiD_OD_Center_{set} Set_Markups.csv",
    COLUMNS,
)
FOVEA = LabelTable(
    "foveacenter", "2. Groundtruths/2. Fovea Center Location/IDRiD_Fovea_Center_{set} Set_Markups.csv", COLUMNS
)
CENTRES = {DISC: "optic_disc_centre", FOVEA: "fovea_centre"}
MIDDLE = 0.5
"""Offset from the index of a pixel to its centre: pixel i spans [i, i + 1)."""


class Localization(Sets):
    """516 photographs, with ``extras["optic_disc_centre"]`` and ``extras["fovea_centre"]``.

    A centre is (row, column) in continuous pixels of the native image: half a pixel more than in the table, which is
    assumed to count pixels from 0. An image that only one of the tables names has that centre only, and is counted.
    """

    extras = tuple(CENTRES.values())
    folder = "C. Localization"
    kinds = tuple(CENTRES)

    def listed(self) -> Listing:
        """List the rows of the tables of both sets, joined by image."""
        entries, faults = gathered(self._entries())
        faults |= self.faults()
        for centre in CENTRES.values():
            structure = centre.removesuffix("_centre").replace("_", " ")
            incomplete = [id for id, entry in entries.items() if centre not in entry.extras]
            faults[f"images without a centre of the {structure}"] = incomplete
        return Listing(entries, faults, tables=list(self.paths.values()))

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        """An entry per pair of rows of one image, so two entries where a table names the image twice."""
        for split in SETS:
            rows: dict[LabelTable, dict[str, list[Row]]] = {kind: {} for kind in self.kinds}
            for kind in self.kinds:
                for name, row in self.rows(kind, split):
                    rows[kind].setdefault(name, []).append(row)
            for name in self.named(split):
                path = self.image_path(split, name)
                for pair in product(*(rows[kind].get(name, [None]) for kind in self.kinds)):
                    present = {kind: row for kind, row in zip(self.kinds, pair) if row}
                    extras = {CENTRES[kind]: _centre(row) for kind, row in present.items()}
                    source = " and ".join(row.source for row in present.values())
                    yield id_of(split, name), ListedSample(path, split, source=source, extras=extras)

    def problem(self, kind: LabelTable, row: Row) -> str:
        """The problem of a row, empty for a sound one."""
        image, x, y = (row[column] for column in COLUMNS)
        if self.name_of(kind, row) and _number(x) and _number(y):
            return ""
        return f"image {image!r}, x {x!r}, y {y!r}"

    def load(self, id: str) -> Sample:
        """Load one image (3, h, w) uint8 with its centres; raise ``DataError`` where one lies outside."""
        sample = super().load(id)
        if sample.geometry is not None:
            require_known(self.entry(id).source, sample.geometry)
        for name, centre in sample.extras.items():
            if not all(0 <= position <= length for position, length in zip(centre, sample.space)):
                raise DataError(
                    f"{self.entry(id).source}: the {name} {centre} lies outside the image of {sample.space} pixels; "
                    "replace the table, or the image if it was resized, by the published one."
                )
        return sample

    def values(self, sample: Sample) -> Mapping[LabelTable, Sequence[object]]:
        """The centres of a sample, as x and y of each table."""
        centres = {kind: sample.extras[name] for kind, name in CENTRES.items() if name in sample.extras}
        if not centres:
            raise DataError(
                f"{sample.id} has neither {' nor '.join(CENTRES.values())} among its extras; IDRiD's part C holds "
                "nothing else: give at least one as (row, column) in native pixels."
            )
        return {kind: (_written(column), _written(row)) for kind, (row, column) in centres.items()}


def _centre(row: Row) -> tuple[float, float]:
    return float(row[COLUMNS[2]]) + MIDDLE, float(row[COLUMNS[1]]) + MIDDLE


def _number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _written(position: float) -> str:
    """A continuous position as the pixel of a table, to three decimals."""
    return f"{position - MIDDLE:.3f}".rstrip("0").rstrip(".")
