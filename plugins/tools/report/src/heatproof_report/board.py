"""A ranking as the page shows it: its best combination, baselines, measures, groups and flags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import cleandoc
from typing import Any

from heatproof.results.answer import groups
from heatproof.results.finished import Results
from heatproof.results.ranking import RankedCombination, Ranking, rankings


@dataclass(frozen=True)
class Board(Ranking):
    """A ranking with the description of its metric."""

    about: str = ""

    @property
    def compared(self) -> list[RankedCombination]:
        """The combinations without the random baselines."""
        return [entry for entry in self.entries if not entry.baseline]

    @property
    def baselines(self) -> list[RankedCombination]:
        """The random baselines: one per grid, or one per model and target where the metric uses the model."""
        return [entry for entry in self.entries if entry.baseline]

    @property
    def best(self) -> RankedCombination | None:
        """The first combination; None where no combination has a value."""
        return next((entry for entry in self.compared if entry.value == entry.value), None)

    @property
    def valued(self) -> bool:
        """Whether any combination has a value, baselines included."""
        return any(entry.value == entry.value for entry in self.entries)

    @cached_property
    def groups(self) -> dict[str, str]:
        """Combination → its letters: two that share a letter do not differ significantly."""
        return groups(self)

    @cached_property
    def pairs(self) -> list[Mapping[str, Any]]:
        """The comparisons of two combinations; those with a random baseline stand in the ranking."""
        return [row for row in self.comparisons if {row["combination_a"], row["combination_b"]} <= self._keys]

    @property
    def _keys(self) -> set[str]:
        return {entry.row["combination"] for entry in self.compared}

    @cached_property
    def leaders(self) -> dict[str, float]:
        """The best value of each measure that has one, over all combinations but the random baselines.

        A measure that is the same for several combinations, such as what chance expects, has none.
        """
        leaders = {}
        for name in (name for name in self.measures if name not in self.standard.benchmarks):
            column = [entry.rows[name]["value"] for entry in self.compared if name in entry.rows]
            defined = [value for value in column if value == value]
            if len(defined) == 1 or len({*defined}) > 1:
                leaders[name] = self._best_of(name, defined)
        return leaders

    def _best_of(self, measure: str, values: list[float]) -> float:
        higher = self.standard.higher_is_better != (measure in self.standard.opposite)
        return max(values) if higher else min(values)


def boards(results: Results) -> list[Board]:
    """Make one board per dataset, split and metric of a run."""
    return [_board(results, ranking) for ranking in rankings(results)]


def _board(results: Results, ranking: Ranking) -> Board:
    description = ""
    if not ranking.standard.remark:
        row = ranking.entries[0].row
        settings = results.described[row["combination"], row["metric"]]["metric_settings"]
        description = about(results, "metric", settings["use"])
    return Board(**vars(ranking), about=description)


def flags(results: Results, ranked: Sequence[Board]) -> list[str]:
    """Every flag of a page once: that of the run, then those of combinations in order."""
    texts = [results.flag, *(board.flag_of(entry) for board in ranked for entry in board.entries)]
    return [text for text in dict.fromkeys(texts) if text]


def detail(entry: RankedCombination) -> str:
    """Name the model that lends its grid to maps that belong to no model; empty for all other combinations."""
    lender = entry.settings["model"].get("grid_of")
    if not lender:
        return ""
    return f"on the grid of {lender['use'].rpartition('/')[2]}"


def about(results: Results, kind: str, name: str) -> str:
    """Look up the docstring of a registered component; raises ``PluginError`` where it is not installed."""
    return cleandoc(results.catalog.load(results.catalog.resolve(kind, name)).__doc__ or "")
