"""Fill open settings, such as thresholds, from the tuning split, and freeze them in ``selection.yaml``."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from ruamel.yaml import YAML

from ..component import plain
from ..dataset import Dataset
from ..digests import digest
from ..errors import DataError, HeatproofError, PluginError, StoreError
from ..metric import Metric
from ..model import Model
from ..plan.plan import Fitted, Plan, Selected, Tuned
from ..plan.sample_cache import NOWHERE, Cache, prepared
from ..plan.task import Source
from ..records import Sample
from ..results.checksums import DamagedUnit
from ..results.scores import Flags
from ..results.store import Run
from ..watch import settled
from .execution import Observer

FILE = "selection.yaml"


@dataclass(frozen=True)
class Selection:
    """The fitted and the tuned metrics, and remarks on metrics that were filled from a reported split."""

    fitted: Fitted
    flags: Flags
    unfilled: Mapping[str, Metric]
    """Identity of a fitted or tuned metric → the metric as in the config."""
    tuned: Tuned = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    """Identity of a tuned metric → that of the metric before, under which combinations are compared."""
    chosen: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(dataset identity, split) → a remark on explainers that were selected on reported samples."""
    selected: Selected = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    """Identity of a selected metric → the name of its entry, which is the same for all combinations."""
    keys: frozenset[str] = frozenset()
    """The keys in ``selection.yaml`` of what was filled or selected."""


@dataclass
class _ReadableSamples:
    """The prepared samples of the tuning split; skips and counts the unreadable ones."""

    dataset: Dataset
    model: Model
    ids: list[str]
    cache: Cache
    observer: Observer
    read: int = 0
    unreadable: int = 0

    def __iter__(self) -> Iterator[Sample]:
        self.read = self.unreadable = 0
        for number, id in enumerate(self.ids):
            self.observer.step(f"filling open settings: {number} of {len(self.ids)} samples of {self.dataset.short}")
            try:
                sample = prepared(self.cache).sample(self.dataset, self.model, id)
            except Exception:
                self.unreadable += 1
                continue
            self.read += 1
            yield sample
        if not self.read:
            raise DataError(
                f"no sample in split {self.dataset.tuning or 'all'} of {self.dataset.short} can be read "
                f"(tried: {len(self.ids)}); check the folder with `{self.dataset.check_command}`"
            )


def fill(plan: Plan, run: Run, cache: Cache = NOWHERE, observer: Observer | None = None) -> Selection:
    """Fill every open metric per dataset and grid, from ``selection.yaml`` if it is frozen there, or from samples."""
    observer = observer or Observer()
    frozen = frozen_settings(run)
    fitted: dict[tuple[str, str, str], Metric] = {}
    flags: dict[tuple[str, str, str], str] = {}
    unfilled: dict[str, Metric] = {}
    keys: set[str] = set()
    for (source, model, _), metric in product(plan.jobs(), [metric for metric in plan.config.measuring if metric.open]):
        dataset = source.dataset
        parts = (metric.identity, dataset.identity, model.grid)
        ids = dataset.ids(dataset.tuning)
        key = digest([*parts, prepared(cache).contents.of(dataset, *ids)])
        keys.add(key)
        if key not in frozen:
            frozen[key] = _fill_metric(metric, _ReadableSamples(dataset, model, ids, cache, observer))
            freeze(run, frozen)
        if parts not in fitted:
            fitted[parts] = metric.with_(**frozen[key]["filled"])
            unfilled[fitted[parts].identity] = metric
        if flag := _flag(frozen[key], source):
            flags[fitted[parts].identity, dataset.identity, source.split] = flag
    return Selection(fitted, flags, unfilled, keys=frozenset(keys))


def forget_others(run: Run, selection: Selection) -> None:
    """Remove from ``selection.yaml`` what belongs to another config or other files, as tables do not contain it."""
    frozen = frozen_settings(run)
    used = {key: entry for key, entry in frozen.items() if key in selection.keys}
    if len(used) < len(frozen):
        freeze(run, used)


def require_tuning(plan: Plan) -> None:
    """Raise ``DataError`` for a metric to fill from a split without samples, or to tune on reported ones."""
    for metric, (source, _, _) in product(plan.config.measuring, plan.jobs()):
        dataset = source.dataset
        names = ", ".join((*metric.open, *metric.untuned))
        if names and not dataset.ids(dataset.tuning):
            raise DataError(
                f"{metric.short} fills {names} from split {dataset.tuning or 'all'} of "
                f"{dataset.short}, which has no sample; give that split a share, or set the values in the config."
            )
        if metric.untuned and (dataset.tuning is None or {*dataset.ids(dataset.tuning)} & {*source.ids}):
            split = f"its tuning split {dataset.tuning!r}" if dataset.tuning else "a tuning split, which it has not"
            raise DataError(
                f"{metric.short} tunes {', '.join(metric.untuned)} on heatmaps of other images than split "
                f"{source.split!r} of {dataset.short} reports: on {split}; report another split, or set the values in "
                "the config."
            )


def frozen_settings(run: Run) -> dict[str, Any]:
    """The entries of ``selection.yaml``; none, which is said, if it is damaged: filling them again is safe."""
    try:
        return run.mapping(FILE)
    except StoreError as error:
        freeze(run, {})
        run.say(f"its settings are filled again, since {str(error).split(';')[0]}")
        return {}


def _fill_metric(metric: Metric, samples: _ReadableSamples) -> dict[str, Any]:
    """The entry of ``selection.yaml`` for a metric fitted on samples: the tuning split, or all if there is none."""
    dataset = samples.dataset
    filled = filled_by(metric, metric.open, dataset, lambda: metric.fit(samples))
    return {
        "metric": metric.name, "dataset": dataset.name, "grid": samples.model.grid, "split": dataset.tuning or "all",
        "samples": samples.read, "unreadable": samples.unreadable, "filled": filled,
    }  # fmt: skip


def filled_by(metric: Metric, names: Sequence[str], dataset: Dataset, compute: Callable[[], Metric]) -> dict[str, Any]:
    """The values of these settings in the metric that ``compute`` returns; raises ``PluginError`` where it fails."""
    try:
        filled = settled(metric.short, compute)
    except DamagedUnit:
        raise
    except Exception as error:
        reason = str(error).rstrip(".") if isinstance(error, HeatproofError) else f"{type(error).__name__}: {error}"
        raise PluginError(
            f"{metric.short} cannot fill {', '.join(names)} from {dataset.short} ({reason}); set the values "
            "in the config, or leave the metric out."
        ) from error
    return {name: plain(getattr(filled.params, name)) for name in names}


def _flag(entry: Mapping[str, Any], source: Source) -> str:
    """A remark if the samples that filled a metric are also reported; otherwise empty."""
    if entry["split"] not in (source.split, "all") and source.split != "all":
        return ""
    return f"{', '.join(entry['filled'])} filled on the reported split ({entry['samples']} samples)"


def freeze(run: Run, frozen: Mapping[str, Any]) -> None:
    """Write ``selection.yaml``."""
    text = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(dict(frozen), text)
    run.write(FILE, text.getvalue())
