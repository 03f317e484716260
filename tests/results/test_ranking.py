"""The order of combinations: by the measure that ranks, baselines by their flag, and without the metric's plugin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from heatproof.registry.catalog import Catalog
from heatproof.results.finished import Results
from heatproof.results.ranking import rankings
from heatproof.results.store import Run

Ran = Callable[..., Any]


def test_the_best_comes_first_and_the_baseline_is_flagged(ran: Ran, parts: Catalog) -> None:
    results = Results(ran(explainers=["slope", "noted"]).folder, parts)
    (ranking,) = rankings(results)
    values = [entry.value for entry in ranking.entries]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3
    assert [entry.name for entry in ranking.entries if entry.baseline] == ["random"]
    assert ranking.measures[0] == ranking.standard.primary == "value"
    assert ranking.standard.remark == ""
    assert ranking.benchmarks == []


def test_no_name_makes_a_baseline(ran: Ran, parts: Catalog) -> None:
    folder: Path = ran(explainers=["slope"]).folder
    text = (folder / "summary.csv").read_text()
    Run(folder).write("summary.csv", text.replace(",random,", ",noise,"))
    (ranking,) = rankings(Results(folder, parts))
    assert [entry.name for entry in ranking.entries if entry.baseline] == ["noise"]


def test_without_its_plugin_a_metric_is_ranked_by_its_first_measure(ran: Ran) -> None:
    (ranking,) = rankings(Results(ran().folder, Catalog([])))
    assert ranking.standard.primary == ranking.measures[0]
    assert ranking.standard.remark.startswith("The metric cannot be asked how it ranks (no metric is named")
