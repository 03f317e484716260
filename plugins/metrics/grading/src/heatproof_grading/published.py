"""Whether published figures of a binary decision can belong to one set of cases."""

from collections.abc import Iterator


def consistent(accuracy: float, sensitivity: float, specificity: float) -> bool:
    """Whether the accuracy lies between sensitivity and specificity, as it must: it is their weighted mean.

    Rounding keeps the order, so that figures printed with the same digits need no tolerance.

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
    """What is impossible about published shares in [0, 1], a sentence each; empty where they fit one set of cases.

    With the numbers of cases, accuracy and F1 follow from sensitivity and specificity; they contradict beyond
    ``tolerance``, which allows for rounding and for means over folds. The F1 of either class is accepted.

    >>> contradictions(0.6608, 0.8529, 0.3375, 136, 80, f1=0.3926)
    ['the F1 0.3926 is neither 0.7606, that of the positive class, nor 0.4252, that of the negative one']
    """
    found = [] if consistent(accuracy, sensitivity, specificity) else [_outside(accuracy, sensitivity, specificity)]
    if positives is None or negatives is None:
        return found
    return found + list(_implied(accuracy, sensitivity, specificity, positives, negatives, f1, tolerance))


def _outside(accuracy: float, sensitivity: float, specificity: float) -> str:
    return (
        f"the accuracy {accuracy:.4g} does not lie between the sensitivity {sensitivity:.4g} and the specificity "
        f"{specificity:.4g}"
    )


def _implied(
    accuracy: float, sensitivity: float, specificity: float, positives: int, negatives: int, f1: float | None,
    tolerance: float,
) -> Iterator[str]:  # fmt: skip
    """What the counts of one table that has these sensitivity and specificity contradict."""
    found, spared = sensitivity * positives, specificity * negatives
    wrong = positives - found + negatives - spared
    implied = (found + spared) / (positives + negatives)
    if abs(accuracy - implied) > tolerance:
        yield f"the accuracy {accuracy:.4g} is not {implied:.4g}, which follows from the rates and the numbers of cases"
    scores = [2 * right / (2 * right + wrong) if right + wrong else 0.0 for right in (found, spared)]
    if f1 is not None and min(abs(f1 - score) for score in scores) > tolerance:
        yield (
            f"the F1 {f1:.4g} is neither {scores[0]:.4g}, that of the positive class, nor {scores[1]:.4g}, that of the "
            "negative one"
        )
