"""Digests of values, files and installed versions, from which identities and keys are made."""

import hashlib
import json
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement


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
    names: set[str] = set()
    for distribution in distributions(name=name):
        for entry in distribution.requires or ():
            with suppress(InvalidRequirement):  # installers refuse it, so it names nothing that is installed
                names.add(Requirement(entry).name)
    return sorted(names)


def versions_digest(name: str) -> str:
    """Return the digest of the installed versions of a distribution's dependencies: decoders may differ by rounding."""
    versions: list[list[str]] = []
    for dependency in requirements(name):
        versions += [[dependency, distribution.version] for distribution in distributions(name=dependency)]
    return digest(versions)
