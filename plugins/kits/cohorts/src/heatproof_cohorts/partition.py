"""Divides patients among splits where the authors of a dataset published no division."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from heatproof.component import Params
from heatproof.seeding import key

SPLITS = ("train", "tuning", "test")


class Shares(Params):
    """The share of patients that each split gets; together one."""

    train: float = Field(default=0.7, ge=0, le=1)
    tuning: float = Field(default=0.15, ge=0, le=1)
    test: float = Field(default=0.15, ge=0, le=1)

    @model_validator(mode="after")
    def _together_one(self) -> Self:
        total = self.train + self.tuning + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of train, tuning and test are {total:g} together; make them 1")
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
"""A regular expression with one group, which finds the patient in the name of a file."""


def patient_in(name: str, pattern: str | None) -> str:
    """The patient whom a name tells; empty where it tells none, or there is no pattern.

    >>> patient_in("10_left", "^([0-9]+)_")
    '10'
    """
    match = re.search(pattern, name) if pattern else None
    return (match[1] or "") if match else ""


def split_of(patient: str, shares: Shares, seed: int) -> str:
    """The split of a patient: drawn by its name and the seed alone, so the same on every machine.

    Neither missing images nor a filter moves anybody to another split; in return shares hold up to chance.
    """
    place = key("split", seed, patient) / 2**128
    if place < shares.train:
        return "train"
    return "tuning" if place < shares.train + shares.tuning or not shares.test else "test"
