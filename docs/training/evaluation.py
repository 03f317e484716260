"""Measures of LesionNet's grades on a set of eyes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

GRADES = 5
REFERABLE = 2
"""The lowest grade with which a patient is referred."""


@torch.no_grad()
def graded(network: nn.Module, images: NDArray[Any], size: int = 8) -> NDArray[np.float64]:
    """The logits (n,) of images (n, 3, 448, 448)."""
    logits = [network(_piece(images[start : start + size]))[:, 0] for start in range(0, len(images), size)]
    return torch.cat(logits).double().numpy()


def _piece(images: NDArray[Any]) -> Tensor:
    return torch.from_numpy(images.astype(np.float32)).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Grades:
    """Logits (n,) and true grades (n,)."""

    logits: NDArray[np.float64]
    truth: NDArray[np.int64]

    @property
    def position(self) -> NDArray[np.float64]:
        """The predicted position on the scale from 0 to 4."""
        return (GRADES - 1) / (1 + np.exp(-self.logits))

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted grades."""
        return np.clip(np.floor(self.position + 0.5), 0, GRADES - 1).astype(np.int64)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """The number of eyes per true grade (row) and predicted grade (column)."""
        return np.bincount(GRADES * self.truth + self.predicted, minlength=GRADES**2).reshape(GRADES, GRADES)

    @property
    def kappa(self) -> float:
        """Quadratic weighted kappa: 1 - observed / expected squared disagreement."""
        expected = np.subtract.outer(self.truth, self.predicted) ** 2
        return float(1 - ((self.truth - self.predicted) ** 2).mean() / expected.mean())

    @property
    def accuracy(self) -> float:
        """The share of eyes whose predicted grade is the true one."""
        return float((self.predicted == self.truth).mean())

    @property
    def error(self) -> float:
        """The mean distance between predicted and true grade."""
        return float(np.abs(self.predicted - self.truth).mean())

    @property
    def auc(self) -> float:
        """The area under the ROC curve of the logit for referable eyes (grade 2 and above), by ranks."""
        referable = self.truth >= REFERABLE
        positive = int(referable.sum())
        above = rankdata(self.logits)[referable].sum() - positive * (positive + 1) / 2
        return float(above / (positive * (len(referable) - positive)))

    def __str__(self) -> str:
        return (
            f"n {len(self.truth)}, quadratic weighted kappa {self.kappa:.3f}, accuracy {self.accuracy:.3f}, "
            f"mean absolute error {self.error:.3f}, AUC of referable {self.auc:.3f}"
        )
