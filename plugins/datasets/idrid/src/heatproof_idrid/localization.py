"""IDRiD's part C: fundus photographs with the centres of optic disc and fovea."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import isfinite

from heatproof.errors import DataError
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
"""From a pixel of the tables to its middle: pixel i spans [i, i + 1)."""


class Localization(Sets):
    """516 photographs, with ``extras["optic_disc_centre"]`` and ``extras["fovea_centre"]``.

    A centre is a (row, column) of the native image, continuous: half a pixel more than the pixel of the table, which
    is taken to count from 0. An image that only one of the tables names has that centre only, and is counted.
    """

    extras = tuple(CENTRES.values())
    folder = "C. Localization"
    kinds = tuple(CENTRES)

    def listed(self) -> Listing:
        """The rows of the tables of both sets, joined by image."""
        entries, faults = gathered(self._entries())
        halves = {
            f"images without a centre of the {'optic disc' if kind == DISC else 'fovea'}": [
                id for id, entry in entries.items() if centre not in entry.extras
            ]
            for kind, centre in CENTRES.items()
        }
        return Listing(entries, {**faults, **self.faults(), **halves}, tables=list(self.paths.values()))

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        """An entry for each pair of rows of one image: where a table names it twice, there are two."""
        for split in SETS:
            rows: dict[LabelTable, dict[str, list[Row]]] = {kind: {} for kind in self.kinds}
            for kind in self.kinds:
                for name, row in self.rows(kind, split):
                    rows[kind].setdefault(name, []).append(row)
            for name in self.named(split):
                for pair in product(*(rows[kind].get(name, [None]) for kind in self.kinds)):
                    found = {kind: row for kind, row in zip(self.kinds, pair) if row}
                    extras = {CENTRES[kind]: _centre(row) for kind, row in found.items()}
                    place = " and ".join(row.source for row in found.values())
                    yield (
                        id_of(split, name),
                        ListedSample(self.image_path(split, name), split, source=place, extras=extras),
                    )

    def problem(self, kind: LabelTable, row: Row) -> str:
        """What is wrong with a row."""
        sound = self.name_of(kind, row) and _number(row[COLUMNS[1]]) and _number(row[COLUMNS[2]])
        return "" if sound else f"image {row[COLUMNS[0]]!r}, x {row[COLUMNS[1]]!r}, y {row[COLUMNS[2]]!r}"

    def load(self, id: str) -> Sample:
        """One image (3, h, w) uint8 with its centres; raises ``DataError`` where one lies outside."""
        sample = super().load(id)
        for name, centre in sample.extras.items():
            if not all(0 <= place <= length for place, length in zip(centre, sample.space)):
                raise DataError(
                    f"{self.entry(id).source}: the {name} {centre} lies outside the image of {sample.space} pixels; "
                    "replace the table, or the image if it was resized, by the published one."
                )
        return sample

    def values(self, sample: Sample) -> Mapping[LabelTable, Sequence[object]]:
        """The centres that are known."""
        centres = {kind: sample.extras[name] for kind, name in CENTRES.items() if name in sample.extras}
        if not centres:
            raise DataError(
                f"{sample.id} has neither {' nor '.join(CENTRES.values())} among its extras; IDRiD's part C holds "
                "nothing else, so give one as (row, column) in native pixels."
            )
        return {kind: (_written(column), _written(row)) for kind, (row, column) in centres.items()}


def _centre(row: Row) -> tuple[float, float]:
    return float(row[COLUMNS[2]]) + MIDDLE, float(row[COLUMNS[1]]) + MIDDLE


def _number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _written(place: float) -> str:
    """A place on an axis as the pixel of a table, to a thousandth."""
    return f"{place - MIDDLE:.3f}".rstrip("0").rstrip(".")
