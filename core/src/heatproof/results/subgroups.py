"""The tables of a run for each of its subgroups: the same numbers as of a run of these cases alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..records import Array
from .rank_rows import RANK_COLUMNS, Row
from .scores import Cases, ScoredCombination, cases_of, joined
from .summary import ResultTable, Step, SummarySettings, comparison_columns, results, summary_columns

FEW = 10
"""The number of patients below which a subgroup is flagged."""
FLAG = f"fewer than {FEW} patients with a value"
EFFECT = "percentile intervals are too narrow, and tests find large effects only"
"""What few patients mean for the numbers."""
NAMES: Mapping[str, str] = {
    "summary": "subgroups", "comparisons": "subgroup_comparisons", "ranks": "subgroup_ranks",
}  # fmt: skip
"""Table of a run → the table of the same rows for each subgroup."""


@dataclass(frozen=True)
class Subgroup:
    """Some cases of a dataset, given by its identity: those of one ``group`` by label, finding or an attribute."""

    by: str
    group: str
    dataset: str
    ids: frozenset[str]


def subgroup_tables(
    table: Mapping[str, Array], scored: Sequence[ScoredCombination], subgroups: Sequence[Subgroup],
    settings: SummarySettings, step: Step,
) -> dict[str, ResultTable]:  # fmt: skip
    """The tables of all subgroups by name, from a table of scores; tests are corrected within each subgroup."""
    columns = (summary_columns(settings.correction), comparison_columns(settings.correction), RANK_COLUMNS)
    tables = {name: ResultTable(("by", "group", *names), []) for name, names in zip(NAMES.values(), columns)}
    for subgroup in subgroups:
        cases = _cases(table, scored, subgroup)
        keyed = {_key(entry.scored.columns, entry.scored.name): entry for entry in cases}
        for name, result in results(cases, settings, partial(_stepped, step, subgroup)).items():
            tables[NAMES[name]].rows.extend(_row(subgroup, row, keyed) for row in result.rows)
    return tables


def _stepped(step: Step, subgroup: Subgroup, text: str) -> None:
    """Report how far the statistics of a subgroup are."""
    step(f"{subgroup.by} {subgroup.group}: {text}")


def _key(columns: Mapping[str, str], metric: str, combination: str = "combination") -> tuple[str, str, str]:
    """The key of the cases of a combination, by the names of its columns."""
    return columns[combination], columns["split"], metric


def _cases(table: Mapping[str, Array], scored: Sequence[ScoredCombination], subgroup: Subgroup) -> list[Cases]:
    """The cases of a subgroup as those of a run without all others."""
    members = [entry for entry in scored if entry.dataset == subgroup.dataset]
    names = {entry.columns["dataset"] for entry in members}
    rows = [
        index
        for index, (dataset, case) in enumerate(zip(table["dataset"], table["case"]))
        if dataset in names and case in subgroup.ids
    ]
    return cases_of({name: column[rows] for name, column in table.items()}, members)


def _row(subgroup: Subgroup, row: Row, cases: Mapping[tuple[str, str, str], Cases]) -> Row:
    """A row of a subgroup's table, flagged where few patients have a value."""
    names = [name for name in ("combination", "combination_a", "combination_b") if name in row]
    counts = [_patients(cases[_key(row, row["metric"], name)], row["measure"]) for name in names]
    flag = joined(row["flag"], FLAG * (min(counts) < FEW))
    return {"by": subgroup.by, "group": subgroup.group, **row, "flag": flag}


def _patients(cases: Cases, measure: str) -> int:
    """The number of patients with a value."""
    statuses = cases.statuses.get(measure, cases.overall)
    return len({patient for patient, status in zip(cases.patients, statuses) if status == "valid"})
