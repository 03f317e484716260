"""Files of a reproduction: each is written whole or not at all, and errors of the disk say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heatproof.errors import StoreError
from heatproof_fresh_folders import file


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into a ``StoreError`` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(
            f"cannot write to {folder}: {reason}; make room, or choose another --output, and give the same command "
            "again: finished steps are kept."
        ) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: it has its old content or the new one. Raises ``StoreError``."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file.replace_file(path, content)
