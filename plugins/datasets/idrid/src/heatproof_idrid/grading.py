"""IDRiD's part B: fundus photographs with a grade of retinopathy and a risk of macular oedema."""

import re
from collections.abc import Iterator, Mapping, Sequence

from heatproof.records import Sample
from heatproof_cohorts.manifest import ListedSample, Listing, gathered
from heatproof_cohorts.tables import Row

from .sets import LabelTable, Sets, id_of

GRADES = LabelTable(
    "diseasegrading",
    "2. Groundtruths/{letter}. IDRiD_Disease Grading_{set} Labels.csv",
    ("Image name", "Retinopathy grade", "Risk of macular edema"),
)
RISK = "macular_edema_risk"


class Grading(Sets):
    """516 photographs, each with a grade (0–4), which is the label, and ``extras["macular_edema_risk"]`` (0–2)."""

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    extras = (RISK,)
    folder = "B. Disease Grading"
    kinds = (GRADES,)

    def listed(self) -> Listing:
        """The rows of the tables of both sets."""
        entries, faults = gathered(self._entries())
        return Listing(entries, {**faults, **self.faults()}, tables=list(self.paths.values()))

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for kind, split in self.sheets:
            for name, row in self.rows(kind, split):
                grade, risk = row[GRADES.columns[1]], row[GRADES.columns[2]]
                extras = {RISK: int(risk)} if risk else {}
                yield (
                    id_of(split, name),
                    ListedSample(self.image_path(split, name), split, int(grade), source=row.source, extras=extras),
                )

    def problem(self, kind: LabelTable, row: Row) -> str:
        """What is wrong with a row; a risk may be missing."""
        grade, risk = row[kind.columns[1]], row[kind.columns[2]]
        sound = self.name_of(kind, row) and re.fullmatch("[0-4]", grade) and re.fullmatch("[0-2]?", risk)
        return "" if sound else f"image {row[kind.columns[0]]!r}, grade {grade!r} (0–4), risk {risk!r} (0–2)"

    def values(self, sample: Sample) -> Mapping[LabelTable, Sequence[object]]:
        """The grade, and the risk where it is known."""
        return {GRADES: (self.class_to_write(sample), sample.extras.get(RISK, ""))}
