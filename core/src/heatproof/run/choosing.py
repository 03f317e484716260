"""Select one of several explainers by a metric on a split, and freeze the choice in ``selection.yaml``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import DataError
from ..plan.choice import Choice, choice_tasks
from ..plan.plan import Plan
from ..plan.sample_cache import Cache, prepared
from ..plan.task import Combination, Task
from ..results.rank_rows import Row, sign_of
from ..results.scores import CANDIDATES, cases_of, joined, name_of, scored_combinations, write_scores
from ..results.store import Run
from ..results.summary import SummarySettings, values
from .execution import Observer
from .retry import forget_damaged, forget_failures
from .selection import Selection, freeze, frozen_settings

Settle = Callable[[Any], Sequence[Task]]
Compute = Callable[[Sequence[Task]], object]
ROUNDING = 1e-6
"""The relative difference up to which two values may differ by the rounding of heatmaps, which are float32."""
COLUMNS = ("value", "low", "high", "n_valid", "n_failed", "n_invalid", "n_excluded")
"""The columns of a candidate's row in ``selection.yaml``."""


@dataclass
class Chooser:
    """Makes the choices of a plan: compares their candidates, or takes what is frozen."""

    plan: Plan
    selection: Selection
    run: Run
    cache: Cache
    settings: SummarySettings
    settle: Settle
    compute: Compute
    observer: Observer
    _frozen: dict[str, Any] = field(default_factory=dict)

    def choose(self, retry: bool = False) -> tuple[Plan, Selection]:
        """The plan with the selected candidates, and the selection with remarks where they saw reported samples.

        With ``retry``, candidates with failed cases are computed again, and the choices made anew. Raises
        ``DataError`` where no candidate has a value.
        """
        if not self.plan.choices:
            return self.plan, self.selection
        self._frozen = frozen_settings(self.run)
        keys = {id(choice): choice.key(self._metric(choice), self._contents) for choice in self.plan.choices}
        if retry and forget_failures(self.run, self._tasks()):
            self._frozen = {key: entry for key, entry in self._frozen.items() if key not in keys.values()}
        if any(key not in self._frozen for key in keys.values()):
            self._compare(keys)
        index_of = {key: self._frozen[key]["number"] for key in keys.values()}
        plan = self.plan.chosen(lambda choice: index_of[keys[id(choice)]])
        remarks: dict[tuple[str, str], str] = {}
        for choice in self.plan.choices:
            if choice.shared:
                names = ", ".join(self._frozen[keys[id(choice)]]["selected"]) or "explainer"
                text = f"{names} of {choice.entry.short} selected on the reported split ({choice.shared} samples)"
                ground = (choice.source.dataset.identity, choice.source.split)
                remarks[ground] = joined(remarks.get(ground, ""), text)
        return plan, replace(self.selection, chosen=remarks)

    def _compare(self, keys: Mapping[int, str]) -> None:
        """Compute and score all candidates, and freeze the choices that are not frozen."""
        self.observer.stage("comparing the candidates of select")
        tasks = self._tasks()
        forget_damaged(self.run, tasks)

        def complete() -> None:
            self.compute(tasks)
            scored = scored_combinations(tasks, {}, self.selection.unfilled)
            table = write_scores(self.run, scored, CANDIDATES)
            rows = values(cases_of(table, scored), self.settings, self.observer.step)
            by_key = {(row["combination"], row["metric_identity"], row["split"]): row for row in rows}
            for choice in self.plan.choices:
                identity = self._metric(choice).identity
                of_item = [by_key.get((item.key, identity, choice.compared.split)) for item in choice.candidates]
                self._frozen[keys[id(choice)]] = _entry(choice, of_item)

        self.run.repairing(complete)
        freeze(self.run, self._frozen)

    def _tasks(self) -> Sequence[Task]:
        """The tasks of all candidates."""
        return self.settle(choice_tasks(self.plan.config, self.plan.choices, self._metric, self._contents))

    def _metric(self, choice: Choice) -> Any:
        """The metric of a choice, with its open settings as they were filled."""
        metric = choice.metric
        ground = (choice.compared.dataset.identity, choice.candidates[0].model.grid)
        return self.selection.fitted.get((metric.identity, *ground), metric)

    @property
    def _contents(self) -> Callable[..., str]:
        return prepared(self.cache).contents.of


def _entry(choice: Choice, rows: Sequence[Row | None]) -> dict[str, Any]:
    """The entry of ``selection.yaml``: the whole curve, and the number and settings of the selected candidate.

    A candidate that failed on samples which others were scored on cannot be selected: its mean is over easier ones,
    perhaps. Of candidates that are equal up to rounding the first is selected.
    """
    metric = choice.metric
    scores = np.array([np.nan if row is None else sign_of(metric) * row["value"] for row in rows])
    counts = np.array([0 if row is None else row["n_valid"] for row in rows])
    complete = np.where((counts == counts[~np.isnan(scores)].max(initial=0)) & ~np.isnan(scores), scores, -np.inf)
    where = f"split {choice.compared.split} of {choice.compared.dataset.short}"
    if np.isneginf(complete).all():
        seen = f"none of its {len(rows)} candidates has a value on {where}; {CANDIDATES} says why"
        advice = "choose other candidates, or leave out select."
        raise DataError(f"{choice.entry.short} cannot be selected by {metric.short}: {seen}; {advice}")
    number = int(np.argmax(np.isclose(complete, complete.max(), rtol=ROUNDING, atol=0)))
    settings = _settings(choice.candidates)
    first = choice.candidates[0]
    return {
        "explainer": first.explainer.name, "name": choice.entry.short, "dataset": first.source.dataset.name,
        "where": name_of({**first.describe(), "explainer": ""}), "split": choice.compared.split,
        "samples": len(choice.compared.ids),
        "by": metric.name, "measure": metric.primary, "number": number, "selected": settings[number],
        "candidates": [
            {"settings": entry, **_columns(row), "eligible": bool(np.isfinite(score))}
            for entry, row, score in zip(settings, rows, complete)
        ],
    }  # fmt: skip


def _settings(candidates: Sequence[Combination]) -> list[dict[str, Any]]:
    """The settings of each candidate in which they differ."""
    described = [item.explainer.describe() for item in candidates]
    names = [name for name in described[0] if any(entry[name] != described[0][name] for entry in described)]
    return [{name: entry[name] for name in names} for entry in described]


def _columns(row: Row | None) -> dict[str, Any]:
    """The numbers of a candidate in plain types; none if it has no row."""
    numbers = {name: np.nan if row is None else row[name] for name in COLUMNS}
    plain = {name: int(value) if name.startswith("n_") and value == value else value for name, value in numbers.items()}
    return {name: None if value != value else value for name, value in plain.items()}
