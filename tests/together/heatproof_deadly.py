"""A plugin whose components crash, hang and exit on request."""

import ctypes
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.metric import Case, Metric
from heatproof.testing.toys import Regions, ToyParams

Fault = Literal["none", "segfault", "sleep", "spin", "exit 0", "_exit 0"]
FAULTS: Mapping[str, Callable[[], Any]] = {
    "none": lambda: None,
    "segfault": lambda: ctypes.string_at(0),
    "sleep": lambda: time.sleep(10**6),
    "spin": lambda: sum(range(10**15)),  # C code that holds the GIL
    "exit 0": lambda: sys.exit(0),
    "_exit 0": lambda: os._exit(0),
}


class HostileParams(Params):
    """What happens."""

    fault: Fault = "none"


class Hostile(Explainer[HostileParams]):
    """The image, unless something happens first."""

    def explain(self, batch: Batch) -> Tensor:
        """Maps (n, c, *space)."""
        FAULTS[self.params.fault]()
        return batch.images.clone()


class Judge(Metric[HostileParams]):
    """The mean heat, unless something happens first."""

    needs = frozenset({"heatmap"})

    def measure(self, case: Case) -> dict[str, float]:
        """``value``."""
        assert case.heatmap is not None
        FAULTS[self.params.fault]()
        return {"value": float(case.heatmap.values.mean())}


class CrashingParams(ToyParams):
    """What happens while a batch is put together."""

    fault: Fault = "none"


class Crashing(Regions[CrashingParams]):
    """A model with a hostile ``collate``."""

    def collate(self, samples: Any) -> Any:
        """No further inputs."""
        FAULTS[self.params.fault]()
        return super().collate(samples)


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the explainer."""
    return {"hostile": "heatproof_deadly:Hostile"}


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the metric."""
    return {"judge": "heatproof_deadly:Judge"}


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the model."""
    return {"crashing": "heatproof_deadly:Crashing"}
