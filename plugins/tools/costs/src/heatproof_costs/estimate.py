"""Estimates the passes, memory and disk space of a plan before it runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from heatproof.errors import DataError
from heatproof.metric import Metric
from heatproof.model import Model
from heatproof.plan.sample_cache import first_readable
from heatproof.plan.task import Combination, Source, told_apart
from heatproof.run.costs import pass_seconds
from heatproof.run.memory import demand_of, fitting_rows

if TYPE_CHECKING:
    from heatproof.plan.choice import CombinationChoice
    from heatproof.plan.plan import Plan


@dataclass(frozen=True)
class Estimate:
    """The cost of one dataset and model: passes over all samples, bytes on disk, and of the run's memory at its peak.

    Passes and heatmaps contain those of the tuning split where a metric fills settings from its heatmaps. ``use``:
    whether the samples are ``reported``, or candidates of ``select`` are ``compared`` on them.
    ``metrics`` holds, by name, the forward and backward passes of metrics that run the model or the explainer.
    """

    dataset: str
    model: str
    samples: int
    forwards: int
    backwards: int
    heatmaps: int
    disk: int
    memory: int
    metrics: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    use: str = "reported"


def estimates(plan: "Plan") -> list[Estimate]:
    """Estimate the cost of each dataset split and model; this decodes one sample and runs one pass for each.

    After the samples that are reported come those on which the candidates of ``select`` are compared. Which of these
    will be reported is not known yet, so the one with most passes counts.
    """
    chosen = plan.chosen(_costliest)
    metrics = [*plan.metrics, *(entry.candidates[0] for entry in plan.metric_entries)]
    jobs = [(source, model, items, metrics, "reported") for source, model, items in chosen.jobs()]
    jobs += [(*job, "compared") for job in plan.comparing()]
    names = told_apart(component for source, model, *_ in jobs for component in (source.dataset, model))
    costs = []
    tuning = _tuning(plan)
    for source, model, combinations, measuring, use in reversed(jobs):  # the network of the last model is built already
        tuned = tuning.get((source.key, model.identity), 0) if use == "reported" else 0
        costs.append(_estimate(plan, names, source, model, combinations, measuring, tuned, use))
        if len(jobs) > 1:
            model.forget()
    return costs[::-1]


def _costliest(choice: "CombinationChoice") -> int:
    """The number of the candidate with most passes."""
    model = choice.candidates[0].model
    sample = first_readable(choice.compared.dataset, model, choice.compared.ids)
    space = sample.space if sample else ()
    costs = [sum(item.explainer.cost(model, space)) if space else 0 for item in choice.candidates]
    return costs.index(max(costs))


def _tuning(plan: "Plan") -> dict[tuple[object, str], int]:
    """Source and model → the samples of the tuning split that are explained, too, with the first split of a dataset."""
    if not any(metric.untuned for metric in plan.metrics):
        return {}
    counts: dict[tuple[str, str], tuple[tuple[object, str], int]] = {}
    for source, model, _ in plan.jobs():
        dataset = source.dataset
        count = len(dataset.ids(dataset.tuning))
        counts.setdefault((dataset.identity, model.identity), ((source.key, model.identity), count))
    return dict(counts.values())


def _estimate(
    plan: "Plan", names: Mapping[str, str], source: Source, model: Model, combinations: Sequence[Combination],
    metrics: Sequence[Metric], tuned: int, use: str,
) -> Estimate:  # fmt: skip
    demand = demand_of(plan, source, model, combinations)
    if demand is None:
        raise DataError(
            f"no sample of {source.dataset.short} can be read for {model.short} (tried: {len(source.ids)}); check its "
            f"folder with `{source.dataset.check_command}`."
        )
    count = len(source.ids)
    explained = count + tuned
    heatmaps = explained * len(combinations)
    forwards, backwards = passes(combinations, demand.space)
    costs = scoring(metrics, model, combinations, demand.space)
    return Estimate(
        dataset=names[source.dataset.identity],
        model=names[model.identity],
        samples=count,
        forwards=explained * (1 + forwards),
        backwards=explained * backwards,
        heatmaps=heatmaps,
        # Uncompressed float32: heatmaps of noise-like methods hardly compress.
        disk=heatmaps * int(np.prod(demand.space)) * 4,
        memory=demand.total(fitting_rows(plan, demand)),
        metrics={name: (count * forward, count * backward) for name, (forward, backward) in costs.items()},
        use=use,
    )


def passes(combinations: Sequence[Combination], space: tuple[int, ...]) -> tuple[int, int]:
    """Count the forward and backward passes per sample.

    Explainers of one target with the same shared pass need it once, and requests that differ only in the last word
    share a forward pass. The forward pass of the predictions is not counted.
    """
    costs: dict[tuple[str, object], tuple[int, int]] = {}
    requests: set[tuple[object, ...]] = set()
    for combination in combinations:
        explainer = combination.explainer
        forward, backward = explainer.cost(combination.model, space)
        shared = explainer.sharing(combination.model) or explainer.identity
        costs[combination.target, shared] = (forward - explainer.reads_logits, backward)
        requests.update((combination.target, *request) for request in combination.requests)
    forwards, backwards = _total(costs.values())
    shared_forwards = len(requests) - len({request[:-1] for request in requests})
    return forwards - shared_forwards, backwards


def _total(costs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The sums of forward and of backward passes."""
    forwards, backwards = np.sum([(0, 0), *costs], axis=0).tolist()
    return forwards, backwards


def scoring(
    metrics: Sequence[Metric], model: Model, combinations: Sequence[Combination], space: tuple[int, ...]
) -> dict[str, tuple[int, int]]:
    """Count the forward and backward passes per sample of every metric that needs any, by name.

    Passes of an explainer that a metric runs again are counted again.
    """
    names = told_apart(metrics)
    explanations = [combination.explainer.cost(model, space) for combination in combinations]
    totals = {}
    for metric in metrics:
        scored = [(0, 0)]
        if "heatmap" in metric.needs:
            scored = explanations
        totals[names[metric.identity]] = _total(metric.cost(model, space, explanation) for explanation in scored)
    return {name: total for name, total in totals.items() if any(total)}


def totals(costs: Iterable[Estimate]) -> dict[str, int]:
    """Add up the forward and backward passes, with those of metrics, and the bytes on disk."""
    costs = list(costs)
    of_metrics = [passed for cost in costs for passed in cost.metrics.values()]
    return {
        "forward": sum(cost.forwards for cost in costs) + sum(forward for forward, _ in of_metrics),
        "backward": sum(cost.backwards for cost in costs) + sum(backward for _, backward in of_metrics),
        "disk": sum(cost.disk for cost in costs),
    }


def seconds(plan: "Plan", costs: Sequence[Estimate]) -> float:
    """Estimate the seconds of all passes by one measured forward and backward pass of each model.

    A backward pass counts as two thirds of both, which fits convolutions. Decoding, metrics that run no network, and
    tables are not contained; NaN where no sample can be read.
    """
    jobs = [(source, model) for source, model, _ in plan.jobs()]
    jobs += [(source, model) for source, model, *_ in plan.comparing()]
    names = told_apart(component for source, model in jobs for component in (source.dataset, model))
    measured: dict[str, float] = {}
    for source, model in jobs:
        name = names[model.identity]
        if name not in measured:
            measured[name] = pass_seconds(source.dataset, model, source.ids)
            model.forget()
    spent = 0.0
    for cost in costs:
        both = totals([cost])
        spent += measured[cost.model] * (both["forward"] / 3 + both["backward"] * 2 / 3)
    return spent
