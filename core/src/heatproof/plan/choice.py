"""Combinations on one split, of which the best by a metric is reported on another."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..config.choices import TUNING, ExplainerChoice
from ..config.settings import RunConfig
from ..dataset import Dataset
from ..errors import DataError
from ..metric import Metric
from ..model import Model
from ..plan.keys import choice_key
from .chunks import chunks
from .task import Combination, Source, Task


@dataclass(frozen=True)
class Choice:
    """The candidates of an entry for one model, target and reduction; the selected one is reported on ``source``."""

    source: Source
    entry: ExplainerChoice
    candidates: tuple[Combination, ...]

    @property
    def compared(self) -> Source:
        """The samples on which the candidates are compared."""
        return self.candidates[0].source

    @property
    def metric(self) -> Metric:
        """The metric by which the candidates are compared, as in the config."""
        return self.entry.select.by

    @cached_property
    def shared(self) -> int:
        """The number of samples on which candidates are compared and which are reported too."""
        return len({*self.compared.ids} & {*self.source.ids})

    @property
    def reported(self) -> tuple[Combination, ...]:
        """The candidates on the reported samples."""
        return tuple(replace(item, source=self.source) for item in self.candidates)

    def key(self, metric: Metric, contents: Callable[..., str]) -> str:
        """The key of its entry in ``selection.yaml``, by the metric as it was filled and the files of the samples."""
        compared = self.compared
        keys = [item.key for item in self.candidates]
        return choice_key(metric.identity, keys, compared.ids, contents(compared.dataset, *compared.ids))


def compared_on(source: Source, entry: ExplainerChoice) -> Source:
    """The samples on which the candidates of an entry are compared; raises ``DataError`` if there are none."""
    dataset = source.dataset
    split = _split(dataset, entry)
    ids = tuple(dataset.ids(split)) if split else ()
    if not ids:
        seen = f"{entry.short} is selected on split {entry.select.on!r} of {dataset.short}, which has no sample"
        raise DataError(f"{seen}; give that split a share, name another by select.on, or leave out select.")
    return Source(dataset, str(split), ids)


def _split(dataset: Dataset, entry: ExplainerChoice) -> str | None:
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


def choice_tasks(
    config: RunConfig, choices: Sequence[Choice], metric_of: Callable[[Choice], Metric], contents: Callable[..., str]
) -> Iterator[Task]:
    """The tasks that explain and score all candidates; ``metric_of``: a choice → its metric as it was filled."""
    jobs: dict[tuple[object, str], tuple[Source, Model, dict[str, Combination], dict[str, dict[str, Metric]]]] = {}
    for choice in choices:
        model = choice.candidates[0].model
        job = jobs.setdefault((choice.compared.key, model.identity), (choice.compared, model, {}, {}))
        metric = metric_of(choice)
        for item in choice.candidates:
            job[2].setdefault(item.key, item)
            job[3].setdefault(item.key, {})[metric.identity] = metric
    for source, model, items, scored in jobs.values():
        metrics_of = {key: tuple(metrics.values()) for key, metrics in scored.items()}
        yield from chunks(config, source, model, list(items.values()), contents, metrics_of, ())
