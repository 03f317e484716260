"""The division of patients: by name and seed alone, in the shares that are stated."""

import hashlib

import pytest
from pydantic import ValidationError

from heatproof_cohorts.partition import SPLITS, Shares, patient_in, split_of


def drawn(patient: str, seed: int) -> float:
    """The patient's place in [0, 1): a second implementation, byte by byte."""
    text = b"split\x1f" + str(seed).encode() + b"\x1f" + patient.encode()
    bytes_ = hashlib.blake2b(text, digest_size=16).digest()
    return sum(byte / 256 ** (16 - place) for place, byte in enumerate(bytes_))


def test_splits_follow_the_digest() -> None:
    for seed in (0, 7):
        for patient in map(str, range(500)):
            place = drawn(patient, seed)
            expected = "train" if place < 0.7 else "tuning" if place < 0.85 else "test"
            assert split_of(patient, Shares(), seed) == expected


def test_shares_hold_up_to_chance() -> None:
    shares = Shares(train=0.5, tuning=0.2, test=0.3)
    found = [split_of(f"p{number}", shares, 3) for number in range(10_000)]
    for split in SPLITS:
        share = getattr(shares, split)
        assert abs(found.count(split) / 10_000 - share) < 4 * (share * (1 - share) / 10_000) ** 0.5


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_may_have_everybody(split: str) -> None:
    shares = Shares(**{name: float(name == split) for name in SPLITS})
    assert {split_of(str(number), shares, 0) for number in range(1000)} == {split}


def test_shares_are_one_together() -> None:
    with pytest.raises(ValidationError, match=r"1\.15 together; make them 1"):
        Shares(train=0.85)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Shares(train=1.2, tuning=-0.2, test=0)


def test_a_pattern_finds_the_patient() -> None:
    assert [patient_in(name, "^p([0-9]+)?_") for name in ("p7_a", "p_a", "q7_a")] == ["7", "", ""]
    assert patient_in("p7_a", None) == ""
