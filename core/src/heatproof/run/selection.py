"""Fills open Params (weights, thresholds) from the tuning split, before the final plan, and freezes them."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from ..component import plain
from ..dataset import Dataset
from ..digests import digest
from ..errors import DataError, HeatproofError, PluginError
from ..metric import Metric
from ..model import Model
from ..plan.plan import Fitted, Plan
from ..plan.sample_cache import NOWHERE, Cache, prepared
from ..plan.task import Source
from ..records import Sample
from ..results.store import Run, read_yaml, write_text

FILE = "selection.yaml"


@dataclass(frozen=True)
class Selection:
    """The fitted metrics, and a remark where a reported split itself was used for filling."""

    fitted: Fitted
    flags: Mapping[tuple[str, str, str], str]
    """(metric identity, dataset identity, split) → the remark."""
    given: Mapping[str, Metric]
    """Identity of a fitted metric → the metric as configured."""


class _Readable:
    """The prepared samples of the tuning split; those that cannot be read are counted and left out."""

    def __init__(self, dataset: Dataset, model: Model, ids: list[str], cache: Cache):
        self.dataset, self.model, self.ids, self.cache = dataset, model, ids, cache
        self.read, self.unread = 0, 0

    def __iter__(self) -> Iterator[Sample]:
        self.read = self.unread = 0
        for id in self.ids:
            try:
                sample = prepared(self.cache).sample(self.dataset, self.model, id)
            except Exception:
                # Its own row will say what is wrong with it.
                self.unread += 1
                continue
            self.read += 1
            yield sample
        if not self.read:
            raise DataError(
                f"none of the {len(self.ids)} samples in split {self.dataset.tuning or 'all'} of {self.dataset.short} "
                "can be read; check the folder with `heatproof data check`"
            )


def fill(plan: Plan, run: Run, cache: Cache = NOWHERE) -> Selection:
    """Every open metric filled per dataset and grid: from ``selection.yaml`` where it is frozen, else from samples."""
    frozen = read_yaml(run.folder / FILE, "remove it and run again")
    fitted: dict[tuple[str, str, str], Metric] = {}
    flags: dict[tuple[str, str, str], str] = {}
    for source, model, _ in plan.jobs():
        for metric in (metric for metric in plan.metrics if metric.open):
            place = (metric.identity, source.dataset.identity, model.grid)
            key = digest(list(place))
            if place not in fitted:
                if key not in frozen:
                    frozen[key] = _filled(metric, source.dataset, model, cache)
                    _write(run, frozen)
                fitted[place] = metric.with_(**frozen[key]["filled"])
            if flag := _flag(frozen[key], source):
                flags[fitted[place].identity, source.dataset.identity, source.split] = flag
    configured = {metric.identity: metric for metric in plan.metrics}
    return Selection(fitted, flags, {made.identity: configured[place[0]] for place, made in fitted.items()})


def _filled(metric: Metric, dataset: Dataset, model: Model, cache: Cache) -> dict[str, Any]:
    """What ``fit`` makes of the tuning split (all samples where there is none)."""
    samples = _Readable(dataset, model, dataset.ids(dataset.tuning), cache)
    if not samples.ids:
        raise DataError(
            f"{metric.short} fills {', '.join(metric.open)} from split {dataset.tuning or 'all'} of {dataset.short}, "
            "which has no sample; give that split a share, or set them in the config."
        )
    try:
        made = metric.fit(samples)
    except Exception as error:
        told = isinstance(error, HeatproofError)
        raise PluginError(
            f"{metric.short} cannot fill {', '.join(metric.open)} from {dataset.short} "
            f"({str(error).rstrip('.') if told else f'{type(error).__name__}: {error}'}); set them in the config, or "
            "leave the metric out."
        ) from error
    return {
        "metric": metric.name,
        "dataset": dataset.name,
        "grid": model.grid,
        "split": dataset.tuning or "all",
        "samples": samples.read,
        "unreadable": samples.unread,
        "filled": {name: plain(getattr(made.params, name)) for name in metric.open},
    }


def _flag(entry: Mapping[str, Any], source: Source) -> str:
    if entry["split"] not in (source.split, "all") and source.split != "all":
        return ""
    return f"{', '.join(entry['filled'])} filled on the reported split ({entry['samples']} samples)"


def _write(run: Run, frozen: Mapping[str, Any]) -> None:
    text = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(dict(frozen), text)
    write_text(run.folder / FILE, text.getvalue())
