"""Reads the tables of labels: one row for each radiograph of a split."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heatproof.errors import DataError
from heatproof.records import Attribute, Label
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.labels import label_of
from heatproof_cohorts.tables import Row, read_table

from .findings import CLASSES, OPACITY

IMAGE = re.compile(r"(?:.*/)?((patient[^/]+)/(study[^/]+)/(view[^/]*?(frontal|lateral))\.\w+)")
VALUES = {"0": False, "0.0": False, "1": True, "1.0": True}


@dataclass(frozen=True)
class Radiograph:
    """One row: the image's id, patient and view, its path below the folder of the split, label, source, attributes."""

    id: str
    patient: str
    view: str
    path: str
    label: Label
    source: str
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Sheet:
    """The radiographs of a table, and a sentence for each row that cannot be used."""

    path: Path
    radiographs: Sequence[Radiograph]
    problems: Sequence[str]


def read_sheet(path: Path) -> Sheet:
    """Read a table with ``Path`` and a column for each class; raises ``DataError`` where it lacks one."""
    table = read_table(path, ("Path", *(name for name in CLASSES if name not in OPACITY)), OPACITY)
    if not table.columns.intersection(OPACITY):
        raise DataError(f"{path} has no column {OPACITY[0]!r}; rename or add it.")
    problems = [f"{row.source}: {_problem(row)}" for row in table.rows if _problem(row)]
    sound = [row for row in table.rows if not _problem(row)]
    return Sheet(path, list(_radiographs(sound)), [*table.faults, *problems])


def _radiographs(rows: Sequence[Row]) -> Iterator[Radiograph]:
    for row in rows:
        match = IMAGE.fullmatch(row["Path"])
        assert match is not None
        path, patient, study, name, view = match.groups()
        label = label_of(index for index, value in enumerate(_values(row)) if VALUES[value])
        known = {"view": view, **attributes(row, ("Path",))}
        yield Radiograph(f"{patient}_{study}_{name}", patient, view, path, label, row.source, known)


def _problem(row: Row) -> str:
    """The problem of a row, empty for a sound one."""
    if not IMAGE.fullmatch(row["Path"]):
        return f"{row['Path']!r} is not a path such as test/patient64741/study1/view1_frontal.jpg"
    wrong = [f"{name} is {value!r}" for name, value in zip(CLASSES, _values(row)) if value not in VALUES]
    if wrong:
        return f"{wrong[0]}; allowed: 0 and 1"
    return ""


def _values(row: Row) -> list[str]:
    """The values of all classes, of which one has two names."""
    values = {**row.values, OPACITY[0]: row[OPACITY[0]] or row[OPACITY[1]]}
    return [values[name] for name in CLASSES]
