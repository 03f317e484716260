"""Checks whether published figures of a binary decision can belong to one set of cases."""

from collections.abc import Iterator


def consistent(accuracy: float, sensitivity: float, specificity: float) -> bool:
    """Check that the accuracy lies between sensitivity and specificity: it is their weighted mean.

    Rounding keeps the order: figures rounded to the same number of digits need no tolerance.

    >>> consistent(0.7, 0.75, 2 / 3), consistent(69.77, 69.76, 65.76)
    (True, False)
    """
    return min(sensitivity, specificity) <= accuracy <= max(sensitivity, specificity)


def contradictions(
    accuracy: float,
    sensitivity: float,
    specificity: float,
    positives: int | None = None,
    negatives: int | None = None,
    f1: float | None = None,
    tolerance: float = 0.01,
) -> list[str]:
    """List the contradictions among published shares in [0, 1] as sentences; empty if they fit one set of cases.

    With the numbers of cases, accuracy and F1 follow from sensitivity and specificity; a difference above ``tolerance``
    is a contradiction (rounding and means over folds cause small ones). The F1 of either class is accepted.

    >>> contradictions(0.6608, 0.8529, 0.3375, 136, 80, f1=0.3926)
    ['the F1 0.3926 is neither 0.7606, that of the positive class, nor 0.4252, that of the negative one']
    """
    sentences = []
    if not consistent(accuracy, sensitivity, specificity):
        sentences.append(
            f"the accuracy {accuracy:.4g} does not lie between the sensitivity {sensitivity:.4g} and the specificity "
            f"{specificity:.4g}"
        )
    if positives is not None and negatives is not None:
        sentences.extend(_by_counts(accuracy, sensitivity, specificity, positives, negatives, f1, tolerance))
    return sentences


def _by_counts(
    accuracy: float, sensitivity: float, specificity: float, positives: int, negatives: int, f1: float | None,
    tolerance: float,
) -> Iterator[str]:  # fmt: skip
    """Yield the contradictions to the table of counts that follows from sensitivity and specificity."""
    true_positives = sensitivity * positives
    true_negatives = specificity * negatives
    wrong = positives - true_positives + negatives - true_negatives
    implied = (true_positives + true_negatives) / (positives + negatives)
    if abs(accuracy - implied) > tolerance:
        yield f"the accuracy {accuracy:.4g} is not {implied:.4g}, which follows from the rates and the numbers of cases"
    rights = (true_positives, true_negatives)
    scores = [2 * right / (2 * right + wrong) if right + wrong else 0.0 for right in rights]
    if f1 is not None and min(abs(f1 - score) for score in scores) > tolerance:
        yield (
            f"the F1 {f1:.4g} is neither {scores[0]:.4g}, that of the positive class, nor {scores[1]:.4g}, that of the "
            "negative one"
        )
