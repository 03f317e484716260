"""The grading metric as the runner uses it: decisions matched by class name, positive classes, thresholds, errors."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    matthews_corrcoef,
    mean_absolute_error,
    precision_recall_fscore_support,
    recall_score,
)

from heatproof.errors import DataError, HeatproofError, ModelError
from heatproof.metric import Case, Undefined
from heatproof.model import READERS, Head
from heatproof.records import Label, Prediction, Sample
from heatproof.testing import conforms
from heatproof_grading.grading import Grading

Array = NDArray[Any]

GRADES = ("no_dr", "mild", "moderate", "severe", "proliferative")
REFERABLE = ("moderate", "severe", "proliferative")
RATES = ("sensitivity", "specificity", "precision", "f1")


def case(label: Label, logits: Any, classes: tuple[str, ...] = GRADES, known: tuple[str, ...] = GRADES,
         head: Head = "softmax") -> Case:  # fmt: skip
    sample = Sample("one", np.zeros((1, 2, 2)), label=label)
    logits = np.array(logits, dtype=np.float64)
    probabilities, decision = READERS[head](logits, len(classes))
    return Case(sample, Prediction(logits, classes, probabilities, decision, head), classes=known)


def table(metric: Grading, cases: list[Case]) -> dict[str, Array]:
    """The measurements as the store returns them: the array of each case as a row."""
    rows = [metric.measure(sample_case) for sample_case in cases]
    return {name: np.stack([row[name].ravel() for row in rows]) for name in rows[0]}


def summary(metric: Grading, cases: list[Case]) -> dict[str, Any]:
    measures = metric.summarise(table(metric, cases), np.ones((1, len(cases)), dtype=int))
    return {name: values[0] for name, values in measures.items()}


def graded(seed: int = 0, count: int = 80) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    return generator.permutation([*range(5), *generator.integers(0, 5, count - 5)]), generator.normal(size=(count, 5))


@conforms(Grading(), Grading(weights="equal"), Grading(positive=("right",)), Grading(positive=("left",), threshold=0.6))
def test_conformance(check: Any) -> None:
    check()


def test_all_classes_against_scikit_learn() -> None:
    labels, logits = graded()
    decisions = logits.argmax(axis=1)
    scores = summary(Grading(), [case(int(label), row) for label, row in zip(labels, logits)])
    precision, recall, f1, _ = precision_recall_fscore_support(labels, decisions, average="macro")
    assert scores["kappa"] == pytest.approx(cohen_kappa_score(labels, decisions, weights="quadratic"))
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, decisions))
    assert scores["mean_absolute_error"] == pytest.approx(mean_absolute_error(labels, decisions))
    assert scores["matthews"] == pytest.approx(matthews_corrcoef(labels, decisions))
    assert [scores[name] for name in ("sensitivity", "precision", "f1")] == pytest.approx([recall, precision, f1])
    spared = [recall_score(labels != grade, decisions != grade) for grade in range(5)]
    assert scores["specificity"] == pytest.approx(np.mean(spared))
    np.testing.assert_allclose(scores["confusion"].reshape(5, 5), confusion_matrix(labels, decisions) / len(labels))


@pytest.mark.parametrize("threshold", [None, 0.3, 0.7])
def test_positive_classes_against_scikit_learn(threshold: float | None) -> None:
    labels, logits = graded(1)
    metric = Grading(positive=REFERABLE, threshold=threshold)
    scores = summary(metric, [case(int(label), row) for label, row in zip(labels, logits)])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    decided = logits.argmax(axis=1) >= 2
    if threshold is not None:
        decided = shares[:, 2:].sum(axis=1) >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(labels >= 2, decided, average="binary")
    expected = [recall, recall_score(labels < 2, ~decided), precision, f1]
    assert [scores[name] for name in RATES] == pytest.approx(expected)
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels >= 2, decided))
    assert scores["matthews"] == pytest.approx(matthews_corrcoef(labels >= 2, decided))
    assert scores["kappa"] == pytest.approx(cohen_kappa_score(labels, logits.argmax(axis=1), weights="quadratic"))


def test_resamples_against_cases_repeated() -> None:
    labels, logits = graded(2)
    cases = [case(int(label), row) for label, row in zip(labels, logits)]
    counts = np.random.default_rng(0).integers(0, 3, (5, len(cases)))
    for metric in (Grading(), Grading(positive=REFERABLE)):
        whole = metric.summarise(table(metric, cases), counts)
        for index, row in enumerate(counts):
            repeated = summary(metric, [sample_case for sample_case, count in zip(cases, row) for _ in range(count)])
            for name, value in repeated.items():
                np.testing.assert_allclose(whole[name][index], value, atol=1e-12)


@pytest.mark.parametrize(("head", "threshold"), [("ordinal", 0.375), ("regression", 1.5)])
def test_one_output_at_a_threshold_on_its_own_scale(head: Head, threshold: float) -> None:
    """The threshold half way between two grades makes the same decisions as the grades."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 5, 60)
    logits = generator.normal(size=60) * 2
    cases = [case(int(label), [z], GRADES, GRADES, head) for label, z in zip(labels, logits)]
    by_threshold = summary(Grading(positive=REFERABLE, threshold=threshold), cases)
    by_grade = summary(Grading(positive=REFERABLE), cases)
    assert by_threshold["accuracy"] == by_grade["accuracy"]
    assert 0 < by_threshold["sensitivity"] == by_grade["sensitivity"] < 1
    assert summary(Grading(positive=REFERABLE, threshold=-99), cases)["sensitivity"] == 1
    assert summary(Grading(positive=REFERABLE, threshold=99), cases)["specificity"] == 1


