"""Integrated gradients along the straight path from a reference image."""

from typing import Self

from pydantic import Field, model_validator
from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.records import Explanation
from heatproof_shared_passes.sampling import Tolerance, sampling_notes

from .path import PathRule, mean_map, path_gradients
from .references import ReferenceParams, references


class IntegratedGradientsParams(ReferenceParams):
    """The points on the path, and the references at which it begins.

    ``steps``: the number of points on the path; ``rule``: the position of each point within its step. ``tolerance``:
    the largest relative L2 error of the map; instead of ``steps`` points, each sample takes 25, 75, 225 … midpoints
    until its estimated error is small enough, but at most ``max_steps``. The other settings are those of
    ``ReferenceParams``.
    """

    steps: int = Field(default=64, ge=1, le=100_000)
    rule: PathRule = "midpoint"
    tolerance: float | None = Field(default=None, gt=0, le=1e6)
    max_steps: int = Field(default=675, ge=1, le=100_000)

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.tolerance is None:
            self._require_default("max_steps", "without")
            return self
        self._require_default("steps", "with")
        if self.rule != "midpoint":
            raise ValueError(f"rule must be midpoint with a tolerance (got {self.rule}); leave out one of the two")
        return self

    def _require_default(self, name: str, preposition: str) -> None:
        """Raise ``ValueError`` if a setting without effect differs from its default."""
        if getattr(self, name) != type(self).model_fields[name].default:
            raise ValueError(f"{name} has no effect {preposition} a tolerance; leave it out")

    @property
    def points(self) -> int | Tolerance:
        """The number of points, or the tolerance that decides it."""
        if self.tolerance is None:
            return self.steps
        return Tolerance(self.tolerance, self.max_steps)


class IntegratedGradients(Explainer[IntegratedGradientsParams]):
    """The contribution of each value along the straight path from a reference (Sundararajan et al. 2017).

    The map is image minus reference, times the mean gradient along the path; of several references it is the mean over
    them, which expected gradients (Erion et al. 2021) and captum's GradientShap approach by random draws. With finer
    steps its sum approaches the difference of the scores of image and reference. The note ``completeness_gap`` is the
    error of that sum; it does not bound the error of the map, which the note ``relative_error`` estimates for the
    midpoint rule. That rule has the smallest error for a given number of steps; iNNvestigate has the rule ``left``,
    zennit ``right``. The note ``passes`` is the number of gradients. With a tolerance, the note ``stopped_by`` is
    ``tolerance`` or ``limit``.
    """

    reads_logits = True

    @property
    def traits(self) -> frozenset[str]:
        """Complete and differentiable; signed or, for random references, seeded."""
        return frozenset({"complete", "differentiable"}) | self.params.traits

    @property
    def passes(self) -> tuple[int, int]:
        """A forward and backward per step, at most so with a tolerance, and forwards of image and references."""
        steps = self.params.steps
        if self.params.tolerance is not None:
            steps = self.params.max_steps
        return self.params.count * (steps + 1) + 1, self.params.count * steps

    def content(self) -> str:
        """The digest of the files of a folder of references."""
        return self.params.content()

    def baseline(self, batch: Batch) -> Tensor:
        """The first reference images (n, c, *space)."""
        return next(references(batch, self.params)).images.expand_as(batch.images)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        settings = self.params
        paths = (
            (path_gradients(batch, settings.points, settings.rule, item), item) for item in references(batch, settings)
        )
        result = mean_map(batch, list(paths))
        notes = {"completeness_gap": result.gap.tolist()} | sampling_notes(result, settings.points)
        return Explanation(result.values, notes=notes)
