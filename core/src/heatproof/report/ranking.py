"""The ranking of the combinations of one dataset under one metric, and how they compare measure by measure."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from ..errors import HeatproofError
from ..metric import Metric
from ..registry.catalog import Catalog
from ..results.scores import name_of
from ..results.summary import FLAGS
from .results import Results, made

FAMILY = ("dataset", "split", "metric")


@dataclass(frozen=True)
class Standard:
    """How a metric ranks: by which measure, in which direction, and what chance is expected to reach."""

    primary: str
    higher_is_better: bool = True
    opposite: frozenset[str] = frozenset()
    expected: float | None = None
    about: str = ""
    remark: str = ""

    @classmethod
    def of(cls, metric: Metric) -> "Standard":
        """The standard of a metric that is installed."""
        about = inspect.cleandoc(type(metric).__doc__ or "")
        expected = metric.expected(metric.primary)
        return cls(metric.primary, metric.higher_is_better, metric.opposite, expected, about)


@dataclass(frozen=True)
class Entry:
    """One combination in a ranking: its name, and its summary row of every measure."""

    name: str
    detail: str
    baseline: bool
    verdict_reason: str
    settings: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    row: Mapping[str, Any]

    @property
    def value(self) -> float:
        """The measure that ranks."""
        return float(self.row["value"])


@dataclass(frozen=True)
class Ranking:
    """The combinations of one dataset split under one metric, best first."""

    dataset: str
    split: str
    metric: str
    standard: Standard
    measures: tuple[str, ...]
    entries: tuple[Entry, ...]
    comparisons: tuple[Mapping[str, Any], ...]
    ranks: tuple[Mapping[str, Any], ...] = ()
    correction: str = "holm"
    flag: str = ""

    @property
    def compared(self) -> list[Entry]:
        """The combinations without the random baselines."""
        return [entry for entry in self.entries if not entry.baseline]

    @property
    def baselines(self) -> list[Entry]:
        """The random baselines, one per grid; per model and target where maps are judged by these."""
        return [entry for entry in self.entries if entry.baseline]

    @property
    def best(self) -> Entry | None:
        """The combination that leads, if any has a value."""
        return next((entry for entry in self.compared if entry.value == entry.value), None)

    @property
    def valued(self) -> bool:
        """Whether any combination has a value, baselines included."""
        return any(entry.value == entry.value for entry in self.entries)

    @property
    def opponents(self) -> list[Entry]:
        """The baselines beside the leader: those of its own model and target where there are such, else all."""
        owner = self.best and (self.best.row["model"], self.best.row["target"])
        return [each for each in self.baselines if (each.row["model"], each.row["target"]) == owner] or self.baselines

    @cached_property
    def leaders(self) -> dict[str, float]:
        """The best value of each measure that any combination but the baseline has."""
        values = {
            name: [entry.rows[name]["value"] for entry in self.compared if name in entry.rows] for name in self.measures
        }
        defined = {name: [value for value in each if value == value] for name, each in values.items()}
        return {name: (max if self._higher(name) else min)(each) for name, each in defined.items() if each}

    def _higher(self, measure: str) -> bool:
        return self.standard.higher_is_better != (measure in self.standard.opposite)


def rankings(results: Results, catalog: Catalog) -> list[Ranking]:
    """One ranking per dataset, split and metric."""
    rows = sorted(results.summary, key=_family)
    return [_ranking(results, catalog, list(members)) for _, members in groupby(rows, key=_family)]


def _family(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in FAMILY)


def _ranking(results: Results, catalog: Catalog, rows: list[dict[str, Any]]) -> Ranking:
    by_combination: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_combination.setdefault(row["combination"], {})[row["measure"]] = row
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    standard = _standard(results.places[rows[0]["combination"], rows[0]["metric"]], measures, catalog)
    measures.sort(key=lambda name: name != standard.primary)
    entries = [_entry(results, each, measures[0]) for each in by_combination.values()]
    sign = -1 if standard.higher_is_better else 1
    entries.sort(key=lambda entry: (entry.value != entry.value, sign * entry.value, entry.name))
    dataset, split, metric = family = _family(rows[0])
    comparisons, ranks = (
        tuple(row for row in table if _family(row) == family) for table in (results.comparisons, results.ranks)
    )
    correction, flag = results.statistics.correction, FLAGS.get(results.statistics.interval, "")
    return Ranking(
        dataset, split, metric, standard, tuple(measures), tuple(entries), comparisons, ranks, correction, flag
    )


def _standard(place: Mapping[str, Any], measures: Sequence[str], catalog: Catalog) -> Standard:
    """The metric's own standard; without its plugin the first measure ranks, and the page says so."""
    try:
        return Standard.of(made(catalog, "metric", place["metric_settings"]))
    except (HeatproofError, ValueError) as error:
        remark = f"The metric cannot be asked how it ranks ({error}): the first measure ranks, the highest value leads."
        return Standard(measures[0], remark=remark)


def _entry(results: Results, rows: Mapping[str, Mapping[str, Any]], primary: str) -> Entry:
    row = rows.get(primary) or _absent(next(iter(rows.values())), primary)
    place = results.places[row["combination"], row["metric"]]
    baseline = row["explainer"].partition("(")[0] == "random"
    grid = place["settings"]["model"].get("grid_of")
    detail = f"on the grid of {grid['use'].rpartition('/')[2]}" if grid else ""
    return Entry(name_of(row), detail, baseline, place["verdict_reason"], place["settings"], rows, row)


def _absent(row: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """A row for a measure that no case of a combination has."""
    numbers = {name: float("nan") for name, value in row.items() if isinstance(value, float)}
    return {**row, **numbers, "confidence": row["confidence"], "measure": measure, "n_valid": 0}
