"""Digests of values, files and installed versions, from which identities and keys are made."""

import hashlib
import json
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement


def digest(value: Any) -> str:
    """Return the blake2b digest (32 hexadecimal digits) of a value that JSON can write; ignores the order of keys.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """Return the blake2b digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def requirements(name: str) -> list[str]:
    """Return the names of the dependencies of a distribution, sorted; empty if it is not installed."""
    entries = chain.from_iterable(distribution.requires or () for distribution in distributions(name=name))
    return sorted({Requirement(entry).name for entry in entries})


def versions_digest(name: str) -> str:
    """Return the digest of the installed versions of a distribution's dependencies: decoders may differ by rounding."""
    versions: list[list[str]] = []
    for dependency in requirements(name):
        versions += [[dependency, distribution.version] for distribution in distributions(name=dependency)]
    return digest(versions)
