"""IDRiD's part B: fundus photographs with a grade of retinopathy and a risk of macular oedema."""

import re
from collections.abc import Iterator, Mapping, Sequence

from heatproof.records import Sample
from heatproof_cohorts.attributes import attributes
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
    """516 photographs with a grade (0–4) as label, and ``extras["macular_edema_risk"]`` (0–2)."""

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    extras = (RISK,)
    folder = "B. Disease Grading"
    kinds = (GRADES,)

    def listed(self) -> Listing:
        """List the rows of the tables of both sets."""
        entries, faults = gathered(self._entries())
        return Listing(entries, {**faults, **self.faults()}, tables=list(self.paths.values()))

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for kind, split in self.sheets:
            for name, row in self.rows(kind, split):
                _, grade, risk = (row[column] for column in GRADES.columns)
                extras = {}
                if risk:
                    extras[RISK] = int(risk)
                path = self.image_path(split, name)
                known = attributes(row, GRADES.columns[:1])
                sample = ListedSample(path, split, int(grade), source=row.source, extras=extras, attributes=known)
                yield id_of(split, name), sample

    def problem(self, kind: LabelTable, row: Row) -> str:
        """The problem of a row, empty for a sound one; the risk may be missing."""
        image, grade, risk = (row[column] for column in kind.columns)
        if self.name_of(kind, row) and re.fullmatch("[0-4]", grade) and re.fullmatch("[0-2]?", risk):
            return ""
        return f"image {image!r}, grade {grade!r} (0–4), risk {risk!r} (0–2)"

    def values(self, sample: Sample) -> Mapping[LabelTable, Sequence[object]]:
        """The grade, and the risk, empty where the sample has none."""
        return {GRADES: (self.class_to_write(sample), sample.extras.get(RISK, ""))}
