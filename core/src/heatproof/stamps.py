"""Digests of files by content, remembered by their stamps, so that an unchanged download is read once."""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock

from .digests import file_digest

SETTLED = 2.0
"""The seconds since its last change after which a file is remembered: two writes in one tick give it one stamp."""
PATIENCE = 10.0
"""The seconds to wait while another process writes."""
TABLE = "create table if not exists files (path blob primary key, stamp text, digest text)"


class Stamps:
    """The digests of files by path and stamp, in this process and in a file of SQLite (None: in this process only).

    A stamp is the size, modification time, inode and change time of a file. Copies and archives restore the
    modification time, but none of them sets the change time. If the file of SQLite cannot be used, digests are not
    remembered after this process, which ``warn`` says once.
    """

    def __init__(self, file: Path | None, warn: Callable[[str], None]):
        self.file = file
        self.warn = warn
        self._known: dict[str, tuple[str, str]] = {}  # path → stamp and digest
        self._lock = Lock()

    def of(self, paths: Sequence[Path], fresh: bool = False) -> list[str | None]:
        """The digest of each file's bytes, None for one that cannot be read; ``fresh`` reads all of them again."""
        now = time.time()
        names = [os.path.abspath(path) for path in paths]
        stamps = {name: _stamp(name) for name in names}
        if not fresh:
            unknown = [name for name, stamp in stamps.items() if self._known.get(name, ("",))[0] != stamp]
            rows = self._query("select stamp, digest from files where path = ?", [(os.fsencode(n),) for n in unknown])
            self._known |= {name: row for name, row in zip(unknown, rows) if row}
        digests: dict[str, str | None] = {}
        new: dict[str, tuple[str, str]] = {}
        for name, stamp in stamps.items():
            known, value = self._known.get(name, ("", None))
            if fresh or known != stamp:
                value = _read(name)
                if value and _settled(stamp, now) and _stamp(name) == stamp:
                    new[name] = (stamp, value)
            digests[name] = value
        self._known |= new
        entries = [(os.fsencode(name), *entry) for name, entry in new.items()]
        self._query("insert or replace into files values (?, ?, ?)", entries)
        return [digests[name] for name in names]

    def _query(self, statement: str, parameters: Sequence[tuple[object, ...]]) -> list[tuple[str, str]]:
        """The first row for each of these parameters, None without one; nothing if the file cannot be used."""
        if self.file is None or not parameters:
            return []
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A connection per query survives forks and threads; a power failure may cost digests, no more.
            with self._lock, closing(sqlite3.connect(self.file, timeout=PATIENCE)) as connection, connection:
                connection.execute("pragma synchronous = off")
                connection.execute(TABLE)
                return [connection.execute(statement, values).fetchone() for values in parameters]
        except (sqlite3.Error, OSError) as error:
            self.warn(f"digests of files are not remembered: {self.file} cannot be used ({error}); mend or remove it")
            self.file = None
            return []


def _stamp(name: str) -> str:
    """The stamp of a file, empty for one that is not there."""
    try:
        state = os.stat(name)
    except (OSError, ValueError):
        return ""
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ino} {state.st_ctime_ns}"


def _settled(stamp: str, now: float) -> bool:
    _, modified, _, changed = (int(number) / 1e9 for number in stamp.split())
    return now - changed > SETTLED and abs(now - modified) > SETTLED


def _read(name: str) -> str | None:
    try:
        return file_digest(Path(name))
    except (OSError, ValueError):
        return None
