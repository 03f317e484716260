"""Statistics of how doubtful the decision of a distribution over classes is, as logarithms.

The statistics are 0 for certainty and C - 1 for C equal classes. They avoid the difference 1 - p, whose rounding would
make almost certain decisions equal; of the logarithms, even the smallest do not underflow.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def log_alpha(logs: Tensor) -> Tensor:
    """log((1 - g) / g) (n,) from log-probabilities (n, class), g the sum of their squares.

    (1 - g) / g is the odds that two draws from the distribution differ.

    >>> round(log_alpha(torch.tensor([[0.7, 0.2, 0.1]]).double().log()).exp().item(), 6)
    0.851852
    """
    return torch.logsumexp(logs + _others(logs), dim=1) - torch.logsumexp(2 * logs, dim=1)


def log_beta(logs: Tensor) -> Tensor:
    """log((1 - p) / p) (n,) from log-probabilities (n, class), p the largest probability.

    (1 - p) / p is the odds that the decision is wrong.

    >>> round(log_beta(torch.tensor([[0.7, 0.2, 0.1]]).double().log()).exp().item(), 6)
    0.428571
    """
    largest = logs.argmax(1, keepdim=True)
    return (_others(logs) - logs).gather(1, largest)[:, 0]


def _others(logs: Tensor) -> Tensor:
    """The log-probability (n, class) of all other classes together, without the difference 1 - p."""
    diagonal = torch.eye(logs.shape[1], dtype=torch.bool, device=logs.device)
    return logs[:, None, :].masked_fill(diagonal, -torch.inf).logsumexp(2)


DISCRIMINATORS: Mapping[str, Callable[[Tensor], Tensor]] = {"alpha": log_alpha, "beta": log_beta}
"""Name → logarithm of the statistic."""