@pytest.mark.parametrize("head", ["ordinal", "regression"])
def test_cutoffs_divide_the_value_of_one_output(head: Head) -> None:
    """Against a loop over the cut-offs; those between whole grades are what rounding does."""
    labels, logits = graded(3)
    values = logits[:, 0] if head == "regression" else 4 / (1 + np.exp(-logits[:, 0]))
    for cutoffs in ([0.3, 1.2, 2.9, 3.1], [0.5, 1.5, 2.5, 3.5]):
        cases = [case(int(label), [logit[0]], head=head) for label, logit in zip(labels, logits)]
        decisions = [sum(value >= cutoff for cutoff in cutoffs) for value in values]
        expected = cohen_kappa_score(labels, decisions, weights="quadratic", labels=range(5))
        assert summary(Grading(cutoffs=cutoffs), cases)["kappa"] == pytest.approx(expected, abs=1e-12)
    assert summary(Grading(cutoffs=cutoffs), cases)["kappa"] == summary(Grading(), cases)["kappa"]


def test_cutoffs_that_do_not_fit() -> None:
    with pytest.raises(ModelError, match="cutoffs has 2 values, and 5 grades have 4 between them"):
        Grading(cutoffs=[0.5, 1.5]).measure(case(1, [0.2], head="ordinal"))
    with pytest.raises(ModelError, match="not of softmax; leave cutoffs out"):
        Grading(cutoffs=[0.5, 1.5, 2.5, 3.5]).measure(case(1, [0.2, 0.1, 0.3, 0.0, 0.0]))
    with pytest.raises(HeatproofError, match="should be in ascending order"):
        Grading(cutoffs=[1.5, 0.5])


def test_the_label_scores_best_and_its_inverse_worst() -> None:
    for logits, kappa, share in ((np.eye(5), 1, 1), (np.eye(5)[::-1], -1, 0.2)):
        scores = summary(Grading(), [case(label, logits[label]) for label in range(5)])
        assert (scores["kappa"], scores["accuracy"]) == pytest.approx((kappa, share))


def test_decisions_that_know_nothing() -> None:
    """The mean kappa of random decisions is the expected value."""
    labels = graded()[0]
    kappas = [summary(Grading(), [case(int(label), row) for label, row in zip(labels, graded(seed)[1])])["kappa"]
              for seed in range(60)]  # fmt: skip
    assert Grading().expected("kappa") == 0
    assert Grading().expected("accuracy") is None
    assert np.mean(kappas) == pytest.approx(0, abs=4 * np.std(kappas) / 60**0.5)


def test_a_class_that_never_occurs_leaves_the_mean_undefined() -> None:
    labels, logits = graded(4)
    cases = [case(int(label), row) for label, row in zip(labels, logits) if label != 3]
    scores = summary(Grading(), cases)
    assert np.isnan(scores["sensitivity"])
    assert not np.isnan([scores["kappa"], scores["accuracy"], scores["specificity"]]).any()


def test_met_by_name() -> None:
    turned = case(0, [0.0, 2.0, 1.0], ("mild", "no_dr", "x"))
    np.testing.assert_array_equal(Grading().measure(turned)["confusion"], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert summary(Grading(), [turned])["accuracy"] == 1


@pytest.mark.parametrize(("label", "reason"), [(None, "no label"), ((1, 2), "no single label"), (2, "no class 'mod")])
def test_what_cannot_be_graded(label: Label, reason: str) -> None:
    with pytest.raises(Undefined, match=reason):
        Grading().measure(case(label, [1, 2], ("no_dr", "mild")))


def test_refusals() -> None:
    with pytest.raises(DataError, match="label 7 of one is outside the dataset's 5 classes"):
        Grading().measure(case(7, np.eye(5)[0]))
    with pytest.raises(DataError, match="no class 'sever'; did you mean 'severe'"):
        Grading(positive=("sever",)).measure(case(1, np.eye(5)[0]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 0.5}, "a threshold needs positive"),
        ({"positive": ()}, "positive"),
        ({"weights": "cubic"}, "weights"),
        ({"referable": 2}, "referable"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(HeatproofError, match=f"Grading: .*{message}"):
        Grading(**wrong)


def test_excluded_cases_are_left_out() -> None:
    labels, logits = graded(5)
    measured = table(Grading(), [case(int(label), row) for label, row in zip(labels, logits)])
    longer = {name: np.vstack([values, np.full((1, 25), np.nan)]) for name, values in measured.items()}
    short = Grading().summarise(measured, np.ones((1, 80), int))
    long = Grading().summarise(longer, np.ones((1, 81), int))
    for name, values in short.items():
        np.testing.assert_array_equal(values, long[name])


@pytest.mark.slow
def test_ten_thousand_resamples_take_less_than_a_second() -> None:
    generator = np.random.default_rng(0)
    counts = generator.multinomial(413, np.full(413, 1 / 413), size=10_000)
    measured = {"confusion": np.eye(25)[generator.integers(0, 25, 413)]}
    start = time.process_time()
    Grading().summarise(measured, counts)
    assert time.process_time() - start < 1
