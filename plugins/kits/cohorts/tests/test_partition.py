"""The division of patients by name and seed alone, in the given shares."""

import hashlib

import numpy as np
import pytest
from pydantic import ValidationError

from heatproof_cohorts.partition import SPLITS, Shares, patient_in, split_of


def position_of(patient: str, seed: int) -> float:
    """The patient's position in [0, 1): a second implementation, byte by byte."""
    text = b"split\x1f" + str(seed).encode() + b"\x1f" + patient.encode()
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return sum(byte / 256 ** (16 - index) for index, byte in enumerate(digest))


def test_splits_follow_the_digest() -> None:
    for seed in (0, 7):
        for patient in map(str, range(500)):
            expected = SPLITS[np.searchsorted([0.7, 0.85], position_of(patient, seed), side="right")]
            assert split_of(patient, Shares(), seed) == expected


def test_shares_hold_on_average() -> None:
    shares = Shares(train=0.5, tuning=0.2, test=0.3)
    splits = [split_of(f"p{number}", shares, 3) for number in range(10_000)]
    for split in SPLITS:
        share = getattr(shares, split)
        assert abs(splits.count(split) / 10_000 - share) < 4 * (share * (1 - share) / 10_000) ** 0.5


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_may_have_everybody(split: str) -> None:
    shares = Shares(**{name: float(name == split) for name in SPLITS})
    assert {split_of(str(number), shares, 0) for number in range(1000)} == {split}


def test_shares_that_do_not_add_up_to_one_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"add up to 1\.15; make them add up to 1"):
        Shares(train=0.85)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Shares(train=1.2, tuning=-0.2, test=0)


def test_a_pattern_finds_the_patient() -> None:
    assert [patient_in(name, "^p([0-9]+)?_") for name in ("p7_a", "p_a", "q7_a")] == ["7", "", ""]
    assert patient_in("p7_a", None) == ""
