"""Laws of metrics: the measurements of a case, and the summary of cases under resampling."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..component import Component
from ..explainer import heatmaps
from ..metric import Case, Metric, Undefined
from ..records import Array, Heatmap, Measurement, Sample
from ..seeding import generator
from .bench import batch_of
from .check import NotApplicable, claim
from .toys import SIDES, Regions, Slope

CASES = 6
EXACT = 1e-12
"""The largest difference between summaries that must agree."""
PARTS: Mapping[str, frozenset[str]] = {
    "prediction": frozenset({"prediction"}),
    "heatmap": frozenset({"heatmap"}),
    "batch": frozenset({"model", "explainer"}),
    "explain": frozenset({"explainer"}),
    "traits": frozenset({"explainer"}),
}
"""Part of a case → the needs of a metric that provide it; any of them suffices."""


class MetricBench:
    """A metric with toy cases: blobs with exact masks, predictions of a network, and random heatmaps."""

    def __init__(self, metric: Metric):
        self._metric = metric

    @cached_property
    def fitted(self) -> Metric:
        """The metric, with open settings filled from the samples."""
        if self._metric.open:
            return self._metric.fit(self.samples)
        return self._metric

    @cached_property
    def component(self) -> Component:
        """The metric, with open settings filled from the samples, and others from the heatmaps of the toy cases."""
        if self.fitted.untuned:
            return self.fitted.tune(self.explained())
        return self.fitted

    def explained(self) -> list[Case]:
        """The toy cases as ``tune`` gets them: samples and heatmaps."""
        cases = map(self.full, self.samples)
        return [Case(case.sample, heatmap=case.heatmap, classes=case.classes) for case in cases]

    @property
    def metric(self) -> Metric:
        """The metric, with all settings filled."""
        assert isinstance(self.component, Metric)
        return self.component

    @cached_property
    def model(self) -> Regions:
        """The model of the predictions."""
        return Regions()

    @cached_property
    def samples(self) -> list[Sample]:
        """Prepared samples with a label and two annotated findings."""
        return self.model.samples(CASES)

    def cases(self) -> list[Case]:
        """New cases with only the parts that the metric's ``needs`` name."""
        return [self.limited(self.full(sample)) for sample in self.samples]

    def full(self, sample: Sample) -> Case:
        """A case with everything that a metric may see."""
        batch = batch_of(Slope(), self.model, [sample], torch.float32)
        noise = generator(sample.id, "heatmap").random(sample.space).astype(np.float32)
        logits = batch.forward()[0].detach().numpy()[0]
        copy = pickle.loads(pickle.dumps(sample))
        return Case(copy, self.model.read(logits), Heatmap(noise), batch, _explained, Slope().traits, SIDES)

    def limited(self, case: Case) -> Case:
        """The case with only the parts that the metric's ``needs`` name."""
        needs = self.metric.needs
        sample = case.sample
        if "annotation" not in needs:
            sample = replace(sample, annotations=())
        if "label" not in needs:
            sample = replace(sample, label=None)
        parts = {part: getattr(case, part) for part, providers in PARTS.items() if needs & providers}
        return Case(sample, **parts, classes=case.classes)

    def measured(self, case: Case) -> Measurement | None:
        """The metric's measurement; None if it is undefined."""
        try:
            return self.metric.measure(case)
        except Undefined:
            return None

    def table(self, cases: list[Case]) -> dict[str, Array]:
        """The measurements of all defined cases (cases, …) by measure."""
        rows = [row for row in map(self.measured, cases) if row is not None]
        if not rows:
            raise NotApplicable("no toy case is defined")
        return {name: np.stack([np.asarray(row[name], dtype=np.float64) for row in rows]) for name in rows[0]}


def measures_are_numbers(bench: MetricBench) -> None:
    """Measurements are numbers or arrays, finite or NaN; at least one toy case is not ``Undefined``."""
    rows = [row for row in map(bench.measured, bench.cases()) if row is not None]
    claim(bool(rows), "every toy case is Undefined.")
    for row in rows:
        claim(bool(row) and set(row) == set(rows[0]), f"cases measure {sorted(row)} and {sorted(rows[0])}.")
        for name, value in row.items():
            array = np.asarray(value)
            claim(array.dtype.kind in "fiub", f"{name!r} is {type(value).__name__}; allowed: a number or an array.")
            claim(not np.isinf(array.astype(np.float64)).any(), f"{name!r} is infinite.")


def what_is_needed_is_declared(bench: MetricBench) -> None:
    """A case with only the declared needs has the same measurement, to the bit, as a case with all parts."""
    for sample in bench.samples:
        full = bench.full(sample)
        same = _same(bench.measured(full), bench.measured(bench.limited(full)))
        claim(same, "it uses parts of a case that needs does not name.")


def a_case_is_left_untouched(bench: MetricBench) -> None:
    """``measure`` changes neither sample nor prediction nor heatmap."""
    for case in bench.cases():
        before = pickle.dumps((case.sample, case.prediction, case.heatmap))
        bench.measured(case)
        claim(pickle.dumps((case.sample, case.prediction, case.heatmap)) == before, "it changed the case.")


