"""The keys of units: digests of everything that a unit depends on, by which a run resumes."""

from collections.abc import Sequence

from ..digests import digest


def combination_key(dataset: str, owner: str, target: str, explainer: str, reduction: str, seed: int) -> str:
    """The key of a combination without its samples; ``owner`` is the model, or its grid for a model-free explainer."""
    return digest([dataset, owner, target, explainer, reduction, seed])


def heatmap_key(combination: str, ids: Sequence[str], contents: str) -> str:
    """The key of a combination's heatmaps of these samples; ``contents``: the digest of the samples' files."""
    return digest(["heatmaps", combination, list(ids), contents])


def prediction_key(dataset: str, model: str, ids: Sequence[str], contents: str) -> str:
    """The key of a model's predictions for these samples; ``contents``: the digest of the samples' files."""
    return digest(["predictions", dataset, model, list(ids), contents])


def score_key(scored: str, metric: str, *others: str | int) -> str:
    """The key of a metric's scores for the heatmaps or predictions ``scored``; ``others``: the model or the seed."""
    return digest(["scores", scored, metric, *others])


def predictions_key(dataset: str, model: str) -> str:
    """The key of a model's predictions without their samples, by which tables name scores without heatmaps."""
    return digest([dataset, model])


def choice_key(metrics: Sequence[str], combinations: Sequence[str], ids: Sequence[str], contents: str) -> str:
    """The key of a selection among combinations or metrics on these samples; ``contents``: their files' digest."""
    return digest(["choice", list(metrics), list(combinations), list(ids), contents])
