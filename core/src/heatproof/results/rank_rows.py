"""The rows of ``ranks.csv``: the order of combinations on the same samples, its stability, and Friedman's test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np

from ..metric import Metric
from ..records import Array
from .intervals import Summary
from .ranks import Friedman, Stability, friedman, patient_means, stability
from .scores import Cases, joined, name_of

Row = dict[str, Any]
Summaries = Sequence[tuple[Cases, Mapping[str, Summary]]]
"""The cases of every combination, with their summaries by measure."""
Family: TypeAlias = tuple[str, str, str, tuple[str, ...]]
"""What combinations in one comparison have in common: samples and metric."""

RANK_COLUMNS = (
    "dataset", "split", "metric", "measure", "name", "value", "rank", "best_share", "rank_share", "resamples",
    "mean_rank", "critical_difference", "p_nemenyi", "friedman", "p_friedman", "n_combinations", "n_patients", "flag",
    "combination",
)  # fmt: skip


@dataclass(frozen=True)
class Ranked:
    """The combinations of a family by their primary measure, which is not NaN; random baselines are left out."""

    family: Family
    members: Summaries
    stable: Stability
    test: Friedman

    def p_nemenyi(self) -> dict[tuple[Family, frozenset[str]], float]:
        """Nemenyi's p of each pair of combinations."""
        keys = [cases.scored.columns["combination"] for cases, _ in self.members]
        return {
            (self.family, frozenset((keys[first], keys[second]))): float(self.test.p_nemenyi[first, second])
            for first, second in combinations(range(len(keys)), 2)
        }

    def rows(self, flag: str) -> list[Row]:
        """The rows of the table, best first."""
        rows = [
            self._row(index) | {"flag": joined(cases.scored.flag, flag)}
            for index, (cases, _) in enumerate(self.members)
        ]
        return sorted(rows, key=lambda row: (row["rank"], row["name"]))

    def _row(self, index: int) -> Row:
        cases, summary_of = self.members[index]
        scored = cases.scored
        test = self.test
        leader = int(np.argmin(test.mean_ranks))
        return {
            **{name: scored.columns[name] for name in ("dataset", "split", "combination")},
            "metric": scored.name, "measure": scored.metric.primary, "name": name_of(scored.columns),
            "value": summary_of[scored.metric.primary].value, "rank": float(self.stable.ranks[index]),
            "best_share": float(self.stable.best_share[index]), "rank_share": float(self.stable.rank_share[index]),
            "resamples": self.stable.resamples, "mean_rank": float(test.mean_ranks[index]),
            "critical_difference": test.critical_difference, "p_nemenyi": float(test.p_nemenyi[index, leader]),
            "friedman": test.statistic, "p_friedman": test.p, "n_combinations": len(test.mean_ranks),
            "n_patients": test.blocks,
        }  # fmt: skip


def ranked(summarised: Summaries, confidence: float) -> list[Ranked]:
    """The families of at least two combinations that have a value."""
    families: dict[Family, list[tuple[Cases, Mapping[str, Summary]]]] = {}
    for cases, summary_of in summarised:
        summary = summary_of.get(cases.scored.metric.primary)
        if summary is not None and not np.isnan(summary.value) and not cases.scored.baseline:
            families.setdefault(family(cases), []).append((cases, summary_of))
    return [_ranked(key, members, confidence) for key, members in families.items() if len(members) > 1]


def _ranked(key: Family, members: Summaries, confidence: float) -> Ranked:
    metric = members[0][0].scored.metric
    sign = sign_of(metric)
    primary = [summary_of[metric.primary] for _, summary_of in members]
    values = sign * np.array([summary.value for summary in primary])
    stable = stability(values, [sign * summary.resampled for summary in primary])
    test = friedman(np.stack([sign * _by_patient(cases) for cases, _ in members], axis=1), confidence)
    return Ranked(key, members, stable, test)


def family(cases: Cases) -> Family:
    """The family of a combination."""
    scored = cases.scored
    return scored.dataset, scored.columns["split"], scored.family or scored.metric.identity, cases.ids


def sign_of(metric: Metric) -> int:
    """The factor that makes larger values better."""
    return 1 if metric.higher_is_better else -1


def _by_patient(cases: Cases) -> Array:
    """The mean primary measure of each patient (patients,); NaN if it is not one number per case."""
    values = cases.values.get(cases.scored.metric.primary)
    if values is None or values.ndim > 1:
        values = np.full(len(cases.ids), np.nan)
    return patient_means(values, cases.patients)
