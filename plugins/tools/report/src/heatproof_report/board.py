"""A ranking as the page shows it: leader, baselines, measures, and how certain the order is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import cleandoc
from typing import Any

from heatproof.results.finished import Results
from heatproof.results.ranking import RankedCombination, Ranking, family, rankings


@dataclass(frozen=True)
class Board(Ranking):
    """A ranking with its pairwise comparisons, its table of ranks, and the description of its metric."""

    comparisons: tuple[Mapping[str, Any], ...] = ()
    ranks: tuple[Mapping[str, Any], ...] = ()
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
        """The leading combination; None where no combination has a value."""
        return next((entry for entry in self.compared if entry.value == entry.value), None)

    @property
    def valued(self) -> bool:
        """Whether any combination has a value, baselines included."""
        return any(entry.value == entry.value for entry in self.entries)

    @property
    def opponents(self) -> list[RankedCombination]:
        """The baselines to show beside the leader: those of its model and target, or all where it has none."""
        owner = self.best and (self.best.row["model"], self.best.row["target"])
        same_owner = [entry for entry in self.baselines if (entry.row["model"], entry.row["target"]) == owner]
        return same_owner or self.baselines

    @cached_property
    def leaders(self) -> dict[str, float]:
        """The best value of each measure that has one, over all combinations but the random baselines."""
        leaders = {}
        for name in self.measures:
            column = [entry.rows[name]["value"] for entry in self.compared if name in entry.rows]
            defined = [value for value in column if value == value]
            if defined:
                leaders[name] = self._best_of(name, defined)
        return leaders

    def _best_of(self, measure: str, values: list[float]) -> float:
        higher = self.standard.higher_is_better != (measure in self.standard.opposite)
        return max(values) if higher else min(values)


def boards(results: Results) -> list[Board]:
    """Make one board per dataset, split and metric of a run."""
    return [_board(results, ranking) for ranking in rankings(results)]


def _board(results: Results, ranking: Ranking) -> Board:
    name = (ranking.dataset, ranking.split, ranking.metric)
    description = ""
    if not ranking.standard.remark:
        row = ranking.entries[0].row
        settings = results.described[row["combination"], row["metric"]]["metric_settings"]
        description = about(results, "metric", settings["use"])
    return Board(
        **vars(ranking),
        comparisons=tuple(row for row in results.comparisons if family(row) == name),
        ranks=tuple(row for row in results.ranks if family(row) == name),
        about=description,
    )


def detail(entry: RankedCombination) -> str:
    """Name the model that lends its grid to maps that belong to no model; empty for all other combinations."""
    lender = entry.settings["model"].get("grid_of")
    if not lender:
        return ""
    return f"on the grid of {lender['use'].rpartition('/')[2]}"


def about(results: Results, kind: str, name: str) -> str:
    """Look up the docstring of a registered component; raises ``PluginError`` where it is not installed."""
    return cleandoc(results.catalog.load(results.catalog.resolve(kind, name)).__doc__ or "")
