"""Laws of explainers on toys with evidence known in closed form: position, sign and sum of a map, and its gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..explainer import REDUCTIONS
from ..records import Array
from .bench import ExplainerBench, batch_of, difference, in_float64, values_of
from .check import NotApplicable, claim
from .toys import Linear, Piecewise, Regions, Residual, Toy, region

NEGLIGIBLE = 1e-6
"""A difference relative to the largest value that counts as none."""
COMPLETENESS = 1e-4
"""The largest error of a complete map's sum, relative to the sum of absolute values."""
CHANCE = 1.5
"""The smallest share of heat on the region that decides, relative to the region's area."""
STEP = 1e-6
"""The step of finite differences."""


def maps_follow_the_target(bench: ExplainerBench) -> None:
    """On a network with two classes that depend on different regions, another target gives another map.

    Every map must differ by more than 1e-6 of its largest value; with the trait ``targetless`` all maps must be equal
    to the bit. The law does not apply to ``model_free`` explainers.
    """
    _require_model(bench)
    batch = bench.toy(Regions(dimensions=_dimensions(bench)))
    left, right = (_explained_for(bench, batch, side) for side in range(2))
    if _targetless(bench):
        claim(torch.equal(left, right), "claims the trait 'targetless', but another target gives a different map.")
        return
    smallest = min(map(difference, left, right))
    claim(smallest > NEGLIGIBLE, "the map is the same for every target.")


def heat_lies_on_the_region_that_decides(bench: ExplainerBench) -> None:
    """On a network with classes that depend on one region each, positive heat lies there more often than by chance.

    Its mean share must be at least 1.5 times the region's share of the area; a random heatmap reaches 1.1 at most. For
    a ``targetless`` map both regions count.
    """
    _require_model(bench)
    dimensions = _dimensions(bench)
    batch = bench.toy(Regions(dimensions=dimensions))
    for side, inside in enumerate(_deciding(bench, dimensions)):
        share = _share(_explained_for(bench, batch, side), inside)
        area = float(inside.mean())
        claim(
            share > CHANCE * area, f"{share:.0%} of the heat lies on the region that decides, {area:.0%} of the area."
        )


def signs_follow_the_weights_of_a_linear_model(bench: ExplainerBench) -> None:
    """On a bright image the mean of a ``signed`` map is positive at positive weights, negative at negative ones.

    Methods of any scale, smoothing or patch size obey it, if their sign means evidence for or against the target.
    """
    _require_trait(bench, "signed")
    batch = bench.toy(Linear(dimensions=_dimensions(bench)))
    for side in range(2):
        values = _explained_for(bench, batch, side).sum(1)
        positive, negative = (
            values[:, torch.from_numpy(region(index, _dimensions(bench)))].mean(1) for index in (side, 1 - side)
        )
        claim(bool((positive > 0).all()), "the mean over pixels of positive weight is not positive.")
        claim(bool((negative < 0).all()), "the mean over pixels of negative weight is not negative.")


def pixels_without_weight_get_nothing_on_a_linear_model(bench: ExplainerBench) -> None:
    """A ``complete`` map gives a pixel that cannot change the score at most 1e-6 of its largest value.

    The law applies to ``complete`` maps only, since the patches and superpixels of others may reach such pixels.
    """
    _require_trait(bench, "complete")
    batch = bench.toy(Linear(dimensions=_dimensions(bench)))
    idle = torch.from_numpy(~(region(0, _dimensions(bench)) | region(1, _dimensions(bench))))
    values = bench.explained(batch)
    spilled = float(values[..., idle].abs().max() / values.abs().max())
    claim(
        spilled <= NEGLIGIBLE,
        f"pixels without weight get {spilled:.1e} of the largest value; allowed: {NEGLIGIBLE:.0e}.",
    )


def values_sum_to_the_score_where_complete(bench: ExplainerBench) -> None:
    """``complete`` values sum to the score less that of the reference: within 1e-4 of the sum of absolute values.

    Checked on a linear model and on a piecewise linear one without biases, where paths from zero are exact. The
    reference is a black image, or the result of the explainer's method ``baseline(batch)``.
    """
    _require_trait(bench, "complete")
    gaps = [gap for gap in (_gap(bench, toy) for toy in (Linear, Piecewise)) if gap is not None]
    if not gaps:
        raise NotApplicable("not defined on the toys")
    worst = max(gaps)
    claim(worst <= COMPLETENESS, f"the sum misses the score by {worst:.1e} of the map; allowed: {COMPLETENESS:.0e}.")


