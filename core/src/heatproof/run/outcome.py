"""The outcome of a task: committed units, failures and their reasons, and the time spent."""

import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import HeatproofError, Undefined
from ..records import Status


@dataclass(frozen=True)
class Failure:
    """Why a case has no value, and its status in the tables."""

    reason: str
    status: Status = "failed"


@dataclass
class Outcome:
    """Committed units, failed cases, seconds by kind of work, messages for the log, and notices for the user."""

    units: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    messages: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @contextmanager
    def clock(self, kind: str) -> Iterator[None]:
        """Add the seconds of the block to a kind of work: decoding, passes, metrics or all."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] += time.perf_counter() - start

    def failure(self, subject: str, error: Exception) -> Failure:
        """The failure for an error, its traceback in the log; ``Undefined`` makes a case excluded, not failed."""
        if isinstance(error, Undefined):
            return Failure(str(error), "excluded")
        reason = f"{type(error).__name__}: {error}".strip()
        trace = "\n" + "".join(traceback.format_exception(error)).rstrip()
        if isinstance(error, HeatproofError):
            reason = str(error)
            trace = ""
        self.messages.append(f"{subject}: {reason}{trace}")
        return Failure(" ".join(reason.split()))
