"""Images of which a part is replaced, and what the model says of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.metric import Case, Metric
from heatproof.passes import logits
from heatproof.records import Array, Prediction
from heatproof.seeding import generator

from .ranking import Ranking

Number = Annotated[float, Field(allow_inf_nan=False)]
Baseline: TypeAlias = Number | Literal["mean", "blur", "uniform"]


class FaithfulnessParams(Params):
    """``of``: what is followed, the target's ``probability`` as the model's head reads it, or its ``logit``."""

    of: Literal["probability", "logit"] = "probability"


P = TypeVar("P", bound=FaithfulnessParams, covariant=True)


class Faithfulness(Metric[P]):
    """Does the target's score change where a heatmap says that the evidence lies?

    The score of the image itself is that of the stored prediction; only perturbed images pass through the model.
    """

    needs = frozenset({"prediction", "heatmap", "model"})

    def score(self, case: Case, prediction: Prediction) -> float:
        """The target's probability or logit; with one output every target is that output."""
        assert case.batch is not None
        values = prediction.logits if self.params.of == "logit" else prediction.probabilities
        return float(values[int(case.batch.targets[0]) if len(values) > 1 else 0])

    def own(self, case: Case) -> float:
        """The score of the image as it is."""
        assert case.prediction is not None
        return self.score(case, case.prediction)

    def scores(self, case: Case, ranking: Ranking, counts: Array, replacement: Tensor) -> list[float]:
        """The scores without the first so many pixels or patches of a ranking, for each of ``counts``."""
        assert case.batch is not None
        variants = replacing(case.batch, ranking, counts, replacement)
        return [self.score(case, one) for one in predictions(case.batch, variants, len(counts))]


def predictions(batch: Batch, variants: Callable[[slice], Tensor], count: int) -> Sequence[Prediction]:
    """What the model says of ``count`` variants of a batch's one image, made and run in pieces of ``rows``.

    ``variants`` gives the images (m, c, *space) of some of the numbers from 0 to ``count``.
    """

    def run(piece: slice) -> Tensor:
        images = variants(piece)
        return logits(batch.select([0] * len(images)).at(images))

    rows = torch.cat(batch.budget.pieced(count, run)).cpu().numpy()
    return [batch.model.read(row) for row in rows]


def replacing(batch: Batch, ranking: Ranking, counts: Array, replacement: Tensor) -> Callable[[slice], Tensor]:
    """The image with the first so many pixels or patches of a ranking replaced, for each of ``counts`` (m,)."""
    places = torch.from_numpy(ranking.places).to(batch.images.device)
    limits = torch.from_numpy(counts).to(batch.images.device).reshape(-1, *(1,) * places.ndim)
    return lambda piece: torch.where((places < limits[piece])[:, None], replacement, batch.images)


def replacement(case: Case, baseline: Baseline, sigma: float) -> Tensor:
    """What removed pixels show, (1, c, *space) or what broadcasts to it; noise is drawn by seed and id."""
    assert case.batch is not None
    images, seed = case.batch.images, case.batch.seed
    if not isinstance(baseline, str):
        return torch.full_like(images, baseline)
    image = images[0].cpu().double().numpy()
    field = np.ones(image.shape[1:], dtype=bool) if case.sample.field is None else case.sample.field
    made: Mapping[str, Callable[[], Array]] = {
        "mean": lambda: image[:, field].mean(1).reshape(-1, *(1,) * field.ndim),
        "blur": lambda: np.asarray(gaussian_filter(image, sigma, axes=tuple(range(1, image.ndim)))),
        "uniform": lambda: _within(image, generator(seed, case.sample.id, "uniform replacement")),
    }
    return torch.from_numpy(made[baseline]())[None].to(images)


def _within(image: Array, draw: np.random.Generator) -> Array:
    """Uniform values (c, *space) between the least and the greatest of each channel."""
    axes = tuple(range(1, image.ndim))
    low, high = image.min(axes, keepdims=True), image.max(axes, keepdims=True)
    return np.asarray(low + (high - low) * draw.random(image.shape))
