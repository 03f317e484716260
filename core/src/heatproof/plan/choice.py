"""Choices of a plan: explainers or metrics that are compared on one split, of which the best is reported on another."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..config.choices import TUNING, Candidates, ExplainerChoice, MetricChoice
from ..config.settings import RunConfig
from ..dataset import Dataset
from ..errors import DataError
from ..metric import Metric
from ..model import Model
from .chunks import chunks
from .keys import choice_key, predictions_key
from .task import Combination, Source, Task


@dataclass(frozen=True)
class Choice:
    """What an entry gives for one model: samples to report, and samples on which its candidates are compared."""

    source: Source
    compared: Source
    model: Model
    entry: Candidates

    @cached_property
    def shared(self) -> int:
        """The number of samples on which candidates are compared and which are reported too."""
        return len({*self.compared.ids} & {*self.source.ids})

    def _key(self, metrics: Sequence[Metric], combinations: Sequence[str], contents: Callable[..., str]) -> str:
        identities = [metric.identity for metric in metrics]
        return choice_key(
            identities, combinations, self.compared.ids, contents(self.compared.dataset, *self.compared.ids)
        )


@dataclass(frozen=True)
class CombinationChoice(Choice):
    """Combinations for one target and reduction, compared by the metric of the entry."""

    entry: ExplainerChoice
    candidates: tuple[Combination, ...]

    @property
    def metric(self) -> Metric:
        """The metric by which the candidates are compared, as in the config."""
        return self.entry.select.by

    @property
    def reported(self) -> tuple[Combination, ...]:
        """The candidates on the reported samples."""
        return tuple(replace(item, source=self.source) for item in self.candidates)

    def key(self, metric: Metric, contents: Callable[..., str]) -> str:
        """The key of its entry in ``selection.yaml``, by the metric as it was filled and the files of the samples."""
        return self._key([metric], [item.key for item in self.candidates], contents)


@dataclass(frozen=True)
class MetricSettingsChoice(Choice):
    """Metrics of the predictions of a model, or of the heatmaps of one combination on the compared samples."""

    entry: MetricChoice
    combination: Combination | None

    @property
    def owner(self) -> str:
        """The key of what the metrics measure."""
        if self.combination is not None:
            return self.combination.key
        return predictions_key(self.source.dataset.identity, self.model.identity)

    def key(self, metrics: Sequence[Metric], contents: Callable[..., str]) -> str:
        """The key of its entry in ``selection.yaml``, by the metrics as they were filled."""
        return self._key(metrics, [self.owner], contents)


def compared_on(source: Source, entry: Candidates) -> Source:
    """The samples on which the candidates of an entry are compared; raises ``DataError`` if there are none."""
    dataset = source.dataset
    split = _split(dataset, entry)
    ids = tuple(dataset.ids(split)) if split else ()
    if not ids:
        seen = f"{entry.short} is selected on split {entry.select.on!r} of {dataset.short}, which has no sample"
        raise DataError(f"{seen}; give that split a share, name another by select.on, or leave out select.")
    return Source(dataset, str(split), ids)


def _split(dataset: Dataset, entry: Candidates) -> str | None:
    """The name of the split on which an entry is selected; None for a data set without a tuning split."""
    if entry.select.on == TUNING and TUNING not in dataset.splits:
        return dataset.tuning
    dataset.require_split(entry.select.on)
    return entry.select.on


def require_unseen(choices: Iterable[Choice]) -> None:
    """Raise ``DataError`` for a choice on reported samples that its entry does not allow."""
    for choice in choices:
        if choice.shared and not choice.entry.select.reported:
            where = f"split {choice.compared.split!r} of {choice.source.dataset.short}"
            seen = f"{choice.entry.short} is selected on {where}, of which {choice.shared} samples are also reported"
            advice = "report another split, or write reported: true in select, which flags every table of that split."
            raise DataError(f"{seen}; {advice}")


def comparing_tasks(
    config: RunConfig, jobs: Iterable[tuple[Choice, Mapping[str, Combination], Sequence[Metric]]],
    contents: Callable[..., str],
) -> Iterator[Task]:  # fmt: skip
    """The tasks that score all candidates: of each choice its combinations by key, and the metrics as they were filled.

    Metrics of predictions are computed for the model of the choice, the others for all its combinations.
    """
    grouped: dict[tuple[object, str], _Group] = {}
    for choice, combinations, metrics in jobs:
        group = grouped.setdefault((choice.compared.key, choice.model.identity), _Group(choice.compared, choice.model))
        group.combinations.update(combinations)
        for metric in metrics:
            if "heatmap" not in metric.needs:
                group.others[metric.identity] = metric
            for key in combinations:
                group.metrics_of.setdefault(key, {})[metric.identity] = metric
    for group in grouped.values():
        metrics_of = {key: tuple(metrics.values()) for key, metrics in group.metrics_of.items()}
        items = list(group.combinations.values())
        others = tuple(group.others.values())
        yield from chunks(config, group.source, group.model, items, contents, metrics_of, others)


@dataclass(frozen=True)
class _Group:
    """What is compared on the same samples with one model; metrics by identity."""

    source: Source
    model: Model
    combinations: dict[str, Combination] = field(default_factory=dict)
    metrics_of: dict[str, dict[str, Metric]] = field(default_factory=dict)
    others: dict[str, Metric] = field(default_factory=dict)
