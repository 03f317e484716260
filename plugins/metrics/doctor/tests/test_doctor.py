"""The DOCTOR metric as the runner uses it: distributions, wrong decisions by class name, invariants, and errors."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import HeatproofError
from heatproof.metric import Case, Undefined
from heatproof.model import READERS, Head, Model
from heatproof.records import Label, Prediction, Sample
from heatproof.results.significance import paired_test
from heatproof.testing import conforms
from heatproof_doctor.doctor import Doctor

Array = NDArray[Any]

ABC = ("a", "b", "c")


def case(label: Label, logits: Any, classes: tuple[str, ...] = ABC, known: tuple[str, ...] = ABC,
         head: Head = "softmax") -> Case:  # fmt: skip
    sample = Sample("one", np.zeros((1, 2, 2)), label=label)
    logits = np.array(logits, dtype=np.float64)
    probabilities, decision = READERS[head](logits, len(classes))
    return Case(sample, Prediction(logits, classes, probabilities, decision), classes=known)


def drawn(classes: int, count: int = 200, seed: int = 0) -> tuple[list[Case], Array, Array]:
    generator = np.random.default_rng(seed)
    names = tuple("abcdefgh"[:classes])
    labels = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes)) * 2
    logits[np.arange(count), labels] += 1.5
    return [case(int(label), row, names, names) for label, row in zip(labels, logits)], labels, logits


def table(metric: Doctor, cases: list[Case]) -> dict[str, Array]:
    rows = [metric.measure(sample_case) for sample_case in cases]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def summary(metric: Doctor, cases: list[Case]) -> dict[str, Any]:
    measures = metric.summarise(table(metric, cases), np.ones((1, len(cases)), dtype=int))
    return {name: values[0] for name, values in measures.items()}


def shown(scores: dict[str, float]) -> dict[str, float]:
    """The statistics, after a check that their logarithms are theirs."""
    for name in ("alpha", "beta"):
        assert np.exp(scores[f"log_{name}"]) == pytest.approx(scores[name])
    return {name: scores[name] for name in ("alpha", "beta", "wrong")}


@conforms(Doctor(), Doctor(distribution="sigmoid", gamma=0.5), Doctor(temperature=1.5),
          Doctor(epsilon=0.01), Doctor(epsilon=0.01, towards="doubt", distribution="sigmoid"))  # fmt: skip
def test_conformance(check: Any) -> None:
    check()


class TestMeasure:
    def test_softmax_of_the_logits(self) -> None:
        scores = Doctor().measure(case(1, np.log([0.7, 0.2, 0.1])))
        assert shown(scores) == pytest.approx({"alpha": 0.85185185, "beta": 0.42857143, "wrong": 1})
        assert Doctor().measure(case(0, np.log([0.7, 0.2, 0.1])))["wrong"] == 0

    def test_temperature_divides_the_logits(self) -> None:
        scores = Doctor(temperature=2).measure(case(0, 2 * np.log([0.7, 0.2, 0.1])))
        assert shown(scores) == pytest.approx({"alpha": 0.85185185, "beta": 0.42857143, "wrong": 0})

    def test_normalised_sigmoids(self) -> None:
        """Sigmoids .75, .6, .15 are divided by their sum 1.5, to .5, .4, .1."""
        shares = np.array([0.75, 0.6, 0.15])
        scores = Doctor(distribution="sigmoid").measure(case(0, np.log(shares / (1 - shares)), head="sigmoid"))
        assert shown(scores) == pytest.approx({"alpha": (1 - 0.42) / 0.42, "beta": 1, "wrong": 0})

    @pytest.mark.parametrize("distribution", ["softmax", "sigmoid"])
    def test_one_logit_of_two_classes(self, distribution: Any) -> None:
        """The sigmoid of the logit is .9, the distribution (.1, .9)."""
        scores = Doctor(distribution=distribution).measure(case(0, [np.log(9)], ABC[:2], head="sigmoid"))
        assert shown(scores) == pytest.approx({"alpha": 0.21951220, "beta": 0.11111111, "wrong": 1})

    def test_extreme_logits(self) -> None:
        scores = Doctor().measure(case(0, [2000.0, -2000.0, 0.0]))
        assert scores == {"alpha": 0, "beta": 0, "log_alpha": -2000 + np.log(2), "log_beta": -2000, "wrong": 0}

    @pytest.mark.parametrize(
        ("settings", "logits"),
        [
            ({}, [[0, 800], [0, 900]]), ({"temperature": 0.01}, [[0, 40, 1], [0, 45, 1]]),
            ({"distribution": "sigmoid"}, [[-45, -40, -99], [-50, -40, -99]]),
        ],
    )  # fmt: skip
    def test_statistics_that_underflow_are_ranked(self, settings: dict[str, Any], logits: list[list[float]]) -> None:
        names = ABC[: len(logits[0])]
        cases = [case(label, row, names, names) for label, row in zip((0, 1), logits)]
        scores = summary(Doctor(**settings), cases)
        assert scores["alpha_auroc"] == scores["beta_auroc"] == 1

    def test_the_only_class(self) -> None:
        with pytest.raises(Undefined, match="only class"):
            Doctor().measure(case(0, [1], ("a",), ("a",)))

    def test_decisions_and_labels_meet_by_name(self) -> None:
        turned = ("c", "b", "x", "a")
        assert Doctor().measure(case(0, [0, 0, 0, 3], turned))["wrong"] == 0
        assert Doctor().measure(case(0, [3, 0, 0, 0], turned))["wrong"] == 1

    @pytest.mark.parametrize(
        ("label", "reason"), [(None, "no label"), ((0, 1), "no single label"), (2, "no class 'c'")]
    )
    def test_what_cannot_be_judged(self, label: Label, reason: str) -> None:
        with pytest.raises(Undefined, match=reason):
            Doctor().measure(case(label, [1, 2], ABC[:2]))

    @pytest.mark.parametrize("head", ["ordinal", "regression"])
    def test_one_output_for_many_grades(self, head: Head) -> None:
        with pytest.raises(Undefined, match="one output for 3 grades is not a distribution"):
            Doctor().measure(case(0, [0.4], head=head))


class TestSummarise:
    @pytest.mark.parametrize("classes", [2, 3, 7])
    def test_beta_is_as_good_as_the_largest_probability(self, classes: int) -> None:
        cases, labels, logits = drawn(classes)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected = roc_auc_score(labels != logits.argmax(axis=1), 1 - shares.max(axis=1))
        assert summary(Doctor(), cases)["beta_auroc"] == pytest.approx(expected)

    def test_two_classes_make_alpha_and_beta_one(self) -> None:
        scores = summary(Doctor(), drawn(2)[0])
        for measure in ("auroc", "frr_at_95", "curve"):
            np.testing.assert_array_equal(scores[f"alpha_{measure}"], scores[f"beta_{measure}"])

    def test_more_classes_tell_them_apart(self) -> None:
        scores = summary(Doctor(), drawn(5)[0])
        assert scores["alpha_auroc"] != scores["beta_auroc"]

    def test_rates_at_gamma(self) -> None:
        cases = drawn(4)[0]
        measured = table(Doctor(), cases)
        scores = summary(Doctor(gamma=0.7), cases)
        for name in ("alpha", "beta"):
            for measure, kind in (("frr", 0), ("trr", 1)):
                rejected = measured[name][measured["wrong"] == kind] > 0.7
                assert scores[f"{name}_{measure}"] == pytest.approx(rejected.mean())

    def test_frr_at_95_is_on_the_curve(self) -> None:
        scores = summary(Doctor(), drawn(4)[0])
        assert scores["alpha_frr_at_95"] == scores["alpha_curve"][95]
        assert (np.diff(scores["alpha_curve"]) >= 0).all()

    def test_without_a_wrong_decision_there_is_nothing_to_compare(self) -> None:
        scores = summary(Doctor(), [case(label, 4 * np.eye(3)[label]) for label in (0, 1, 2)])
        assert np.isnan([scores["alpha_auroc"], scores["alpha_trr"], scores["beta_frr_at_95"]]).all()
        assert scores["alpha_frr"] == 0

    def test_excluded_cases_are_left_out(self) -> None:
        measured = table(Doctor(), drawn(3)[0])
        longer = {name: np.append(values, np.nan) for name, values in measured.items()}
        short = Doctor().summarise(measured, np.ones((1, 200), int))
        long = Doctor().summarise(longer, np.ones((1, 201), int))
        for name, values in short.items():
            np.testing.assert_array_equal(values, long[name])


@pytest.mark.parametrize("measure", ["alpha_auroc", "beta_frr_at_95"])
def test_a_paired_test_ignores_the_calibration(measure: str) -> None:
    """A temperature changes every statistic, but of two classes no rank."""
    first = table(Doctor(), drawn(2, 60)[0])
    ids = [str(number) for number in range(60)]
    tests = []
    for temperature in (1.0, 0.1):
        second = table(Doctor(temperature=temperature), drawn(2, 60, seed=1)[0])
        tests.append(paired_test(Doctor().summarise, first, second, ids, measure, 300, 0, Doctor().exchangeable))
    assert tests[0] == tests[1]
    assert 0 < tests[0].p <= 1


def test_expected() -> None:
    assert (Doctor().expected("alpha_auroc"), Doctor().expected("beta_auroc")) == (0.5, 0.5)
    assert Doctor().expected("alpha_frr") is None


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"gamma": -1}, {"distribution": "raw"}, {"epsilon": -0.1}])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(HeatproofError, match=f"Doctor: .*{next(iter(wrong))}"):
        Doctor(**wrong)


class Linear(Model):
    """Logits that are weighted sums of the pixels."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = weights.double()
        self.names = ABC[: max(2, len(weights))]
        self.head = "softmax" if len(weights) > 1 else "sigmoid"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def build(self) -> nn.Module:
        network = nn.Sequential(nn.Flatten(), nn.Linear(self.weights.shape[1], len(self.weights), bias=False)).double()
        network[1].weight.data = self.weights.clone()
        return network


