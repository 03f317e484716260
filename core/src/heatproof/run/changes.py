"""Changes of files since earlier runs into the same folder, whose units are computed again."""

from collections.abc import Sequence
from contextlib import suppress

from ..digests import digest
from ..errors import StoreError
from ..plan.sample_cache import prepared
from ..plan.task import Task
from ..results.store import Run
from .execution import weight


def changes(run: Run, tasks: Sequence[Task]) -> str:
    """Log and return a sentence on the files whose change makes units new, with their number; empty without any."""
    new = {_samples_of(task): task for task in tasks if not run.has("predictions", task.prediction)}
    changed: dict[str, Task] = {}
    example = ""
    if new:
        for key in run.keys("predictions") - {task.prediction for task in tasks}:
            with suppress(StoreError):  # a damaged unit of an earlier version changes nothing
                meta = run.meta("predictions", key)
                samples = digest([meta["dataset"], meta["model"], meta["ids"]])
                if samples in new and (file := _changed_file(new[samples], meta["files"])):
                    changed[samples] = new[samples]
                    example = min(example or file, file)
    if not changed:
        return ""
    units = sum(map(weight, changed.values()))
    sentence = f"files have changed since the last run, such as {example}; units computed again: {units}"
    run.log(sentence)
    return sentence


def _samples_of(task: Task) -> str:
    return digest([task.source.dataset.describe(), task.model.describe(), task.ids])


def _changed_file(task: Task, files: dict[str, str]) -> str:
    """The first of these files, with their digests, whose content is another now; empty if none is."""
    root = task.source.dataset.root()
    paths = [root / name for name in files] if root else []
    digests = prepared(task.cache).contents.stamps.of(paths)
    return next((name for name, value in zip(files, digests) if value != files[name]), "")
