"""Averages, pairs of classes and parts of the curve against scikit-learn, resample by resample."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from heatproof.errors import HeatproofError
from heatproof.metric import Case, Undefined
from heatproof.model import READERS
from heatproof.records import Prediction, Sample
from heatproof_auc.auc import Auc
from heatproof_auc.partial import partial_auc

Array = NDArray[Any]
CLASSES = ("a", "b", "c", "d")
SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"average": "macro"}, {"multi_class": "ovr", "average": "macro"}),
    ({"average": "weighted"}, {"multi_class": "ovr", "average": "weighted"}),
    ({"average": "micro"}, {"multi_class": "ovr", "average": "micro"}),
    ({"against": "pairs"}, {"multi_class": "ovo", "average": "macro"}),
    ({"against": "pairs", "average": "weighted"}, {"multi_class": "ovo", "average": "weighted"}),
]


def measured(metric: Auc, labels: Any, logits: Array, head: Any = "softmax") -> dict[str, Array]:
    rows = []
    for label, row in zip(labels, logits):
        probabilities, decision = READERS[head](row, 4)
        prediction = Prediction(row, CLASSES, probabilities, decision, head)
        rows.append(metric.measure(Case(Sample("x", np.zeros((1, 2, 2)), label=label), prediction, classes=CLASSES)))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def counts_of(labels: Array, rows: int = 5) -> Array:
    """Every case once, and resamples of all cases; no class is lost."""
    generator = np.random.default_rng(3)
    draws = [np.ones(len(labels), dtype=int)]
    while len(draws) < rows:
        draw = generator.multinomial(len(labels), np.full(len(labels), 1 / len(labels)))
        if set(labels[draw > 0]) == set(labels):
            draws.append(draw)
    return np.stack(draws)


@pytest.mark.parametrize(("ours", "theirs"), SETTINGS, ids=[str(ours) for ours, _ in SETTINGS])
def test_averages_of_scikit_learn(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 60, p=[0.5, 0.25, 0.15, 0.1])
    logits = generator.normal(size=(60, 4)) + 1.2 * np.eye(4)[labels]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    counts = counts_of(labels)
    metric = Auc(**ours)
    actual = metric.summarise(measured(metric, labels.tolist(), logits), counts)["auc"]
    drawn = [np.repeat(np.arange(60), row) for row in counts]
    assert actual == pytest.approx([roc_auc_score(labels[rows], shares[rows], **theirs) for rows in drawn], rel=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
@pytest.mark.parametrize("max_fpr", [None, 0.25])
def test_several_findings(average: Any, max_fpr: float | None) -> None:
    generator = np.random.default_rng(1)
    findings = generator.random((50, 4)) < [0.5, 0.3, 0.2, 0.6]
    logits = np.round(generator.normal(size=(50, 4)) + findings, 1)
    labels = [tuple(np.flatnonzero(row).tolist()) for row in findings]
    metric = Auc(average=average, max_fpr=max_fpr)
    actual = metric.summarise(measured(metric, labels, logits, "sigmoid"), np.ones((1, 50), int))
    expected = roc_auc_score(findings, logits, average=average, max_fpr=max_fpr)
    assert actual["auc"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("max_fpr", [0.01, 0.1, 0.5, 0.999])
def test_parts_of_the_curve_of_scikit_learn(max_fpr: float) -> None:
    generator = np.random.default_rng(2)
    positive = generator.random(70) < 0.4
    scores = np.round(generator.normal(size=70) + positive, 1)
    counts = counts_of(positive)
    actual = partial_auc(scores, positive.astype(float), counts, max_fpr)
    assert actual == pytest.approx(
        [roc_auc_score(positive, scores, sample_weight=row, max_fpr=max_fpr) for row in counts], rel=1e-12
    )
    longer = partial_auc(np.append(scores, np.nan), np.append(positive, np.nan), np.pad(counts, ((0, 0), (0, 1))), 0.5)
    assert longer == pytest.approx(partial_auc(scores, positive.astype(float), counts, 0.5), rel=1e-12)


def test_a_resample_without_a_class_has_no_value() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    counts = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    assert np.isnan(partial_auc(scores, np.array([0, 0, 1, 1]), counts, 0.5)).tolist() == [True, True, True, False]
    logits = np.eye(4)[[0, 1, 2, 3, 0]]
    for settings, _ in SETTINGS[1:2] + SETTINGS[3:]:
        metric = Auc(**settings)
        values = metric.summarise(measured(metric, [0, 1, 2, 3, 0], logits), np.array([[1] * 5, [1, 1, 1, 0, 1]]))
        assert (values["auc"][0], np.isnan(values["auc"][1])) == (1, True)


def test_pairs_need_a_single_label() -> None:
    with pytest.raises(Undefined, match="no single label"):
        measured(Auc(against="pairs"), [(0, 1)], np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"positive": ["a"], "average": "weighted"}, "remove average and against"),
        ({"positive": ["a"], "against": "pairs"}, "remove average and against"),
        ({"against": "pairs", "average": "micro"}, "neither a micro average nor a max_fpr"),
        ({"against": "pairs", "max_fpr": 0.2}, "neither a micro average nor a max_fpr"),
    ],
)
def test_settings_that_do_not_fit_together(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(HeatproofError, match=reason):
        Auc(**wrong)


def test_expected() -> None:
    assert Auc(average="micro").expected("auc") == 0.5
    assert Auc(max_fpr=0.2).expected("auc") is None


def test_a_micro_average_swaps_ranks_of_all_classes_together() -> None:
    labels = [0, 1, 2, 3, 0, 1]
    metric = Auc(average="micro")
    table = measured(metric, labels, np.random.default_rng(4).normal(size=(6, 4)))
    ranks = metric.exchangeable(table)
    assert sorted(np.concatenate([values[:, 0] for values in ranks.values()])) == list(range(1, 25))
    assert metric.summarise(ranks, np.ones((1, 6), int)) == metric.summarise(table, np.ones((1, 6), int))