def a_model_free_map_never_asks_the_model(bench: ExplainerBench) -> None:
    """A ``model_free`` map is the same, to the bit, for a model without a network."""
    _require_trait(bench, "model_free")
    batch = bench.batch()
    explainer = bench.explainer(batch.model)
    unbuilt = Batch(_Unbuilt(), batch.ids, batch.images, batch.targets, seed=batch.seed)
    claim(torch.equal(bench.explained(batch), values_of(explainer(unbuilt))), "the map depends on the model.")


def a_loss_on_the_map_reaches_the_weights(bench: ExplainerBench) -> None:
    """For a ``differentiable`` map the gradient of its mean square by the trained Parameters is correct.

    Along the gradient it agrees with a central difference to 1e-4, in float64. The map is the same as at inference.
    """
    _require_trait(bench, "differentiable")
    model = in_float64(bench.model)
    batch = _training_batch(bench, model)
    values = bench.explainer(model)(batch).values
    claim(
        difference(bench.explained(bench.batch()), values.detach()) <= 1e-10,
        "the map differs from the one at inference.",
    )
    claim(values.requires_grad, "the map is detached from the weights.")
    parameters = list(model.network.parameters())
    gradients = torch.autograd.grad(values.square().mean(), parameters, allow_unused=True, materialize_grads=True)
    length = float(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    claim(length > 0, "no weight has a gradient.")
    slope = _slope(bench, model, [gradient / length for gradient in gradients])
    claim(
        abs(slope - length) <= 1e-4 * length,
        f"the gradient's length is {length:.6g}, finite differences give {slope:.6g}.",
    )


LAWS: tuple[Callable[[ExplainerBench], None], ...] = (
    maps_follow_the_target,
    heat_lies_on_the_region_that_decides,
    signs_follow_the_weights_of_a_linear_model,
    pixels_without_weight_get_nothing_on_a_linear_model,
    values_sum_to_the_score_where_complete,
    a_model_free_map_never_asks_the_model,
    a_loss_on_the_map_reaches_the_weights,
)


class _Unbuilt(Residual):
    """A model that refuses to build its network."""

    def build(self) -> Any:
        raise RuntimeError("a model-free explainer asked for the network")


def _require_trait(bench: ExplainerBench, trait: str) -> None:
    if trait not in bench.explainer(bench.model).traits:
        raise NotApplicable(f"does not claim the trait {trait!r}")


def _require_model(bench: ExplainerBench) -> None:
    if "model_free" in bench.explainer(bench.model).traits:
        raise NotApplicable("model_free: it does not use the target")


def _targetless(bench: ExplainerBench) -> bool:
    return "targetless" in bench.explainer(bench.model).traits


def _deciding(bench: ExplainerBench, dimensions: int) -> list[Array]:
    """The region that decides for each target; for a ``targetless`` map, both regions together."""
    left, right = (region(side, dimensions) for side in range(2))
    if _targetless(bench):
        return [left | right]
    return [left, right]


def _dimensions(bench: ExplainerBench) -> int:
    return min(bench.explainer(bench.model).spaces & {2, 3}, default=2)


def _explained_for(bench: ExplainerBench, batch: Batch, side: int) -> Tensor:
    return bench.explained(batch.at(targets=[side] * len(batch)))


def _share(values: Tensor, inside: Array) -> float:
    """The share of positive heat in a region, as mean over samples; the largest channel of a pixel counts."""
    heat = REDUCTIONS["max"](values).clamp_min(0).numpy()
    totals = heat.reshape(len(heat), -1).sum(1)
    return float(np.mean(heat[:, inside].sum(1) / np.maximum(totals, np.finfo(float).tiny)))


def _gap(bench: ExplainerBench, toy: type[Toy]) -> float | None:
    """The largest error of the sums on a toy, relative to the sums of absolute values; None if not defined on it."""
    try:
        batch = bench.toy(toy(dimensions=_dimensions(bench)))
    except NotApplicable:
        return None
    explainer = bench.explainer(batch.model)
    baseline = getattr(explainer, "baseline", lambda batch: torch.zeros_like(batch.images))
    values = bench.explained(batch).flatten(1)
    expected = batch.score(batch.images) - batch.score(baseline(batch))
    return float(((values.sum(1) - expected).abs() / values.abs().sum(1)).max())


def _training_batch(bench: ExplainerBench, model: Any) -> Batch:
    explainer = bench.explainer(model)
    return batch_of(explainer, model, bench.samples, torch.float64, differentiable=True)


def _slope(bench: ExplainerBench, model: Any, direction: list[Tensor]) -> float:
    """The central difference of the map's mean square when the weights move along a direction."""
    means = []
    for step in (STEP, -2 * STEP, STEP):
        with torch.no_grad():
            for parameter, change in zip(model.network.parameters(), direction):
                parameter.add_(change, alpha=step)
        values = bench.explainer(model)(_training_batch(bench, model)).values
        means.append(float(values.detach().square().mean()))
    return (means[0] - means[1]) / (2 * STEP)
