"""The state of a training: everything from which it continues to the same weights."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from heatproof.errors import StoreError

from .folder import writing

PROGRESS = "progress.json"
PREFIX = "state-"


@dataclass(frozen=True)
class Progress:
    """How far a training is: the next epoch and step, the sums of the losses in this epoch, and what is known so far.

    ``history`` has one record per finished epoch; ``best`` is the epoch of the checkpoint, None before the first.
    """

    epoch: int = 0
    step: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)
    count: int = 0
    history: tuple[Mapping[str, Any], ...] = ()
    best: int | None = None

    def changed(self, **changes: Any) -> "Progress":
        """Return the progress with other values."""
        return replace(self, **changes)


def save(accelerator: Accelerator, folder: Path, progress: Progress) -> None:
    """Write the state in one step, then remove the older ones; raises ``StoreError``, and then the older ones stay."""
    partial = folder / f".partial-state-{os.getpid()}"
    target = folder / f"{PREFIX}{progress.epoch:06d}-{progress.step:08d}"
    with writing(folder):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _write(accelerator, partial)
            (partial / PROGRESS).write_text(json.dumps(asdict(progress)), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for older in folder.glob(f"{PREFIX}*"):
            if older != target:
                shutil.rmtree(older)


def _write(accelerator: Accelerator, partial: Path) -> None:
    """Let Accelerate write weights, optimiser and generators; its errors of a full disk become those of the disk."""
    try:
        accelerator.save_state(str(partial))
    except RuntimeError as error:  # torch has no class of its own for a file that cannot be written
        raise OSError(0, next(iter(str(error).splitlines()), "RuntimeError")) from error


def load(accelerator: Accelerator, folder: Path) -> Progress:
    """Restore the newest state of a folder; a folder without one starts from the beginning.

    Raises ``StoreError`` for a state that cannot be read.
    """
    states = sorted(folder.glob(f"{PREFIX}*"))
    if not states:
        return Progress()
    try:
        values = json.loads((states[-1] / PROGRESS).read_text(encoding="utf-8"))
        accelerator.load_state(str(states[-1]))
        return Progress(**values | {"history": tuple(values["history"])})
    except Exception as error:  # a damaged file raises what its format raises
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise StoreError(
            f"the state {states[-1]} cannot be read ({reason:.160}); remove it, and run the same command again: "
            "training then starts anew."
        ) from error
