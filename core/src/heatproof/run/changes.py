"""Changes of files since earlier runs into the same folder, whose units are computed again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..digests import digest
from ..errors import StoreError
from ..plan.sample_cache import prepared
from ..plan.task import Task
from ..results.store import Run
from .execution import weight


def changes(run: Run, tasks: Sequence[Task]) -> str:
    """Log and return a sentence on the files whose change makes units new, with their number; empty without any."""
    missing = [task for task in tasks if not run.has("predictions", task.prediction)]
    new = {digest([task.source.dataset.describe(), task.model.describe(), task.ids]): task for task in missing}
    changed: dict[str, Task] = {}
    examples: set[str] = set()
    for key in run.keys("predictions") - {task.prediction for task in tasks}:
        with suppress(StoreError, KeyError):  # a unit of earlier files may be damaged, or of an earlier version
            meta = run.meta("predictions", key)
            task = new[digest([meta["dataset"], meta["model"], meta["ids"]])]
            if files := _changed(task, meta["files"]):
                changed[task.prediction] = task
                examples.update(files)
    if not changed:
        return ""
    units = sum(map(weight, changed.values()))
    sentence = f"files have changed since the last run, such as {min(examples)}; units computed again: {units}"
    run.log(sentence)
    return sentence


def _changed(task: Task, files: Mapping[str, str]) -> list[str]:
    """Those of these files, with their digests, whose content is another now."""
    root = task.source.dataset.root() or Path()
    digests = prepared(task.cache).contents.stamps.of([root / name for name in files])
    return [name for name, value in zip(files, digests) if value != files[name]]
