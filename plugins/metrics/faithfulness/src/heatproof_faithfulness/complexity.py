"""Complexity: on how few pixels does a heatmap concentrate its relevance?"""

import numpy as np
from scipy.stats import entropy

from heatproof.errors import Undefined
from heatproof.metric import Case, Metric
from heatproof.records import Array

from .ranking import examined_field, finite_heatmap


class Complexity(Metric):
    """How concentrated is a heatmap? Its sparseness (Gini index) and the entropy of its shares of relevance.

    Both are computed from the absolute values of the pixels within the field. ``sparseness`` is 0 where all are equal
    and nears 1 where one pixel has all relevance: the larger the simpler. ``entropy``, in nats, is ln n where all n
    pixels are equal and 0 where one has everything: the smaller the simpler. A large random heatmap, of uniform noise,
    has a sparseness of 1/3 and an entropy of ln n + 1/2 - ln 2. A simple heatmap need not be a faithful one.

    Sparseness: Chalasani et al., "Concise explanations of neural networks using adversarial training", ICML 2020;
    entropy: Bhatt, Weller and Moura, "Evaluating and aggregating feature-based model explanations", IJCAI 2020.
    """

    needs = frozenset({"heatmap"})
    primary = "sparseness"
    opposite = frozenset({"entropy"})

    def measure(self, case: Case) -> dict[str, float]:
        """Return ``sparseness`` and ``entropy``; raises ``Undefined`` where the heatmap is zero in the whole field."""
        relevance = np.abs(finite_heatmap(case)[examined_field(case.sample)])
        if not relevance.any():
            raise Undefined("the heatmap is zero everywhere: no pixel has a share of its relevance")
        return {"sparseness": gini(relevance), "entropy": float(entropy(relevance))}


def gini(values: Array) -> float:
    """Compute the Gini index of values (n,), none below 0 and some above it; it lies in [0, 1).

    >>> gini(np.array([1.0, 1.0, 1.0, 1.0])), gini(np.array([0.0, 0.0, 0.0, 2.0]))
    (0.0, 0.75)
    """
    count = len(values)
    ranks = np.arange(1, count + 1)
    return float((2 * ranks - count - 1) @ np.sort(values) / (count * values.sum()))
