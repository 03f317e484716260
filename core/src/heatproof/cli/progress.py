"""Progress of a run: one live line in a terminal, one plain line per event elsewhere."""

import math
import threading
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from ..run.execution import Observer
from ..run.work import Work
from .tables import cell


class Live(Observer):
    """Shows units, rate, time left and failures; ``console`` decides between a live line and plain ones.

    When no plain line was printed for ``patience`` seconds, one says what the run waits for.
    """

    def __init__(self, console: Console, patience: float = 30):
        self.patience = patience
        self.text = "starting"
        self.last = time.monotonic()
        self._printed = threading.Event()
        self._ended = False
        self.units = self.done = self.failures = 0
        text = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        columns = (SpinnerColumn(), text, BarColumn(10), TextColumn("{task.fields[state]}", markup=False))
        plain = not console.is_terminal
        self.progress = Progress(*columns, console=console, expand=True, disable=plain, speed_estimate_period=math.inf)
        self.task = self.progress.add_task("starting", total=None, state="")

    def __enter__(self) -> "Live":
        self.progress.start()
        if self.progress.disable:
            threading.Thread(target=self._remind, daemon=True).start()
        return self

    def __exit__(self, *details: object) -> None:
        self._ended = True
        self._printed.set()
        if not self.progress.disable:
            self.progress.stop()

    def _remind(self) -> None:
        """Print a line whenever there was none for some time, until the run ends."""
        while not self._ended:
            if self._printed.wait(self.patience):
                self._printed.clear()
                continue
            parts = [self.text, Work.activity, f"{time.monotonic() - self.last:.0f} s"]
            if self.units:
                parts[0] = f"{self.done} of {self.units} units"
            self._print(f"still running: {', '.join(filter(None, parts))}")

    @property
    def state(self) -> str:
        """Units, rate, time left and failures; rate and time left need a unit committed since the start."""
        if not self.units:
            return ""
        parts = [f"{self.done}/{self.units} units"]
        task = self.progress.tasks[0]
        if task.speed:
            parts.append(f"{60 * task.speed:.3g}/min")
            if not task.finished:
                parts.append(f"{TimeRemainingColumn().render(task)} left")
        return ", ".join([*parts, f"{self.failures} failed"])

    def stage(self, text: str) -> None:
        """Show what starts now and takes a while."""
        self._show(text, text)

    def begin(self, units: int, done: int) -> None:
        """Show how many units are planned, and how many of them an earlier run has committed."""
        self.units = units
        self.done = done
        self.progress.reset(self.task, total=units, completed=done)
        self.progress.advance(self.task, 0)  # starts the clock of the rate
        text = f"{units} units"
        if done:
            text += f", {done} already there"
        self.stage(text)

    def advance(self, units: int, failures: int, text: str) -> None:
        """Show committed units and how many of their cases failed."""
        self.done += units
        self.failures += failures
        self.progress.advance(self.task, units)
        self._show(text, f"{self.state}: {text}")

    def _show(self, text: str, line: str) -> None:
        """Update the live line, or print a plain one."""
        self.progress.update(self.task, description=cell(text), state=self.state)
        self.text = text
        self.last = time.monotonic()
        self._printed.set()
        if self.progress.disable:
            self._print(line)

    def _print(self, line: str) -> None:
        self.progress.console.print(Text(cell(line)), soft_wrap=True)