def a_case_is_measured_by_itself(bench: MetricBench) -> None:
    """The measurement of a case is the same, to the bit, in any order of the cases."""
    first = [bench.measured(case) for case in bench.cases()]
    again = [bench.measured(case) for case in reversed(bench.cases())][::-1]
    claim(all(map(_same, first, again)), "the measurement of a case depends on the cases before it.")


def odd_cases_are_measured_or_undefined(bench: MetricBench) -> None:
    """Constant heatmaps, empty annotations and no annotations give numbers, NaN or ``Undefined``, no other error."""
    for case in _edge_cases(bench):
        row = bench.measured(bench.limited(case)) or {}
        infinite = [name for name, value in row.items() if np.isinf(np.asarray(value, dtype=np.float64)).any()]
        claim(not infinite, f"{', '.join(infinite)} is infinite for a constant heatmap or an empty annotation.")


def passes_are_at_most_those_it_is_priced_at(bench: MetricBench) -> None:
    """A metric that uses the model or the explainer needs no more forward and backward passes than ``cost`` says."""
    if not bench.metric.needs & {"model", "explainer"}:
        raise NotApplicable("uses neither the model nor the explainer")
    cost = bench.metric.cost(bench.model, bench.samples[0].space, Slope().passes)
    for case in bench.cases():
        with _counted_passes() as counts:
            bench.measured(case)
        fits = all(count <= limit for count, limit in zip(counts, cost))
        claim(fits, f"it takes {counts[0]} forward and {counts[1]} backward passes; its cost is {cost}.")


def tuning_fills_its_settings_in_any_order_of_the_cases(bench: MetricBench) -> None:
    """``tune`` leaves no setting ``untuned``, and fills the same values in any order of the cases."""
    if not bench.fitted.untuned:
        raise NotApplicable("has no settings that depend on heatmaps")
    cases = bench.explained()
    tuned = [bench.fitted.tune(iter(order)) for order in (cases, cases[::-1])]
    claim(not tuned[0].untuned, f"tune leaves {', '.join(tuned[0].untuned)} untuned.")
    values = [metric.describe() for metric in tuned]
    claim(values[0] == values[1], f"tune fills {values[0]}, and in another order of the cases {values[1]}.")


def the_annotation_scores_at_least_as_well_as_its_inverse(bench: MetricBench) -> None:
    """The primary measure of the annotation as heatmap is at least as good as that of its complement."""
    if not {"heatmap", "annotation"} <= bench.metric.needs:
        raise NotApplicable("does not compare heatmaps with annotations")

    def value_of(transform: Callable[[Array], Array]) -> float:
        cases = [replace(case, heatmap=Heatmap(transform(_union(case.sample)))) for case in bench.cases()]
        return float(np.nanmean(_summary(bench, bench.table(cases))[bench.metric.primary][0]))

    annotation = value_of(lambda mask: mask)
    inverse = value_of(lambda mask: 1 - mask)
    good = annotation >= inverse if bench.metric.higher_is_better else annotation <= inverse
    claim(good, f"the annotation scores {annotation:.4g}, its inverse {inverse:.4g}.")


def a_summary_has_one_value_per_resample(bench: MetricBench) -> None:
    """``summarise`` gives (r,) or (r, points) per measure, the primary one among them."""
    table = bench.table(bench.cases())
    counts = _counts(table)
    summary = bench.metric.summarise(table, counts)
    claim(bench.metric.primary in summary, f"{bench.metric.primary!r} is primary, but summaries are {sorted(summary)}.")
    for name, values in summary.items():
        shape = np.shape(values)
        fits = len(shape) in (1, 2) and shape[0] == len(counts)
        claim(fits, f"the summary {name!r} has shape {shape} for {len(counts)} resamples.")
        claim(not np.isinf(np.asarray(values, dtype=np.float64)).any(), f"the summary {name!r} is infinite.")


def the_order_of_cases_does_not_matter(bench: MetricBench) -> None:
    """Cases and counts permuted together give the same summary to 1e-12."""
    table = bench.table(bench.cases())
    counts = _counts(table)
    order = generator("order").permutation(counts.shape[1])
    permuted = {name: values[order] for name, values in table.items()}
    _claim_alike(bench.metric.summarise(table, counts), bench.metric.summarise(permuted, counts[:, order]))


def counts_say_how_often_a_case_occurs(bench: MetricBench) -> None:
    """A resample equals, to 1e-12, the summary of the cases repeated as often as its counts say; zero omits a case."""
    table = bench.table(bench.cases())
    counts = _counts(table)[1:2]
    repeated = {name: np.repeat(values, counts[0], axis=0) for name, values in table.items()}
    _claim_alike(bench.metric.summarise(table, counts), _summary(bench, repeated))


def doubled_counts_change_nothing(bench: MetricBench) -> None:
    """Doubling all counts does not change the summary by more than 1e-12."""
    table = bench.table(bench.cases())
    counts = _counts(table)
    _claim_alike(bench.metric.summarise(table, counts), bench.metric.summarise(table, 2 * counts))


