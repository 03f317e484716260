"""Divides the patients of a dataset among splits where its authors published no splits."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from heatproof.component import Params
from heatproof.seeding import key

SPLITS = ("train", "tuning", "test")


class Shares(Params):
    """The share of patients in each split; the shares add up to 1."""

    train: float = Field(default=0.7, ge=0, le=1)
    tuning: float = Field(default=0.15, ge=0, le=1)
    test: float = Field(default=0.15, ge=0, le=1)

    @model_validator(mode="after")
    def _together_one(self) -> Self:
        total = self.train + self.tuning + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of train, tuning and test add up to {total:g}; make them add up to 1")
        return self


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"the pattern cannot be read ({error})") from None
    if groups != 1:
        raise ValueError("give a pattern with exactly one group, such as ^([0-9]+)_")
    return pattern


Pattern = Annotated[str, AfterValidator(_one_group)]
"""A regular expression; its one group is the patient in the name of a file."""


def patient_in(name: str, pattern: str | None) -> str:
    """Find the patient in a file's name; empty where the pattern does not match or there is no pattern.

    >>> patient_in("10_left", "^([0-9]+)_")
    '10'
    """
    if pattern is None:
        return ""
    match = re.search(pattern, name)
    if match is None:
        return ""
    return match[1] or ""


def split_of(patient: str, shares: Shares, seed: int) -> str:
    """Draw the split of a patient from its name and the seed alone: the same on every machine.

    A patient stays in its split when images are missing or filtered, so the shares hold only on average.
    """
    position = key("split", seed, patient) / 2**128
    if position < shares.train:
        return "train"
    if position < shares.train + shares.tuning or not shares.test:
        return "tuning"
    return "test"
