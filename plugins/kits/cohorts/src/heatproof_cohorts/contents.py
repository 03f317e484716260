"""The contents of samples that a check has loaded: findings that no annotation shows, and images of low contrast."""

from collections import Counter
from threading import Lock

import numpy as np

from heatproof.dataset import Tally
from heatproof.imaging.transforms import source_of
from heatproof.records import Sample

ADVICE = "no sample shows the finding; if that is not what you expect, look at one of its masks"
SHARE = 1 / 8
"""An image of more than 8 bits whose values span less than this share of their type has a low contrast."""


class Contents:
    """Collects what the loaded samples contain; ``add`` may be called by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.examined: Counter[str] = Counter()
        self.shown: set[str] = set()
        self.narrow: list[str] = []

    def add(self, sample: Sample) -> None:
        """Count the findings of a sample as its dataset loads it, and look at its values."""
        shown = {annotation.finding for annotation in sample.annotations if annotation.values.any()}
        narrow = _narrow(sample)
        with self._lock:
            self.examined.update(sample.findings())
            self.shown |= shown
            self.narrow += narrow

    def tallies(self) -> list[Tally]:
        """The findings whose annotations are empty in every sample, and the images of low contrast."""
        empty = self.examined.keys() - self.shown
        narrow = sorted(self.narrow)
        tallies = [
            Tally(f"annotations of {finding} that are empty: all", self.examined[finding], None, ADVICE)
            for finding in sorted(empty)
        ]
        if narrow:
            tallies.append(Tally("images of low contrast", len(narrow), None, narrow[0]))
        return tallies


def _narrow(sample: Sample) -> list[str]:
    """A sentence about an image of more than 8 bits with a low contrast."""
    image = sample.image
    if image.dtype.kind != "u" or image.itemsize == 1:
        return []
    white = int(np.iinfo(image.dtype).max)
    low = int(image.min())
    high = int(image.max())
    if high - low >= SHARE * white:
        return []
    return [f"{source_of(sample)}: {low} to {high} of {white}; see the setting `window`"]