def a_resample_is_summarised_by_itself(bench: MetricBench) -> None:
    """A resample has the same summary, to 1e-12, beside any other resamples, if every case occurs in some of them."""
    table = bench.table(bench.cases())
    counts = _counts(table)
    divided = [bench.metric.summarise(table, counts[[0, row]]) for row in range(len(counts))]
    joined = {name: np.stack([summary[name][1] for summary in divided]) for name in divided[0]}
    _claim_alike(bench.metric.summarise(table, counts), joined)


def a_resample_without_cases_has_no_value(bench: MetricBench) -> None:
    """A resample with zero counts only gives NaN, not an error or a number."""
    table = bench.table(bench.cases())
    summary = bench.metric.summarise(table, 0 * _counts(table))
    valued = [name for name, values in summary.items() if not np.isnan(np.asarray(values, dtype=np.float64)).all()]
    claim(not valued, f"{', '.join(valued)} has a value although no case occurs.")


def exchangeable_measurements_have_the_same_summary(bench: MetricBench) -> None:
    """The measurements that a paired test swaps between combinations have the same summary to 1e-12."""
    table = bench.table(bench.cases())
    counts = _counts(table)
    exchangeable = bench.metric.exchangeable(table)
    _claim_alike(bench.metric.summarise(table, counts), bench.metric.summarise(exchangeable, counts))


LAWS: tuple[Callable[[MetricBench], None], ...] = (
    measures_are_numbers,
    what_is_needed_is_declared,
    a_case_is_left_untouched,
    a_case_is_measured_by_itself,
    odd_cases_are_measured_or_undefined,
    passes_are_at_most_those_it_is_priced_at,
    tuning_fills_its_settings_in_any_order_of_the_cases,
    the_annotation_scores_at_least_as_well_as_its_inverse,
    a_summary_has_one_value_per_resample,
    the_order_of_cases_does_not_matter,
    counts_say_how_often_a_case_occurs,
    doubled_counts_change_nothing,
    a_resample_is_summarised_by_itself,
    a_resample_without_cases_has_no_value,
    exchangeable_measurements_have_the_same_summary,
)


def _explained(batch: Batch) -> Array:
    return heatmaps(Slope()(batch), "max")


@contextmanager
def _counted_passes() -> Iterator[list[int]]:
    """Yield the numbers of images in forward and in backward passes of any model, counted while the block runs."""
    counts = [0, 0]
    forward = Batch.forward

    def count_backward(gradient: Tensor) -> None:
        counts[1] += len(gradient)

    def counted_forward(batch: Batch, *arguments: Any, **keywords: Any) -> tuple[Tensor, dict[str, Tensor]]:
        logits, activations = forward(batch, *arguments, **keywords)
        counts[0] += len(logits)
        if logits.requires_grad:
            logits.register_hook(count_backward)  # type: ignore[no-untyped-call]
        return logits, activations

    with patch.object(Batch, "forward", counted_forward):
        yield counts


def _same(first: Measurement | None, second: Measurement | None) -> bool:
    if first is None or second is None:
        return first is second
    return set(first) == set(second) and all(
        np.array_equal(first[name], second[name], equal_nan=True) for name in first
    )


def _edge_cases(bench: MetricBench) -> list[Case]:
    """Edge cases: constant heatmaps, empty annotations, and no annotations."""
    case = bench.full(bench.samples[0])
    space = case.sample.space
    empty = tuple(replace(annotation, values=np.zeros(space, np.float32)) for annotation in case.sample.annotations)
    heatmaps = [Heatmap(np.full(space, value, np.float32)) for value in (0, 1, -1)]
    samples = [replace(case.sample, annotations=annotations) for annotations in (empty, empty[:1], ())]
    constant = [replace(case, heatmap=heatmap) for heatmap in heatmaps]
    return constant + [replace(case, sample=sample) for sample in samples]


def _union(sample: Sample) -> Array:
    """The union of all annotations of a sample."""
    return np.asarray(np.maximum.reduce([annotation.values for annotation in sample.annotations]))


def _counts(table: Mapping[str, Array]) -> Array:
    """Three resamples: every case once, mixed counts without the first case, and falling counts without the last."""
    cases = len(next(iter(table.values())))
    mixed = 1 + np.arange(cases) % 3
    mixed[0] = 0
    falling = np.arange(cases)[::-1]
    return np.stack([np.ones(cases, dtype=np.int64), mixed, falling])


def _summary(bench: MetricBench, table: Mapping[str, Array]) -> dict[str, Array]:
    """The summary of the resample that has every case once."""
    cases = len(next(iter(table.values())))
    return bench.metric.summarise(table, np.ones((1, cases), dtype=np.int64))


def _claim_alike(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> None:
    for name, values in expected.items():
        same = np.allclose(values, actual[name], rtol=EXACT, atol=EXACT, equal_nan=True)
        claim(same, f"the summary {name!r} becomes {np.ravel(actual[name])[:3]} instead of {np.ravel(values)[:3]}.")
