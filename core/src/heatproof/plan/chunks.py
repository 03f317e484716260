"""The chunks of a dataset and model: their tasks, with the units of all combinations."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..config.settings import RunConfig
from ..metric import Metric
from ..model import Model
from .keys import heatmap_key
from .task import Combination, Source, Task, Unit


def chunks(
    config: RunConfig, source: Source, model: Model, combinations: Sequence[Combination],
    contents: Callable[..., str], metrics_of: Mapping[str, tuple[Metric, ...]], other_metrics: tuple[Metric, ...],
) -> Iterator[Task]:  # fmt: skip
    """The tasks of a dataset and model; ``metrics_of``: key of a combination → the metrics of its heatmaps.

    ``contents`` digests the files of samples, as ``Contents.of``; ``other_metrics`` need no heatmap.
    """
    layers = tuple(sorted({layer for item in combinations for layer in item.layers}))
    requests = tuple(sorted({request for item in combinations for request in item.requests}))
    for start in range(0, len(source.ids), config.chunk):
        ids = source.ids[start : start + config.chunk]
        content = contents(source.dataset, *ids)
        units = tuple(
            Unit(item, heatmap_key(item.key, ids, content), metrics_of.get(item.key, ())) for item in combinations
        )
        yield Task(source, model, ids, units, other_metrics, layers, requests, config.seed, content)
