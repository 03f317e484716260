"""Deprecations warn at the caller's line, once more for type checkers, in one sentence."""

import warnings

import pytest

from heatproof.deprecation import HeatproofDeprecationWarning, deprecated

SENTENCE = "old is deprecated since heatproof 0.2 and will be removed in 0.4; use new."


@deprecated("old", "0.2", "0.4", "new")
def old(number: int) -> int:
    """Double a number."""
    return 2 * number


@deprecated("old", "0.2", "0.4", "new")
class Old:
    """A class that goes away."""

    def __init__(self, number: int) -> None:
        self.number = number


def scaled(number: int, factor: int | None = None) -> int:
    """Return the number; ``factor`` goes away."""
    if factor is not None:
        warnings.warn(deprecated("old", "0.2", "0.4", "new").message, HeatproofDeprecationWarning, stacklevel=2)
    return number * (factor or 1)


def test_a_function_still_works_and_warns_at_its_call() -> None:
    with pytest.warns(HeatproofDeprecationWarning) as warned:
        assert old(3) == 6
    assert [str(warning.message) for warning in warned] == [SENTENCE]
    assert warned[0].filename == __file__


def test_a_class_still_works_and_warns_at_its_call() -> None:
    with pytest.warns(HeatproofDeprecationWarning) as warned:
        assert Old(3).number == 3
    assert [str(warning.message) for warning in warned] == [SENTENCE]
    assert warned[0].filename == __file__


def test_an_argument_warns_at_the_line_that_gives_it() -> None:
    with pytest.warns(HeatproofDeprecationWarning) as warned:
        assert scaled(3, factor=2) == 6
    assert [(str(warning.message), warning.filename) for warning in warned] == [(SENTENCE, __file__)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scaled(3) == 3


def test_users_see_it_by_default() -> None:
    """Python hides a DeprecationWarning outside of ``__main__``; the base class of this one is shown."""
    assert issubclass(HeatproofDeprecationWarning, FutureWarning)
