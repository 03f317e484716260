"""Suggestions in errors: similar names."""

from heatproof.errors import near


def test_near_names_and_the_allowed_ones() -> None:
    assert near("gradcm", ["gradcam", "gradient"]) == "did you mean 'gradcam'?"
    assert near("xyz", ["b", "a"]) == "allowed: a, b"
    assert near("xyz", []) == "allowed: none"
