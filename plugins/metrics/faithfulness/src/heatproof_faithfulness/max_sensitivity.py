"""Max-sensitivity: how far a heatmap moves when its image hardly does."""

import numpy as np
import torch
from pydantic import Field

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import Undefined
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.records import Array
from heatproof.seeding import generator

from .ranking import finite


class MaxSensitivityParams(Params):
    """The heatmaps of ``samples`` images are looked at whose values differ by up to ``radius``, in prepared units."""

    samples: int = Field(10, ge=1)
    radius: float = Field(0.02, gt=0, allow_inf_nan=False)


class MaxSensitivity(Metric[MaxSensitivityParams]):
    """The largest change of a heatmap among images near its own, as L2 norms relative to the stored heatmap.

    ``mean`` is the mean change. Noise is uniform, drawn by seed, id and number of the copy: every explainer sees the
    same copies. An explainer that draws itself does so by the same seed for all of them.

    Yeh et al., "On the (in)fidelity and sensitivity of explanations", NeurIPS 2019.
    """

    needs = frozenset({"heatmap", "explainer"})
    higher_is_better = False

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """One explanation per sample."""
        return self.params.samples * explanation[0], self.params.samples * explanation[1]

    def measure(self, case: Case) -> dict[str, float]:
        """``value`` and ``mean``; ``Undefined`` where the stored heatmap is zero everywhere."""
        assert case.batch is not None
        batch, heat = case.batch, finite(case)
        if not heat.any():
            raise Undefined("the heatmap is zero everywhere: no change is relative to it")
        parts = batch.budget.pieced(self.params.samples, lambda piece: self._changes(case, batch, heat, piece))
        changes = np.concatenate(parts) / np.linalg.norm(heat)
        if not np.isfinite(changes).all():
            raise Undefined("the heatmap of an image nearby holds values that are not finite")
        return {"value": float(changes.max()), "mean": float(changes.mean())}

    def _changes(self, case: Case, batch: Batch, heat: Array, piece: slice) -> Array:
        """The norms (m,) of the differences between the heatmaps of some copies and the stored one."""
        assert case.explain is not None
        numbers = range(self.params.samples)[piece]
        noise = torch.from_numpy(np.stack([self.noise(batch, number) for number in numbers])).to(batch.images)
        maps = case.explain(batch.select([0] * len(numbers)).at(batch.images + noise))
        return np.asarray(np.linalg.norm((maps - heat).reshape(len(numbers), -1), axis=1))

    def noise(self, batch: Batch, number: int) -> Array:
        """What is added to the image (c, *space) in one copy, in [-radius, radius)."""
        draw = generator(batch.seed, batch.ids[0], "sensitivity", number)
        return draw.uniform(-self.params.radius, self.params.radius, tuple(batch.images.shape[1:]))
