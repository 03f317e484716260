"""Checks: laws bound to a component, and their results."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from unittest import SkipTest

from ..errors import HeatproofError, PluginError, near

Outcome = Literal["passed", "failed", "skipped", "expected"]


class Violation(AssertionError):
    """A component breaks a law; the message says what was seen and what the law allows."""


class NotApplicable(SkipTest):
    """A law does not apply to this component; pytest shows the check as skipped."""


@dataclass(frozen=True)
class Check:
    """One law for one component; a call raises ``Violation`` if the component breaks the law."""

    law: Callable[[Any], None]
    bench: Any

    @property
    def name(self) -> str:
        """The law as a sentence."""
        return self.law.__name__.replace("_", " ")

    def __call__(self) -> None:
        """Check the component."""
        self.law(self.bench)

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Result:
    """The result of one check; the outcome ``expected`` is a failure that was announced with a reason."""

    name: str
    outcome: Outcome
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the check did not fail unexpectedly."""
        return self.outcome != "failed"


class ConformanceError(PluginError):
    """A component breaks some laws; ``results`` are the results of all checks."""

    def __init__(self, subject: str, results: list[Result]):
        self.results = results
        failures = [result for result in results if not result.passed]
        lines = [f"- {result.name}: {result.reason}" for result in failures]
        super().__init__("\n".join([f"{subject} fails {len(failures)} of {len(results)} checks:", *lines]))


def claim(holds: bool, message: str) -> None:
    """Raise ``Violation`` with this message unless ``holds``."""
    if not holds:
        raise Violation(message)


def run(subject: str, checks: Iterable[Check], expected: Mapping[str, str] | None = None) -> list[Result]:
    """Run all checks; raises ``ConformanceError`` at the end if a check failed.

    ``expected`` maps the names of checks that are known to fail to the reason; such a check must then fail.
    """
    checks = list(checks)
    expected = expected or {}
    require_known(expected, checks)
    results = [_result(check, expected.get(check.name)) for check in checks]
    if not all(result.passed for result in results):
        raise ConformanceError(subject, results)
    return results


def require_known(expected: Iterable[str], checks: Iterable[Check]) -> None:
    """Raise ``HeatproofError`` for an announced failure of an unknown check."""
    names = [check.name for check in checks]
    for name in expected:
        if name not in names:
            raise HeatproofError(f"no check is called {name!r}; {near(name, names)}")


def _result(check: Check, announced: str | None) -> Result:
    try:
        check()
    except NotApplicable as skipped:
        return Result(check.name, "skipped", str(skipped))
    except Exception as error:
        if announced is not None:
            return Result(check.name, "expected", announced)
        return Result(check.name, "failed", _reason(error))
    if announced is not None:
        return Result(check.name, "failed", f"it passes, although it was announced to fail ({announced}).")
    return Result(check.name, "passed")


def _reason(error: Exception) -> str:
    """The message of an error; with its class if it is not an error of heatproof."""
    if isinstance(error, (Violation, HeatproofError)):
        return str(error)
    return f"{type(error).__name__}: {error}"
