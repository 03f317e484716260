"""The consistency check on the rows published by Athanasoula et al. 2022, and on possible rows."""

import re
from typing import Any

import numpy as np
import pytest

from heatproof_classification.published import consistent, contradictions
from heatproof_grading.confusion import accuracy, rates

ROWS: dict[str, tuple[tuple[float, float, float, int, int, float], list[str]]] = {
    "PET/CT": (
        (69.77, 69.76, 65.76, 111, 61, 60.93),
        ["between", "is not 0.6834", "F1 0.6093 is neither 0.7399.*nor 0.59"],
    ),
    "LIDC-IDRI": ((82.52, 76.29, 88.70, 616, 620, 80.80), []),
    "COV_CT": ((78.57, 87.96, 70.27, 349, 397, 79.23), []),
    "MPIP": ((66.08, 85.29, 33.75, 136, 80, 39.26), ["F1 0.3926 is neither 0.7606.*nor 0.4252"]),
}
"""Accuracy, sensitivity, specificity in percent, positive and negative cases, F1 in percent; the contradictions."""


@pytest.mark.parametrize(("row", "wrong"), ROWS.values(), ids=ROWS)
def test_published_rows(row: Any, wrong: list[str]) -> None:
    accuracy, sensitivity, specificity, positives, negatives, f1 = row
    shares = accuracy / 100, sensitivity / 100, specificity / 100
    sentences = contradictions(*shares, positives, negatives, f1 / 100)
    assert len(sentences) == len(wrong)
    for sentence, pattern in zip(sentences, wrong):
        assert re.search(pattern, sentence), sentence


def test_rates_alone() -> None:
    assert [name for name, (row, _) in ROWS.items() if not consistent(*row[:3])] == ["PET/CT"]
    assert contradictions(0.5, 0.7, 0.6) == [
        "the accuracy 0.5 does not lie between the sensitivity 0.7 and the specificity 0.6"
    ]
    assert contradictions(0.65, 0.7, 0.6) == []


@pytest.mark.parametrize("digits", [2, 3, 4])
def test_what_one_table_gives_is_never_contradicted(digits: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        table = generator.integers(1, 200, (1, 2, 2))
        measures = {name: round(float(values[0, 1]), digits) for name, values in rates(table).items()}
        overall = round(float(accuracy(table)[0]), digits)
        negatives, positives = table[0].sum(axis=1)
        shares = overall, measures["sensitivity"], measures["specificity"]
        assert consistent(*shares)
        assert contradictions(*shares, positives, negatives, measures["f1"], tolerance=3 * 10.0**-digits) == []


def test_the_f1_of_the_negative_class_is_accepted() -> None:
    table = np.array([[[40, 10], [20, 30]]])
    measures = rates(table)
    shares = float(accuracy(table)[0]), measures["sensitivity"][0, 1], measures["specificity"][0, 1]
    assert contradictions(*shares, 50, 50, f1=float(measures["f1"][0, 0])) == []
    assert len(contradictions(*shares, 50, 50, f1=0.9)) == 1
