"""Checksums of a run's files: of the files of a unit, and of the ``unit.json`` that names them.

A ``unit.json`` starts with the checksum of its remaining text, and its ``digests`` name every other file of the unit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..digests import digest, file_digest
from ..errors import StoreError
from ..records import UnitKind

UNIT = "unit.json"


class DamagedUnit(StoreError):
    """A unit of a run with a file that is missing, unreadable or changed since it was committed."""

    def __init__(self, unit: Path, file: str, reason: str):
        self.kind = cast(UnitKind, unit.parent.name)
        self.key = unit.name
        self.path = unit / file
        self.reason = reason
        super().__init__(unit, file, reason)

    def __str__(self) -> str:
        return f"{self.path} is damaged ({self.reason}); run the same config again: it computes this unit again."


def sealed(text: str) -> str:
    """A JSON object in lines, with the checksum of its text as its first entry."""
    return f'{{\n "checksum": "{digest(text)}",{text[1:]}'


def unsealed(content: bytes) -> dict[str, Any]:
    """The JSON object that ``sealed`` made the text of; raises ``ValueError`` if a byte is another."""
    text = content.decode()
    _, _, rest = text.partition(",")
    if text != sealed("{" + rest):
        raise ValueError("its checksum does not match")
    return dict(json.loads(text))


def digests_of(folder: Path) -> dict[str, str]:
    """Relative path → digest of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def verify(unit: Path, digests: Mapping[str, str], prefixes: tuple[str, ...]) -> None:
    """Compare the files of a unit whose paths start with one of ``prefixes``; raises ``DamagedUnit``."""
    names = [name for name in digests if name.startswith(prefixes)]
    if not names and any(prefixes):
        raise DamagedUnit(unit, prefixes[0], "the unit has no such file")
    for name in names:
        try:
            matches = file_digest(unit / name) == digests[name]
        except OSError as error:
            raise DamagedUnit(unit, name, error.strerror or str(error)) from error
        if not matches:
            raise DamagedUnit(unit, name, "its checksum does not match")
