"""Progress of a run: one live line in a terminal; elsewhere a plain line per event, and one when nothing else comes."""

import math
import threading

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from ..run.execution import Observer
from ..run.work import Work
from .tables import cell

SILENCE = 30.0
"""The seconds after which a plain line says what is still going on."""
RUNNING = "running"


class Live(Observer):
    """Shows units, rate, time left and failures; ``console`` decides between a live line and plain ones."""

    def __init__(self, console: Console, transient: bool = False):
        self.units = self.done = self.failures = 0
        self.activity = "starting"
        self.since = self.printed = console.get_time()
        text = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        columns = (SpinnerColumn(), text, BarColumn(10), TextColumn("{task.fields[state]}", markup=False))
        plain = not console.is_terminal
        self.progress = Progress(
            *columns, console=console, expand=True, disable=plain, speed_estimate_period=math.inf, transient=transient
        )
        self.task = self.progress.add_task(self.activity, total=None, state="")
        self.ended = threading.Event()
        self.ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Live":
        if self.progress.disable:
            self.ticker.start()
        else:
            self.progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.ended.set()
        if self.progress.disable:
            self.ticker.join()
        else:
            self.progress.stop()

    def _tick(self) -> None:
        while not self.ended.wait(1):
            self.tick()

    def tick(self) -> None:
        """Print what is still going on if nothing was printed for ``SILENCE`` seconds."""
        now = self.progress.console.get_time()
        if now - self.printed >= SILENCE:
            activity = self.activity
            if activity == RUNNING and Work.activity:
                activity += f" {Work.activity}"
            line = f"still {activity}, {now - self.since:.0f} s"
            self._print(": ".join(filter(None, [self.state, line])))

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
        self._show(text, text, text)

    def step(self, text: str) -> None:
        """Show how far a stage is: at once in a live line, elsewhere with the next ``tick``."""
        self.activity = text
        self.progress.update(self.task, description=cell(text))

    def begin(self, units: int, done: int) -> None:
        """Show how many units are planned, and how many of them an earlier run has committed."""
        self.units = units
        self.done = done
        self.progress.reset(self.task, total=units, completed=done)
        self.progress.advance(self.task, 0)  # starts the clock of the rate
        text = f"{units} units"
        if done:
            text += f", {done} already there"
        self._show(text, text)

    def advance(self, units: int, failures: int, text: str) -> None:
        """Show committed units and how many of their cases failed."""
        self.done += units
        self.failures += failures
        self.progress.advance(self.task, units)
        self._show(text, f"{self.state}: {text}")

    def notice(self, text: str) -> None:
        """Print a remark that stays."""
        self.progress.console.print(Text(cell(text)), soft_wrap=True)

    def _show(self, text: str, line: str, activity: str = RUNNING) -> None:
        """Update the live line, or print a plain one; count the seconds of ``activity`` from now on."""
        self.activity = activity
        self.since = self.progress.console.get_time()
        self.progress.update(self.task, description=cell(text), state=self.state)
        if self.progress.disable:
            self._print(line)

    def _print(self, line: str) -> None:
        self.printed = self.progress.console.get_time()
        self.notice(line)
