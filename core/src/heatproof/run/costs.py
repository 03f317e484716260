"""The costs of a config before it runs, in numbers: what plugins estimate by the hook ``heatproof_plan_costs``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..config.settings import load
from ..dataset import Dataset
from ..model import Model
from ..plan.sample_cache import NOWHERE, Cache, first_readable
from ..registry.catalog import Catalog
from .batch_size import seconds_of_pass
from .runner import ready


def costs(path: Path, catalog: Catalog, overrides: Sequence[str] = ()) -> list[Mapping[str, Any]]:
    """Return what each plugin estimates of the config in a file, changed by ``a.b=value``.

    Raises what planning raises: nothing is estimated of a config that cannot run.
    """
    return catalog.call("heatproof_plan_costs", plan=ready(load(path, catalog, overrides), catalog))


def pass_seconds(dataset: Dataset, model: Model, ids: Sequence[str], cache: Cache = NOWHERE) -> float:
    """Measure the seconds of a forward and backward pass over one sample, on the graphics card if there is one.

    NaN where none of the samples can be read.
    """
    sample = first_readable(dataset, model, ids, cache)
    if sample is None:
        return float("nan")
    return seconds_of_pass(model, sample, 1, "cuda" if torch.cuda.is_available() else "cpu")
