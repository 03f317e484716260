"""Probabilities of positive classes, against values by hand: sums, or one output for ordered classes."""

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.model import READERS
from heatproof.records import Head, Prediction
from heatproof_classification.positives import log_odds, support

GRADES = ("none", "mild", "severe")


def prediction(*probabilities: float) -> Prediction:
    return Prediction(np.zeros(len(probabilities)), GRADES, np.array(probabilities), 0)


@pytest.mark.parametrize(
    ("names", "expected"), [(["mild"], 0.25), (["mild", "severe"], 0.375), (["none", "severe"], 0.75)]
)
def test_probabilities_of_the_classes_are_summed(names: list[str], expected: float) -> None:
    assert support(prediction(0.625, 0.25, 0.125), names) == expected


@pytest.mark.parametrize(
    ("names", "expected"), [(["severe"], 0.75), (["mild", "severe"], 0.75), (["none"], 0.25), (["none", "mild"], 0.25)]
)
def test_one_output_is_the_probability_of_the_upper_classes_and_its_complement_that_of_the_lower(
    names: list[str], expected: float
) -> None:
    assert support(prediction(0.75), names) == expected


def test_one_output_cannot_separate_a_class_in_the_middle() -> None:
    with pytest.raises(DataError, match=r"single output for 3 ordered classes cannot tell mild from.*\[mild, "):
        support(prediction(0.75), ["mild"])


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(DataError, match=r"the model has no class 'sever'; did you mean 'severe'\?"):
        support(prediction(0.75), ["sever"])


@pytest.mark.parametrize("names", [["mild"], ["mild", "severe"], ["none", "severe"]])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_log_odds_are_those_of_the_support(names: list[str], head: Head) -> None:
    for logits in np.random.default_rng(0).normal(size=(20, 3)) * 3:
        probabilities, decision = READERS[head](logits, 3)
        read = Prediction(logits, GRADES, probabilities, decision, head)
        total = 1 if head == "softmax" else len(names)
        share = support(read, names) / total
        assert log_odds(read, names) == pytest.approx(np.log(share / (1 - share)), rel=1e-9, abs=1e-9)


def test_of_a_model_that_reads_its_outputs_itself_the_support_is_ranked() -> None:
    assert log_odds(prediction(0.625, 0.25, 0.125), ["mild", "severe"]) == 0.375
