"""Digests of values, files and installed versions: what identities and keys are made of."""

import hashlib
import json
import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Any


def digest(value: Any) -> str:
    """The blake2b digest (32 hexadecimal digits) of a value that JSON can write; the order of keys does not matter.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """The blake2b digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def requirements(name: str) -> list[str]:
    """The names of all that a distribution asks for; none where it is not installed."""
    entries = [entry for distribution in distributions(name=name) for entry in distribution.requires or ()]
    return sorted({re.split(r"[^\w.-]", entry, maxsplit=1)[0] for entry in entries})


def versions_digest(name: str) -> str:
    """The digest of the installed versions of all that a distribution asks for; two decoders may differ by rounding."""
    versions = [
        [needed, distribution.version] for needed in requirements(name) for distribution in distributions(name=needed)
    ]
    return digest(versions)
