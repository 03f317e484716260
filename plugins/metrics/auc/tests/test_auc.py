"""The AUC metric as the runner uses it: classes matched by name, single outputs, multiple labels, and errors."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from heatproof.errors import DataError, HeatproofError
from heatproof.metric import Case, Undefined
from heatproof.model import READERS, Head
from heatproof.records import Label, Prediction, Sample
from heatproof.testing import conforms
from heatproof_auc.auc import Auc

Array = NDArray[Any]

ABC = ("a", "b", "c")
GRADES = ("no_dr", "mild", "moderate", "severe", "proliferative")
REFERABLE = ("moderate", "severe", "proliferative")
PROBABILITIES = [[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.2, 0.2, 0.6], [0.4, 0.5, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2]]


def case(label: Label, logits: Any, classes: tuple[str, ...] = ABC, known: tuple[str, ...] = ABC,
         head: Head = "softmax") -> Case:  # fmt: skip
    sample = Sample("one", np.zeros((1, 2, 2)), label=label)
    logits = np.array(logits, dtype=np.float32)
    probabilities, decision = READERS[head](logits.astype(float), len(classes))
    return Case(sample, Prediction(logits, classes, probabilities, decision, head), classes=known)


def table(metric: Auc, cases: list[Case]) -> dict[str, Array]:
    rows = [metric.measure(sample_case) for sample_case in cases]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def summary(metric: Auc, cases: list[Case]) -> dict[str, float]:
    measures = metric.summarise(table(metric, cases), np.ones((1, len(cases)), dtype=int))
    return {name: float(values[0]) for name, values in measures.items()}


@conforms(
    Auc(), Auc(scores="sigmoid"), Auc(positive=("right",)), Auc(average="weighted"), Auc(average="micro", max_fpr=0.4),
    Auc(against="pairs", average="weighted"), Auc(positive=("right",), max_fpr=0.3),
)  # fmt: skip
def test_conformance(check: Any) -> None:
    check()


class TestOneVersusRest:
    def cases(self) -> list[Case]:
        """Cases with exactly these probabilities; logits would break a tie by rounding."""
        cases = [case(label, row) for label, row in zip((0, 1, 2, 0, 1, 2), PROBABILITIES)]
        return [replace(entry, prediction=replace(entry.prediction, probabilities=np.array(row), head=None))
                for entry, row in zip(cases, PROBABILITIES)]  # fmt: skip

    def test_vector(self) -> None:
        """The areas of six cases of three classes, counted by hand."""
        assert summary(Auc(), self.cases()) == pytest.approx({"a": 0.875, "b": 0.9375, "c": 0.8125, "auc": 0.875})

    def test_against_scikit_learn(self) -> None:
        generator = np.random.default_rng(0)
        for _ in range(100):
            labels = generator.permutation([*range(3), *generator.integers(0, 3, 20)])
            logits = generator.normal(size=(len(labels), 3)).astype(np.float32).astype(float)
            actual = summary(Auc(), [case(int(label), row) for label, row in zip(labels, logits)])
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            expected = roc_auc_score(labels, shares, multi_class="ovr", average="macro")
            assert actual["auc"] == pytest.approx(expected, abs=1e-9)

    def test_sigmoids_rank_by_the_logit(self) -> None:
        generator = np.random.default_rng(1)
        labels = generator.integers(0, 3, 40)
        logits = generator.normal(size=(40, 3))
        actual = summary(Auc(scores="sigmoid"), [case(int(label), row) for label, row in zip(labels, logits)])
        for index, name in enumerate(ABC):
            assert actual[name] == pytest.approx(roc_auc_score(labels == index, logits[:, index]))
        assert actual != summary(Auc(), [case(int(label), row) for label, row in zip(labels, logits)])

    def test_a_resample_without_a_class_has_no_value(self) -> None:
        counts = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 0]])
        actual = Auc().summarise(table(Auc(), self.cases()), counts)
        assert np.isnan(actual["auc"]).tolist() == np.isnan(actual["c"]).tolist() == [False, True]
        assert not np.isnan([actual["a"], actual["b"]]).any()

    def test_the_label_scores_best_and_its_inverse_worst(self) -> None:
        for sign, area in ((1, 1), (-1, 0)):
            cases = [case(label, sign * np.eye(3)[label]) for label in (0, 1, 2, 1)]
            assert summary(Auc(), cases) == dict.fromkeys((*ABC, "auc"), area)


class TestLabels:
    def test_met_by_name(self) -> None:
        """The model has the classes in another order, and one that the dataset lacks."""
        other = ("x", "c", "b", "a")
        straight = [case(label, row) for label, row in zip((0, 1, 2, 0, 1, 2), PROBABILITIES)]
        turned = [case(label, [0.0, *row[::-1]], other) for label, row in zip((0, 1, 2, 0, 1, 2), PROBABILITIES)]
        assert set(table(Auc(), turned)) == set(ABC)
        actual, expected = (summary(Auc(scores="sigmoid"), group) for group in (turned, straight))
        assert actual == expected

    def test_a_class_that_the_model_has_not(self) -> None:
        with pytest.raises(Undefined, match="no class 'c'"):
            Auc().measure(case(2, [1, 2], ("a", "b")))
        assert set(Auc().measure(case(1, [1, 2], ("a", "b")))) == {"a", "b"}

    def test_several_findings(self) -> None:
        actual = Auc(scores="sigmoid").measure(case((0, 2), [1, 2, 3]))
        assert [actual[name][1] for name in ABC] == [1, 0, 1]
        assert [row[1] for row in Auc().measure(case((), [1, 2, 3])).values()] == [0, 0, 0]
        assert Auc(positive=("b", "c")).measure(case((0, 2), [1, 2, 3]))["auc"][1] == 1

    def test_a_finding_that_the_model_has_not(self) -> None:
        """It says nothing about the classes of the model: the case counts for each of them."""
        cases = [case(label, [z, -z], ("a", "b"), head="sigmoid") for label, z in
                 zip([(0, 2), (1, 2), (0,), (), (2,)], (3, 1, -2, 2, 0))]  # fmt: skip
        assert [row[1] for row in table(Auc(), cases)["a"]] == [1, 0, 1, 0, 0]
        assert summary(Auc(), cases)["a"] == roc_auc_score([1, 0, 1, 0, 0], [3, 1, -2, 2, 0])

    def test_no_label(self) -> None:
        with pytest.raises(Undefined, match="no label"):
            Auc().measure(case(None, [1, 2, 3]))

    @pytest.mark.parametrize("label", [-1, 3])
    def test_a_label_outside_the_classes(self, label: int) -> None:
        with pytest.raises(DataError, match=rf"label {label} of one is outside the dataset's 3 classes"):
            Auc().measure(case(label, [1, 2, 3]))


class TestPositive:
    def test_their_probabilities_together(self) -> None:
        measured = Auc(positive=("b", "c")).measure(case(1, np.log([0.6, 0.15, 0.25])))
        assert measured["auc"] == pytest.approx([np.log(0.4 / 0.6), 1], abs=1e-7)

    def test_against_scikit_learn(self) -> None:
        generator = np.random.default_rng(2)
        labels = generator.integers(0, 5, 60)
        logits = generator.normal(size=60) * 3
        for head, scores in (("ordinal", 1 / (1 + np.exp(-logits))), ("regression", logits)):
            cases = [case(int(label), [z], GRADES, GRADES, head) for label, z in zip(labels, logits)]
            actual = summary(Auc(positive=REFERABLE), cases)
            assert actual == {"auc": pytest.approx(roc_auc_score(labels >= 2, scores))}
            lower = summary(Auc(positive=("no_dr", "mild")), cases)
            assert lower == {"auc": pytest.approx(roc_auc_score(labels < 2, -scores))}

    def test_two_classes_with_one_output(self) -> None:
        generator = np.random.default_rng(3)
        labels = generator.integers(0, 2, 30)
        logits = generator.normal(size=30)
        cases = [case(int(label), [z], ("a", "b"), ("a", "b"), "sigmoid") for label, z in zip(labels, logits)]
        area = pytest.approx(roc_auc_score(labels, logits))
        assert summary(Auc(), cases) == {"a": area, "b": area, "auc": area}

    def test_one_output_cannot_tell_a_middle_class(self) -> None:
        grade = case(1, [0.2], GRADES, GRADES, "ordinal")
        for metric in (Auc(), Auc(positive=("mild", "severe"))):
            with pytest.raises(DataError, match=r"single output for 5 ordered classes cannot tell mild.*\[mod"):
                metric.measure(grade)

    def test_an_unknown_class(self) -> None:
        with pytest.raises(DataError, match="no class 'modrate'; did you mean 'moderate'"):
            Auc(positive=("modrate",)).measure(case(1, [0.2], GRADES, GRADES, "ordinal"))

    @pytest.mark.parametrize("wrong", [{"positive": ()}, {"scores": "logits"}, {"average": "samples"}, {"max_fpr": 0}])
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(HeatproofError, match=f"Auc: .*{next(iter(wrong))}"):
            Auc(**wrong)


class TestRounding:
    """Probabilities near 0 and 1 are equal floats where the logits differ; the larger logit must win."""

    @pytest.mark.parametrize(
        ("head", "classes", "lower", "higher", "positive"),
        [
            ("softmax", ("a", "b"), [0, 40], [0, 45], ("b",)), ("softmax", ("a", "b"), [40, 0], [45, 0], ("a",)),
            ("softmax", ABC, [0, 1, 50], [0, 1, 60], ("c",)), ("softmax", ABC, [0, 1, 50], [1, 0, 60], ("b", "c")),
            ("sigmoid", ABC, [-40, 0, 0], [-38, 0, 0], ("a",)), ("sigmoid", ABC, [0, 38, 41], [0, 39, 41], ("b", "c")),
            ("sigmoid", ABC, [-800, -820, 0], [-799, -820, 0], ("a", "b")), ("sigmoid", ("a", "b"), [40], [45], ("b",)),
            ("ordinal", GRADES, [-40], [-38], REFERABLE), ("ordinal", GRADES, [40], [38], GRADES[:2]),
            ("regression", GRADES, [1e-20], [0], GRADES[:2]),
        ],
    )  # fmt: skip
    def test_what_was_not_rounded_is_ranked(
        self, head: Head, classes: tuple[str, ...], lower: list[float], higher: list[float], positive: tuple[str, ...]
    ) -> None:
        labels = (classes.index(positive[0]), next(index for index, name in enumerate(classes) if name not in positive))
        cases = [case(label, logits, classes, classes, head) for label, logits in zip(labels, (higher, lower))]
        assert summary(Auc(positive=positive), cases)["auc"] == 1
        assert summary(Auc(positive=positive), cases[::-1])["auc"] == 1
        same = [case(label, lower, classes, classes, head) for label in labels]
        assert summary(Auc(positive=positive), same)["auc"] == 0.5

    def test_a_shift_of_all_logits_under_a_softmax_is_a_tie(self) -> None:
        cases = [case(label, logits) for label, logits in ((0, [1, 2, 3.5]), (1, [11, 12, 13.5]))]
        assert summary(Auc(positive=("a",)), cases)["auc"] == 0.5

    def test_sigmoids_of_a_softmax_head(self) -> None:
        cases = [case(label, [z, 0, 0]) for label, z in ((0, 45), (1, 40))]
        assert summary(Auc(scores="sigmoid", positive=("a",)), cases)["auc"] == 1

    def test_a_softmax_without_another_class(self) -> None:
        with pytest.raises(Undefined, match="no class besides a, b, c"):
            Auc(positive=ABC).measure(case(0, [1, 2, 3]))


def test_expected() -> None:
    assert Auc().expected("auc") == Auc().expected("pneumonia") == 0.5


def test_excluded_cases_are_left_out() -> None:
    """The store returns NaN for a case without measurements."""
    cases = [case(label, row) for label, row in zip((0, 1, 2, 0, 1, 2), PROBABILITIES)]
    measured = table(Auc(), cases)
    longer = {name: np.vstack([values, [[np.nan, np.nan]]]) for name, values in measured.items()}
    assert Auc().summarise(longer, np.ones((1, 7), int)) == Auc().summarise(measured, np.ones((1, 6), int))
