"""Partial files and folders, which become whole by one rename, and errors of the disk."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import duckdb

from ..errors import StoreError


@contextmanager
def working(folder: Path) -> Iterator[Path]:
    """Create a partial folder within another; it is removed at the end unless it was renamed."""
    partial = partial_path(folder)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def partial_path(folder: Path) -> Path:
    """A new path with the host and process in its name."""
    return folder / f".partial-{socket.gethostname()}-{os.getpid()}-{uuid4().hex}"


def abandoned(partial: Path) -> bool:
    """Whether a partial folder belongs to a process of this machine that has ended."""
    match = re.fullmatch(r"\.partial-(.+)-(\d+)-[^-]+", partial.name)
    if match is None or match[1] != socket.gethostname():
        return False
    # A restarted container may give this process an old number; it sweeps before it writes anything itself.
    return int(match[2]) == os.getpid() or not _running(int(match[2]))


def _running(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:
        return True
    # A killed process remains as a zombie until its parent waits for it, which in a container may never happen.
    return state != "Z"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into a ``StoreError`` that says what to do."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        raise StoreError(
            f"cannot write to {folder}: {reason_of(error)}; make room, or choose another output folder, and run the "
            "same command again: everything committed so far is kept."
        ) from error


def reason_of(error: Exception) -> str:
    """The operating system's message, which DuckDB wraps in JSON."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    number = re.search(r'"errno":"(\d+)"', str(error))
    if number:
        return os.strerror(int(number[1]))
    return str(error).splitlines()[0]
