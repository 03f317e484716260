"""Rankings of the combinations of one dataset under one metric, as terminal and pages show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from ..errors import HeatproofError
from .finished import Results
from .scores import name_of


@dataclass(frozen=True)
class Standard:
    """How a metric ranks: its primary measure, the direction, and the value expected by chance.

    Measures in ``opposite`` are better in the other direction; those in ``benchmarks``, with their names, no heatmap
    changes. ``remark`` says why the metric could not be loaded.
    """

    primary: str
    higher_is_better: bool = True
    opposite: frozenset[str] = frozenset()
    expected: float | None = None
    remark: str = ""
    benchmarks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RankedCombination:
    """One combination in a ranking, with its summary row per measure; ``row`` is that of the primary measure."""

    name: str
    verdict_reason: str
    settings: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    row: Mapping[str, Any]

    @property
    def value(self) -> float:
        """The value of the primary measure."""
        return float(self.row["value"])

    @property
    def baseline(self) -> bool:
        """Whether it is the random baseline."""
        return bool(self.row["baseline"])


@dataclass(frozen=True)
class Benchmark:
    """A value beside those of combinations that comes from no heatmap, with its summary row."""

    name: str
    row: Mapping[str, Any]

    @property
    def value(self) -> float:
        """The value of the benchmark."""
        return float(self.row["value"])


@dataclass(frozen=True)
class Ranking:
    """The combinations of one dataset split under one metric, best first.

    ``comparisons`` and ``ranks`` are the rows of the tables of these names; ``confidence`` is that of intervals and
    tests.
    """

    dataset: str
    split: str
    metric: str
    standard: Standard
    measures: tuple[str, ...]
    entries: tuple[RankedCombination, ...]
    correction: str = "holm"
    flag: str = ""
    confidence: float = 0.95
    comparisons: tuple[Mapping[str, Any], ...] = ()
    ranks: tuple[Mapping[str, Any], ...] = ()

    @property
    def benchmarks(self) -> list[Benchmark]:
        """The benchmarks that have a value, by the cases of the combination with the most of them."""
        benchmarks = []
        for measure, name in self.standard.benchmarks.items():
            rows = [entry.rows[measure] for entry in self.entries if measure in entry.rows]
            valued = [row for row in rows if row["value"] == row["value"]]
            if valued:
                benchmarks.append(Benchmark(name, max(valued, key=lambda row: row["n_valid"])))
        return benchmarks

    @property
    def unvalued(self) -> list[str]:
        """The names of the benchmarks that no case has a value of."""
        valued = {benchmark.name for benchmark in self.benchmarks}
        return [name for name in self.standard.benchmarks.values() if name not in valued]

    @property
    def common_flag(self) -> str:
        """The flag that all combinations have."""
        flags = {self.flag_of(entry) for entry in self.entries}
        return flags.pop() if len(flags) == 1 else ""

    def flag_of(self, entry: RankedCombination) -> str:
        """The flag of a combination, without that of the whole run."""
        return str(entry.row["flag"]).removesuffix(self.flag).removesuffix("; ")

    @property
    def alpha(self) -> float:
        """The level of the tests."""
        return round(1 - self.confidence, 12)


def rankings(results: Results) -> list[Ranking]:
    """One ranking per dataset, split and metric."""
    rows = sorted(results.summary, key=family)
    return [_ranking(results, list(members)) for _, members in groupby(rows, key=family)]


def family(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The key of a row's ranking: dataset, split and metric."""
    return row["dataset"], row["split"], row["metric"]


def _ranking(results: Results, rows: list[dict[str, Any]]) -> Ranking:
    by_combination: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_combination.setdefault(row["combination"], {})[row["measure"]] = row
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    standard = _standard(results, rows[0], measures)
    measures.sort(key=lambda name: name != standard.primary)
    entries = [_entry(results, members, measures[0]) for members in by_combination.values()]
    sign = -1 if standard.higher_is_better else 1
    entries.sort(key=lambda entry: (entry.value != entry.value, sign * entry.value, entry.name))
    statistics = results.statistics
    name = family(rows[0])
    return Ranking(
        *name, standard, tuple(measures), tuple(entries), statistics.correction, statistics.flag,
        statistics.confidence, tuple(row for row in results.comparisons if family(row) == name),
        tuple(row for row in results.ranks if family(row) == name),
    )  # fmt: skip


def _standard(results: Results, row: Mapping[str, Any], measures: Sequence[str]) -> Standard:
    """The metric's standard; without its plugin the first measure ranks, and a remark says so."""
    settings = results.described[row["combination"], row["metric"]]["metric_settings"]
    try:
        metric = results.component("metric", settings)
        expected = metric.expected(metric.primary)
        higher = metric.higher_is_better
        return Standard(metric.primary, higher, metric.opposite, expected, benchmarks=metric.benchmarks)
    except (HeatproofError, ValueError) as error:
        remark = f"The metric cannot be asked how it ranks ({error}): the first measure ranks, the highest value leads."
        return Standard(measures[0], remark=remark)


def _entry(results: Results, rows: Mapping[str, Mapping[str, Any]], primary: str) -> RankedCombination:
    row = rows.get(primary) or _absent(next(iter(rows.values())), primary)
    described = results.described[row["combination"], row["metric"]]
    return RankedCombination(name_of(row), described["verdict_reason"], described["settings"], rows, row)


def _absent(row: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """The row of a measure that no case of a combination has, made from another row."""
    numbers = {name: float("nan") for name, value in row.items() if isinstance(value, float)}
    return {**row, **numbers, "confidence": row["confidence"], "measure": measure, "n_valid": 0}
