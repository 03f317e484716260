"""Writes a folder whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heatproof.errors import HeatproofError


@contextmanager
def fresh_folder(folder: Path) -> Iterator[None]:
    """Make an empty folder to write to, and remove it on any error.

    Raises ``HeatproofError`` where the folder is not empty or cannot be written.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise HeatproofError(
                f"{folder} is not empty; choose another name or folder, so that nothing is overwritten."
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise _unwritable(folder, error) from error
        raise


def _unwritable(folder: Path, error: OSError) -> HeatproofError:
    return HeatproofError(f"cannot write to {folder}: {error.strerror or error}; make room, or choose another folder.")
