"""Laws of explainers where the truth is known in closed form: what must be bright, dark, signed or summed up."""

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
COMPLETENESS = 1e-4
CHANCE = 1.5
STEP = 1e-6


def maps_follow_the_target(bench: ExplainerBench) -> None:
    """On a network whose two classes are driven by different regions, another target gives another map.

    Every map must differ by more than 1e-6 of its largest value; with the trait ``targetless`` all must be the same, to
    the bit. Explainers that are ``model_free`` are excused.
    """
    _require_model(bench)
    batch = bench.toy(Regions(dimensions=_dimensions(bench)))
    left, right = (_explained_for(bench, batch, side) for side in range(2))
    if _targetless(bench):
        claim(torch.equal(left, right), "claims the trait 'targetless', but another target gives another map.")
        return
    closest = min(difference(one, other) for one, other in zip(left, right))
    claim(closest > NEGLIGIBLE, "the map is the same for every target.")


def heat_lies_on_the_region_that_decides(bench: ExplainerBench) -> None:
    """On a network whose classes each read one known region, the mean share of positive heat in it beats chance.

    At least 1.5 times the region's share of the area; chance has 1, its spread over images stays below 1.1. For a
    ``targetless`` map every region decides.
    """
    _require_model(bench)
    dimensions = _dimensions(bench)
    batch = bench.toy(Regions(dimensions=dimensions))
    for side, inside in enumerate(_deciding(bench, dimensions)):
        share, area = _share(_explained_for(bench, batch, side), inside), float(inside.mean())
        claim(
            share > CHANCE * area, f"{share:.0%} of the heat lies on the region that decides, {area:.0%} of the area."
        )


def signs_follow_the_weights_of_a_linear_model(bench: ExplainerBench) -> None:
    """On a bright image the mean of a ``signed`` map is positive at positive weights, negative at negative ones.

    Any method whose sign means for or against the target obeys, whatever its scale, smoothing or patch.
    """
    _require_trait(bench, "signed")
    batch = bench.toy(Linear(dimensions=_dimensions(bench)))
    for side in range(2):
        values = _explained_for(bench, batch, side).sum(1)
        own, other = (
            values[:, torch.from_numpy(region(index, _dimensions(bench)))].mean(1) for index in (side, 1 - side)
        )
        claim(bool((own > 0).all()), "the mean over pixels of positive weight is not positive.")
        claim(bool((other < 0).all()), "the mean over pixels of negative weight is not negative.")


def pixels_without_weight_get_nothing_on_a_linear_model(bench: ExplainerBench) -> None:
    """A ``complete`` map gives a pixel that cannot change the score at most 1e-6 of its largest value.

    Only ``complete`` maps distribute the score itself; patches and superpixels may spill over, and are excused.
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
    """``complete`` values sum to the score less the baseline's: within 1e-4 of the sum of their absolute values.

    Tried on a linear model and on a piecewise linear one without biases, where paths from zero are exact. The baseline
    is a black image, or what the explainer's method ``baseline(batch)`` returns.
    """
    _require_trait(bench, "complete")
    tried = [_gap(bench, toy) for toy in (Linear, Piecewise)]
    if all(gap is None for gap in tried):
        raise NotApplicable("not defined on the toys")
    worst = max(gap for gap in tried if gap is not None)
    claim(worst <= COMPLETENESS, f"the sum misses the score by {worst:.1e} of the map; allowed: {COMPLETENESS:.0e}.")


def a_model_free_map_never_asks_the_model(bench: ExplainerBench) -> None:
    """A ``model_free`` map is the same, to the bit, for a model whose network cannot even be built."""
    _require_trait(bench, "model_free")
    batch = bench.batch()
    explainer = bench.explainer(batch.model)
    elsewhere = Batch(_Unbuilt(), batch.ids, batch.images, batch.targets, seed=batch.seed)
    claim(torch.equal(bench.explained(batch), values_of(explainer(elsewhere))), "the map depends on the model.")


def a_loss_on_the_map_reaches_the_weights(bench: ExplainerBench) -> None:
    """For a ``differentiable`` map the gradient of its mean square by the trained Parameters is true.

    Along its own direction it agrees with a central difference to 1e-4, in float64; the map is the inference map.
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
    found = torch.autograd.grad(values.square().mean(), parameters, allow_unused=True)
    gradients = [torch.zeros_like(own) if one is None else one for own, one in zip(parameters, found)]
    length = float(torch.cat([one.flatten() for one in gradients]).norm())
    claim(length > 0, "no weight has a gradient.")
    slope = _slope(bench, model, [one / length for one in gradients])
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
        raise NotApplicable("model_free: it knows no target")


def _targetless(bench: ExplainerBench) -> bool:
    return "targetless" in bench.explainer(bench.model).traits


def _deciding(bench: ExplainerBench, dimensions: int) -> list[Array]:
    """The region that decides for each target; both at once where all targets have one map."""
    left, right = (region(side, dimensions) for side in range(2))
    return [left | right] if _targetless(bench) else [left, right]


def _dimensions(bench: ExplainerBench) -> int:
    return min(bench.explainer(bench.model).spaces & {2, 3}, default=2)


def _explained_for(bench: ExplainerBench, batch: Batch, side: int) -> Tensor:
    return bench.explained(batch.at(targets=[side] * len(batch)))


def _share(values: Tensor, inside: Array) -> float:
    """The mean over samples of the share of positive heat, reduced by the largest channel, in a region."""
    heat = REDUCTIONS["max"](values).clamp_min(0).numpy()
    totals = heat.reshape(len(heat), -1).sum(1)
    return float(np.mean(heat[:, inside].sum(1) / np.maximum(totals, np.finfo(float).tiny)))


def _gap(bench: ExplainerBench, toy: type[Toy]) -> float | None:
    """How far the sums miss the scores on a toy, relative to the sums of absolute values; None where not defined."""
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
            for parameter, way in zip(model.network.parameters(), direction):
                parameter.add_(way, alpha=step)
        values = bench.explainer(model)(_training_batch(bench, model)).values
        means.append(float(values.detach().square().mean()))
    return (means[0] - means[1]) / (2 * STEP)
