"""Max-sensitivity: how much a heatmap changes when its image hardly changes."""

import numpy as np
import torch
from pydantic import Field

from heatproof.batch import Batch, require_finite
from heatproof.component import Params
from heatproof.errors import Undefined
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.records import Array
from heatproof.seeding import generator

from .ranking import finite_heatmap


class MaxSensitivityParams(Params):
    """Heatmaps of ``samples`` noisy copies are compared; noise is at most ``radius``, in prepared units."""

    samples: int = Field(10, ge=1, le=100_000)
    radius: float = Field(0.02, gt=0, le=1e6)


class MaxSensitivity(Metric[MaxSensitivityParams]):
    """The largest change of a heatmap among noisy copies of the image, as an L2 norm relative to the stored heatmap.

    ``mean`` is the mean change. Noise is uniform, drawn by seed, id and number of the copy: every explainer gets the
    same copies. An explainer that draws random numbers itself uses one seed for all copies.

    Yeh et al., "On the (in)fidelity and sensitivity of explanations", NeurIPS 2019.
    """

    needs = frozenset({"heatmap", "explainer"})
    higher_is_better = False

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count one explanation per copy."""
        return self.params.samples * explanation[0], self.params.samples * explanation[1]

    def measure(self, case: Case) -> dict[str, float]:
        """Return ``value`` and ``mean``; raises ``Undefined`` where the stored heatmap is zero everywhere."""
        assert case.batch is not None
        batch = case.batch
        heatmap = finite_heatmap(case)
        if not heatmap.any():
            raise Undefined("the heatmap is zero everywhere: no change is relative to it")
        parts = batch.budget.pieced(self.params.samples, lambda piece: self._changes(case, batch, heatmap, piece))
        changes = np.concatenate(parts) / np.linalg.norm(heatmap)
        if not np.isfinite(changes).all():
            raise Undefined("the heatmap of an image nearby holds values that are not finite")
        return {"value": float(changes.max()), "mean": float(changes.mean())}

    def _changes(self, case: Case, batch: Batch, heatmap: Array, piece: slice) -> Array:
        """Compute the norms (m,) of the differences between the heatmaps of some copies and the stored one."""
        assert case.explain is not None
        numbers = range(self.params.samples)[piece]
        noise = torch.from_numpy(np.stack([self.noise(batch, number) for number in numbers])).to(batch.images)
        copies = require_finite(batch.images + noise, batch.ids * len(numbers), "a noisy copy", "lower the radius")
        maps = case.explain(batch.select([0] * len(numbers)).at(copies))
        return np.asarray(np.linalg.norm((maps - heatmap).reshape(len(numbers), -1), axis=1))

    def noise(self, batch: Batch, number: int) -> Array:
        """Draw the noise (c, *space) of one copy, in [-radius, radius)."""
        random = generator(batch.seed, batch.ids[0], "sensitivity", number)
        return random.uniform(-self.params.radius, self.params.radius, tuple(batch.images.shape[1:]))
