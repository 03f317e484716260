"""Images with some pixels replaced, and the model's predictions for them."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeAlias, TypeVar

import torch
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import Tensor

from heatproof.batch import Batch, require_finite
from heatproof.component import Params
from heatproof.errors import Undefined
from heatproof.metric import Case, Metric
from heatproof.passes import logits
from heatproof.records import Array, Prediction
from heatproof.seeding import generator

from .ranking import Ranking, field_of

Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Baseline: TypeAlias = Number | Literal["mean", "blur", "uniform"]


class FaithfulnessParams(Params):
    """``of``: the score is the target's ``probability``, as read by the model's head, or its ``logit``.

    A sum of logits over a region has no probability.
    """

    of: Literal["probability", "logit"] = "probability"


P = TypeVar("P", bound=FaithfulnessParams, covariant=True)


class Faithfulness(Metric[P]):
    """Does the target's score depend on the pixels that the heatmap marks as evidence?

    The score of the unchanged image is taken from the stored prediction; only perturbed images go through the model.
    """

    needs = frozenset({"prediction", "heatmap", "model"})

    def score(self, case: Case, prediction: Prediction) -> float:
        """Return the target's probability or logit, as the model reads them for every class."""
        batch = case.batch
        assert batch is not None
        if self.params.of == "logit":
            return float(batch.pick(torch.tensor(prediction.logits, device=batch.targets.device)[None]))
        if batch.region is not None:
            raise Undefined("a sum of logits over a region has no probability; set of: logit")
        values = batch.model.probabilities(prediction)
        return float(values[int(batch.targets[0]) if len(values) > 1 else 0])

    def image_score(self, case: Case) -> float:
        """Return the score of the unchanged image."""
        assert case.prediction is not None
        return self.score(case, case.prediction)

    def scores(self, case: Case, ranking: Ranking, counts: Array, replacement: Tensor) -> list[float]:
        """Compute the scores after the first ``counts`` pixels or regions of a ranking are replaced."""
        assert case.batch is not None
        variants = replacing(case.batch, ranking, counts, replacement)
        return [self.score(case, prediction) for prediction in predictions(case.batch, variants, len(counts))]


def predictions(batch: Batch, variants: Callable[[slice], Tensor], count: int) -> Sequence[Prediction]:
    """Predict ``count`` variants of a batch's single image, piece by piece within the batch's budget of rows.

    ``variants`` returns the images (m, c, *space) of a slice of the numbers from 0 to ``count``.
    """

    def run(piece: slice) -> Tensor:
        images = variants(piece)
        return logits(batch.select([0] * len(images)).at(images))

    rows = torch.cat(batch.budget.pieced(count, run)).cpu().numpy()
    return [batch.model.read(row) for row in rows]


def replacing(batch: Batch, ranking: Ranking, counts: Array, replacement: Tensor) -> Callable[[slice], Tensor]:
    """Return variants of the image with the first ``counts`` (m,) pixels or regions of a ranking replaced."""
    ranks = torch.from_numpy(ranking.ranks).to(batch.images.device)
    limits = torch.from_numpy(counts).to(batch.images.device).reshape(-1, *(1,) * ranks.ndim)
    return lambda piece: torch.where((ranks < limits[piece])[:, None], replacement, batch.images)


def replacement(case: Case, baseline: Baseline, sigma: float) -> Tensor:
    """Compute the values of replaced pixels, broadcastable to (1, c, *space); noise is drawn by seed and id."""
    batch = case.batch
    assert batch is not None
    images = batch.images
    if not isinstance(baseline, str):
        return torch.full_like(images, baseline)
    image = images[0].cpu().double().numpy()
    axes = tuple(range(1, image.ndim))
    values: Array
    if baseline == "blur":
        values = gaussian_filter(image, sigma, axes=axes)
    elif baseline == "uniform":
        low = image.min(axes, keepdims=True)
        high = image.max(axes, keepdims=True)
        random = generator(batch.seed, case.sample.id, "uniform replacement")
        values = low + (high - low) * random.random(image.shape)
    else:
        values = image[:, field_of(case.sample)].mean(1).reshape(-1, *(1,) * len(axes))
    replaced = torch.from_numpy(values)[None].to(images)
    return require_finite(replaced, batch.ids, "what replaces pixels", "scale the image to a smaller range")
