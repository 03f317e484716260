"""Select one of several explainers or metrics on a split, and freeze the choice in ``selection.yaml``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..component import Component
from ..config.choices import MetricChoice, varied
from ..digests import digest
from ..errors import DataError
from ..metric import Metric
from ..plan.choice import Choice, CombinationChoice, MetricSettingsChoice, comparing_tasks
from ..plan.plan import Plan
from ..plan.sample_cache import Cache, prepared
from ..plan.task import Combination, Task
from ..results.rank_rows import Row, sign_of
from ..results.scores import CANDIDATES, cases_of, joined, judged_by, name_of, scored_combinations, write_scores
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
    retry: bool = False

    def explainers(self) -> tuple[Plan, Selection]:
        """The plan with the selected combinations, and the selection with remarks where they saw reported samples.

        With ``retry``, candidates with failed cases are computed again, and the choices made anew. Raises
        ``DataError`` where no candidate has a value.
        """
        contests = [self._of_combinations(choice) for choice in self.plan.choices]
        entries = self._made(contests)
        numbers = {id(choice): entry["number"] for choice, entry in zip(self.plan.choices, entries)}
        remarks: dict[tuple[str, str], list[str]] = {}
        for choice, entry in zip(self.plan.choices, entries):
            ground = (choice.source.dataset.identity, choice.source.split)
            remarks.setdefault(ground, []).append(_remark(choice, entry))
        flags = {ground: joined(*texts) for ground, texts in remarks.items()}
        return self.plan.chosen(lambda choice: int(numbers[id(choice)])), replace(
            self.selection, chosen=flags, keys=self.selection.keys | {contest.key for contest in contests}
        )

    def metrics(self) -> Selection:
        """The selection with the selected metrics; call it after ``explainers``, whose combinations they measure."""
        choices = self.plan.metric_choices
        contests = [self._of_metrics(choice) for choice in choices]
        selection = self.selection
        selected: dict[str, tuple[Metric, ...]] = {}
        flags = dict(selection.flags)
        families = dict(selection.families)
        titles: dict[str, str] = {}
        for choice, contest, entry in zip(choices, contests, self._made(contests)):
            metric = contest.metrics[entry["number"]]
            selected[choice.owner] = (*selected.get(choice.owner, ()), metric)
            families[metric.identity] = digest([candidate.identity for candidate in choice.entry.candidates])
            titles[metric.identity] = self._title(choice.entry)
            ground = (metric.identity, choice.source.dataset.identity, choice.source.split)
            flags[ground] = joined(flags.get(ground, ""), _remark(choice, entry))
        return replace(
            selection,
            flags=flags,
            families=families,
            selected=selected,
            titles=titles,
            keys=selection.keys | {contest.key for contest in contests},
        )

    def _title(self, entry: MetricChoice) -> str:
        """The name of a metric's entry in tables, apart from those of the other metrics."""
        others = [metric.short for metric in self.plan.metrics]
        others += [other.short for other in self.plan.metric_entries if other is not entry]
        return f"{entry.short} (selected)" if entry.short in others else entry.short

    def _of_combinations(self, choice: CombinationChoice) -> "_Contest":
        metric = self._filled(choice.metric, choice)
        rows = [(judged_by(metric, item).key, metric.identity) for item in choice.candidates]
        items = {item.key: item for item in choice.candidates}
        key = choice.key(metric, prepared(self.cache).contents.of)
        labels = [item.explainer for item in choice.candidates]
        where = name_of({**choice.candidates[0].describe(), "explainer": ""})
        return _Contest(choice, key, items, [metric], rows, labels, where, metric.primary, sign_of(metric))

    def _of_metrics(self, choice: MetricSettingsChoice) -> "_Contest":
        metrics = [self._filled(metric, choice) for metric in choice.entry.candidates]
        items: dict[str, Combination] = {}
        where = choice.model.short
        rows = [(choice.owner, metric.identity) for metric in metrics]
        if choice.combination is not None:
            items = {choice.combination.key: choice.combination}
            where = name_of(choice.combination.describe())
            rows = [(judged_by(metric, choice.combination).key, metric.identity) for metric in metrics]
        key = choice.key(metrics, prepared(self.cache).contents.of)
        entry = choice.entry
        return _Contest(choice, key, items, metrics, rows, entry.candidates, where, entry.measure, entry.sign)

    def _made(self, contests: "Sequence[_Contest]") -> list[dict[str, Any]]:
        """The entry of ``selection.yaml`` of each contest."""
        if not contests:
            return []
        frozen = frozen_settings(self.run)
        contents = prepared(self.cache).contents.of
        jobs = [(contest.choice, contest.combinations, contest.metrics) for contest in contests]
        tasks = self.settle(comparing_tasks(self.plan.config, jobs, contents))
        if self.retry and forget_failures(self.run, tasks):
            frozen = {key: entry for key, entry in frozen.items() if key not in {contest.key for contest in contests}}
        if any(contest.key not in frozen for contest in contests):
            self.observer.stage("comparing the candidates of select")
            forget_damaged(self.run, tasks)
            self.run.repairing(lambda: frozen.update(self._compared(contests, tasks)))
            freeze(self.run, frozen)
        return [frozen[contest.key] for contest in contests]

    def _compared(self, contests: "Sequence[_Contest]", tasks: Sequence[Task]) -> dict[str, Any]:
        """Compute and score all candidates; returns the entry of each contest by its key."""
        self.compute(tasks)
        scored = scored_combinations(tasks, {}, self.selection.unfilled)
        table = write_scores(self.run, scored, CANDIDATES[contests[0].choice.entry.kind])
        rows = {
            (row["combination"], row["metric_identity"], row["split"], row["measure"]): row
            for row in values(cases_of(table, scored), self.settings, self.observer.step)
        }
        entries = {}
        for contest in contests:
            split = contest.choice.compared.split
            of_candidate = [rows.get((*row, split, contest.measure)) for row in contest.rows]
            entries[contest.key] = _entry(contest, of_candidate)
        return entries

    def _filled(self, metric: Metric, choice: Choice) -> Metric:
        """The metric with its open settings as they were filled."""
        ground = (choice.compared.dataset.identity, choice.model.grid)
        return self.selection.fitted.get((metric.identity, *ground), metric)


