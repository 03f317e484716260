"""What a task comes to: what it committed, what failed and why, and how long it took."""

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
    """Why a case has no value, and under which status it is listed."""

    reason: str
    status: Status = "failed"


@dataclass
class Outcome:
    """What a task came to: units committed, cases that failed, seconds by kind of work, and what to log."""

    units: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    messages: list[str] = field(default_factory=list)

    @contextmanager
    def clock(self, kind: str) -> Iterator[None]:
        """Count the seconds spent on a kind of work: decoding, passes or metrics."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] += time.perf_counter() - start

    def failure(self, what: str, error: Exception) -> Failure:
        """A failure's reason in a line; the traceback goes to the log. What is undefined is excluded, not failed."""
        if isinstance(error, Undefined):
            return Failure(str(error), "excluded")
        reason = f"{type(error).__name__}: {error}".strip()
        trace = "\n" + "".join(traceback.format_exception(error)).rstrip()
        if isinstance(error, HeatproofError):
            reason = str(error)
            trace = ""
        self.messages.append(f"{what}: {reason}{trace}")
        return Failure(" ".join(reason.split()))
