"""How a run goes: a live line in a terminal, one plain line per event elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column
from rich.text import Text

from ..run.execution import Observer
from .tables import cell


class Live(Observer):
    """Tells units, rate, time left and failures; ``console`` decides between a live line and plain ones."""

    def __init__(self, console: Console):
        self.console, self.units, self.done, self.failures = console, 0, 0, 0
        self.first, self.start = 0, time.monotonic()
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(10),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("starting", total=None, state="")

    def __enter__(self) -> "Live":
        self.progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        if not self.progress.disable:
            self.progress.stop()

    @property
    def state(self) -> str:
        """Units, rate, time left and failures, as far as they are known."""
        parts = [f"{self.done}/{self.units} units", *self._pace(), f"{self.failures} failed"]
        return ", ".join(parts) if self.units else ""

    def stage(self, text: str) -> None:
        """Something starts that takes a while."""
        self._show(text, text)

    def begin(self, units: int, done: int) -> None:
        """So many units are planned, so many of them are committed already."""
        self.units, self.done, self.first, self.start = units, done, done, time.monotonic()
        self.progress.update(self.task, total=units)
        self.stage(f"{units} units, {done} already there" if done else f"{units} units")

    def advance(self, units: int, failures: int, text: str) -> None:
        """Units were committed, some of their cases failed."""
        self.done, self.failures = self.done + units, self.failures + failures
        self._show(text, f"{self.state}: {text}")

    def _pace(self) -> list[str]:
        """Rate and time left, by what was done since the start."""
        made, seconds = self.done - self.first, time.monotonic() - self.start
        if not made:
            return []
        left = [f"{duration((self.units - self.done) * seconds / made)} left"] if self.done < self.units else []
        return [f"{60 * made / max(seconds, 1e-9):.3g}/min", *left]

    def _show(self, text: str, line: str) -> None:
        """Renew the live line, or print a plain one."""
        self.progress.update(self.task, completed=self.done, description=cell(text), state=self.state)
        if self.progress.disable:
            self.console.print(Text(cell(line)), soft_wrap=True)


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(42), duration(90), duration(9000)
    ('42 s', '1.5 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
