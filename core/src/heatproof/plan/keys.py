"""The keys under which a run resumes: each names all that what is stored under it depends on."""

from collections.abc import Sequence

from ..digests import digest


def combination_key(dataset: str, owner: str, target: str, explainer: str, reduction: str, seed: int) -> str:
    """What heatmaps depend on besides their samples; ``owner`` is the model, or the grid where no model counts."""
    return digest([dataset, owner, target, explainer, reduction, seed])


def heatmap_key(combination: str, ids: Sequence[str]) -> str:
    """The heatmaps of a combination over these samples."""
    return digest(["heatmaps", combination, list(ids)])


def prediction_key(dataset: str, model: str, ids: Sequence[str]) -> str:
    """The predictions of a model over these samples."""
    return digest(["predictions", dataset, model, list(ids)])


def score_key(scored: str, metric: str, *others: str | int) -> str:
    """The scores that a metric gives to heatmaps or predictions, and what else it sees: the model, or the seed."""
    return digest(["scores", scored, metric, *others])