@dataclass(frozen=True)
class _Contest:
    """What is computed for a choice, and the row of each candidate: (key of a combination, identity of a metric)."""

    choice: Choice
    key: str
    combinations: Mapping[str, Combination]
    metrics: Sequence[Metric]
    rows: Sequence[tuple[str, str]]
    candidates: Sequence[Component]
    where: str
    measure: str
    sign: int


def _remark(choice: Choice, entry: Mapping[str, Any]) -> str:
    """The remark on a choice on reported samples; empty for others."""
    if not choice.shared:
        return ""
    names = ", ".join(entry["selected"]) or "settings"
    return f"{names} of {choice.entry.short} selected on the reported split ({choice.shared} samples)"


def _entry(contest: _Contest, rows: Sequence[Row | None]) -> dict[str, Any]:
    """The entry of ``selection.yaml``: the whole curve, and the number and settings of the selected candidate.

    A candidate that failed on samples which others were scored on cannot be selected: its mean is over easier ones,
    perhaps. Of candidates that are equal up to rounding the first is selected.
    """
    scores = np.array([np.nan if row is None else contest.sign * row["value"] for row in rows])
    counts = np.array([0 if row is None else row["n_valid"] for row in rows])
    valued = ~np.isnan(scores)
    eligible = valued & (counts == counts[valued].max(initial=0))
    choice = contest.choice
    compared = choice.compared
    name = choice.entry.short
    if not eligible.any():
        where = f"split {compared.split} of {compared.dataset.short}"
        seen = f"none of its {len(rows)} candidates has a value of {contest.measure} on {where} ({contest.where})"
        advice = f"{CANDIDATES[choice.entry.kind]} says why. Choose other candidates, or leave out select."
        raise DataError(f"{name} cannot be selected by {contest.metrics[0].short}: {seen}; {advice}")
    best = scores[eligible].max()
    number = int(np.argmax(eligible & np.isclose(scores, best, rtol=ROUNDING, atol=0)))
    settings = _settings(contest.candidates)
    return {
        "name": name, "kind": choice.entry.kind, "component": contest.candidates[0].name, "where": contest.where,
        "dataset": compared.dataset.name, "split": compared.split, "samples": len(compared.ids),
        "by": contest.metrics[0].name, "measure": contest.measure, "number": number, "selected": settings[number],
        "candidates": [
            {"settings": entry, **_columns(row), "eligible": bool(allowed)}
            for entry, row, allowed in zip(settings, rows, eligible)
        ],
    }  # fmt: skip


def _settings(candidates: Sequence[Component]) -> list[dict[str, Any]]:
    """The settings of each candidate in which they differ."""
    names = varied(candidates)
    return [{name: value for name, value in item.describe().items() if name in names} for item in candidates]


def _columns(row: Row | None) -> dict[str, Any]:
    """The numbers of a candidate in plain types; none if it has no row."""
    if row is None:
        return dict.fromkeys(COLUMNS)
    return {name: None if row[name] != row[name] else row[name] for name in COLUMNS}