def moved(weights: Tensor, image: Tensor, **settings: Any) -> dict[str, float]:
    """The statistics of one image (4,) under a linear model."""
    model = Linear(weights)
    batch = Batch(model, ["one"], image.double().reshape(1, 1, 2, 2), [0])
    logits = batch.forward()[0][0].numpy()
    probabilities, decision = READERS[model.head](logits, len(model.classes))
    prediction = Prediction(logits, model.classes, probabilities, decision)
    sample = Sample("one", np.zeros((1, 2, 2)), label=0)
    return Doctor(**settings).measure(Case(sample, prediction, batch=batch, classes=model.classes))


class TestPartiallyBlackBox:
    @pytest.mark.parametrize("towards", ["certainty", "doubt"])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_one_logit_in_closed_form(self, towards: str, sign: int) -> None:
        """For two classes both statistics fall with |z|; a step of epsilon changes |z| by epsilon times the L1 norm."""
        weights = torch.tensor([[0.5, -1.0, 2.0, 0.25]])
        image = sign * torch.tensor([0.2, 0.1, 0.3, -0.4]).double()
        direction = {"certainty": 1, "doubt": -1}[towards]
        certain = abs(float(weights[0].double() @ image)) + direction * 0.01 * 3.75
        scores = moved(weights, image, epsilon=0.01, towards=towards)
        assert scores["beta"] == pytest.approx(np.exp(-certain), rel=1e-12)
        p = 1 / (1 + np.exp(-certain))
        assert scores["alpha"] == pytest.approx(2 * p * (1 - p) / (p**2 + (1 - p) ** 2), rel=1e-12)

    @pytest.mark.parametrize("distribution", ["softmax", "sigmoid"])
    @pytest.mark.parametrize("temperature", [1.0, 1.5])
    def test_against_differences(self, distribution: str, temperature: float) -> None:
        """The step follows the signs of finite differences of the statistics of the unmoved image."""
        torch.manual_seed(3)
        weights = torch.randn(3, 4)
        image = torch.rand(4)
        epsilon = 0.05
        settings = {"distribution": distribution, "temperature": temperature}

        def statistic(name: str, values: Tensor) -> float:
            return moved(weights, values, **settings)[name]

        scores = moved(weights, image, **settings, epsilon=epsilon)
        for name in ("alpha", "beta"):
            steps = 1e-5 * torch.eye(4)
            slopes = torch.tensor([statistic(name, image + step) - statistic(name, image - step) for step in steps])
            assert scores[name] == pytest.approx(statistic(name, image - epsilon * slopes.sign()), rel=1e-6)
            assert scores[name] < statistic(name, image)

    def test_what_is_certain_beyond_rounding_still_moves(self) -> None:
        scores = moved(torch.tensor([[200.0, 0, 0, 0], [0, 0, 0, 0]]), torch.tensor([1.0, 0, 0, 0]), epsilon=0.1,
                      towards="doubt")  # fmt: skip
        assert scores["beta"] == pytest.approx(np.exp(-180), rel=1e-9)

    def test_passes_are_priced_only_where_they_are_taken(self) -> None:
        assert Doctor().needs == {"prediction", "label"}
        assert Doctor(epsilon=0.1).needs == {"prediction", "label", "model"}
        assert Doctor().cost(Linear(torch.ones(2, 4)), (2, 2), (1, 1)) == (0, 0)
        assert Doctor(epsilon=0.1).cost(Linear(torch.ones(2, 4)), (2, 2), (1, 1)) == (3, 2)
