"""Files of a reproduction: each is written whole or not at all, and errors of the disk say what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heatproof.errors import StoreError


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
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
