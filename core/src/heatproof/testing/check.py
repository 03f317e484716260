"""Checks: laws bound to the component they are asked of, and what came of asking."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from unittest import SkipTest

from ..errors import HeatproofError, PluginError, near

Outcome = Literal["passed", "failed", "skipped", "expected"]


class Violation(AssertionError):
    """A law that a component breaks; the message says what was seen and what the law allows."""


class NotApplicable(SkipTest):
    """A law that says nothing about this component; pytest shows it as skipped."""


@dataclass(frozen=True)
class Check:
    """One law of one component; calling it raises ``Violation`` when the law is broken."""

    law: Callable[[Any], None]
    bench: Any

    @property
    def name(self) -> str:
        """The law as a sentence."""
        return self.law.__name__.replace("_", " ")

    def __call__(self) -> None:
        """Ask the law of the component."""
        self.law(self.bench)

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Result:
    """What came of one check; ``expected`` is a failure that was announced with a reason."""

    name: str
    outcome: Outcome
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the component."""
        return self.outcome != "failed"


class ConformanceError(PluginError):
    """Laws that a component breaks; ``results`` holds all that was checked."""

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
    """The results of all checks; raises ``ConformanceError`` at the end when one failed.

    ``expected`` maps the names of checks that are known to fail to the reason; such a check must then fail.
    """
    checks, expected = list(checks), expected or {}
    require_known(expected, checks)
    results = [_result(check, expected.get(check.name)) for check in checks]
    if not all(result.passed for result in results):
        raise ConformanceError(subject, results)
    return results


def require_known(expected: Iterable[str], checks: Iterable[Check]) -> None:
    """Raise ``HeatproofError`` when an announced failure names no check."""
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
    """The message of a violation or of heatproof; any other error with its kind."""
    if isinstance(error, (Violation, HeatproofError)):
        return str(error)
    return f"{type(error).__name__}: {error}"
