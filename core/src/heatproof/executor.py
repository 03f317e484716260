"""Executors: where the tasks of a run are done."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .component import Component, P

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Component[P], Generic[Job, Result, P]):
    """Runs tasks anywhere and in any order; a task may be run again, since whatever it commits stays."""

    @abstractmethod
    def run(
        self,
        tasks: Sequence[Job],
        work: Callable[[Job], Result],
        done: Callable[[Job, Result], None],
        lost: Callable[[Job, str], None],
        threads: int,
    ) -> None:
        """Call ``work`` on every task and ``done`` here with each result; ``lost`` when a task kills its workers."""
        raise NotImplementedError
