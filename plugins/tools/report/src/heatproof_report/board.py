"""A ranking as the page tells it: who leads, against which baseline, measure by measure, and how firm the order is."""

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
        """The random baselines, one per grid; per model and target where maps are judged by these."""
        return [entry for entry in self.entries if entry.baseline]

    @property
    def best(self) -> RankedCombination | None:
        """The combination that leads, if any has a value."""
        return next((entry for entry in self.compared if entry.value == entry.value), None)

    @property
    def valued(self) -> bool:
        """Whether any combination has a value, baselines included."""
        return any(entry.value == entry.value for entry in self.entries)

    @property
    def opponents(self) -> list[RankedCombination]:
        """The baselines beside the leader: those of its own model and target where there are such, else all."""
        owner = self.best and (self.best.row["model"], self.best.row["target"])
        return [
            entry for entry in self.baselines if (entry.row["model"], entry.row["target"]) == owner
        ] or self.baselines

    @cached_property
    def leaders(self) -> dict[str, float]:
        """The best value of each measure that any combination but the baseline has."""
        values = {
            name: [entry.rows[name]["value"] for entry in self.compared if name in entry.rows] for name in self.measures
        }
        defined = {name: [value for value in column if value == value] for name, column in values.items()}
        return {name: (max if self._higher(name) else min)(column) for name, column in defined.items() if column}

    def _higher(self, measure: str) -> bool:
        return self.standard.higher_is_better != (measure in self.standard.opposite)


def boards(results: Results) -> list[Board]:
    """One board per dataset, split and metric of a run."""
    return [_board(results, ranking) for ranking in rankings(results)]


def _board(results: Results, ranking: Ranking) -> Board:
    name, row = (ranking.dataset, ranking.split, ranking.metric), ranking.entries[0].row
    metric = results.described[row["combination"], row["metric"]]["metric_settings"]["use"]
    return Board(
        **vars(ranking),
        comparisons=tuple(row for row in results.comparisons if family(row) == name),
        ranks=tuple(row for row in results.ranks if family(row) == name),
        about="" if ranking.standard.remark else about(results, "metric", metric),
    )


def detail(entry: RankedCombination) -> str:
    """On whose grid a combination's maps are where they belong to no model; else empty."""
    grid = entry.settings["model"].get("grid_of")
    return f"on the grid of {grid['use'].rpartition('/')[2]}" if grid else ""


def about(results: Results, kind: str, name: str) -> str:
    """The description of a registered component; raises ``PluginError`` where it is not installed."""
    return cleandoc(results.catalog.load(results.catalog.resolve(kind, name)).__doc__ or "")
