"""The subgroups of each ranking, by its primary measure, as the terminal and pages show them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .finished import Results
from .ranking import Ranking, family
from .scores import name_of
from .subgroups import EFFECT as EFFECT
from .subgroups import FLAG

STATUSES = ("n_valid", "n_excluded", "n_invalid", "n_failed")


@dataclass(frozen=True)
class Member:
    """One combination in a subgroup: its name, its row of ``subgroups.csv``, and the remarks that not all have."""

    name: str
    row: Mapping[str, Any]
    remarks: tuple[str, ...] = ()

    @property
    def few(self) -> bool:
        """Whether few patients have a value."""
        return FLAG in self.row["flag"]


@dataclass(frozen=True)
class Group:
    """One subgroup: its combinations, best first and random baselines last, and the remarks that all of them have."""

    name: str
    members: tuple[Member, ...]
    remarks: tuple[str, ...] = ()

    @property
    def cases(self) -> int:
        """The number of cases, with a value or without."""
        return max(sum(int(member.row[status]) for status in STATUSES) for member in self.members)

    @property
    def patients(self) -> int:
        """The number of their patients."""
        return max(int(member.row["n_patients"]) for member in self.members)


@dataclass(frozen=True)
class Division:
    """The subgroups of one ranking by label, finding or an attribute."""

    ranking: Ranking
    by: str
    groups: tuple[Group, ...]


def divisions(results: Results, ranking: Ranking) -> list[Division]:
    """One division per entry of ``by``; none where a run has no subgroups."""
    key = (ranking.dataset, ranking.split, ranking.metric)
    rows = [row for row in results.subgroups if family(row) == key and row["measure"] == ranking.standard.primary]
    return [
        Division(ranking, by, tuple(_groups(ranking, list(members))))
        for by, members in groupby(rows, key=lambda row: str(row["by"]))
    ]


def _groups(ranking: Ranking, rows: Sequence[Mapping[str, Any]]) -> Iterator[Group]:
    known = {part for entry in ranking.entries for part in _parts(entry.row)}
    for name, members in groupby(rows, key=lambda row: str(row["group"])):
        ordered = sorted(members, key=lambda row: _position(ranking, row))
        remarks = [[part for part in _parts(row) if part not in known] for row in ordered]
        common = tuple(part for part in remarks[0] if all(part in parts for parts in remarks))
        yield Group(name, tuple(
            Member(name_of(row), row, tuple(part for part in parts if part not in common))
            for row, parts in zip(ordered, remarks)
        ), common)  # fmt: skip


def _position(ranking: Ranking, row: Mapping[str, Any]) -> tuple[bool, bool, float, str]:
    """Best first, then those without a value, then random baselines."""
    missing = row["value"] != row["value"]
    sign = -1 if ranking.standard.higher_is_better else 1
    return row["baseline"], missing, 0.0 if missing else sign * row["value"], name_of(row)


def _parts(row: Mapping[str, Any]) -> list[str]:
    """The remarks of a row's flag."""
    return [part for part in str(row["flag"]).split("; ") if part]
