"""Finds the plugins that are installed: entry points of group ``heatproof``, and what stands in their way."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import entrypoints

GROUP = "heatproof"


@dataclass(frozen=True)
class Announcement:
    """A plugin as its distribution announces it; ``target`` is its module, or ``"module:object"``."""

    entry: str
    target: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Broken:
    """A plugin that is set apart, or an unreadable distribution; ``entry`` is empty where it could not be read."""

    distribution: str
    version: str
    entry: str
    reason: str


def discover(path: Sequence[str] | None = None) -> tuple[list[Announcement], list[Broken]]:
    """All plugins on ``path`` (``sys.path``) in order of distribution and entry, and the distributions at fault.

    The first distribution on the path hides later ones of its name. Each is read by itself, since one malformed file of
    anybody's package makes ``entrypoints.get_group_all`` raise.
    """
    folders: dict[str, Any] = {} if path is None else {"path": list(path)}
    found: dict[tuple[str, str], Announcement] = {}
    broken: dict[str, Broken] = {}
    for distribution in metadata.distributions(**folders):
        announces, fault = _read(distribution)
        if not announces and not fault:
            continue
        name, version = _name(distribution)
        place = distribution.locate_file("")
        if next(iter(metadata.distributions(name=name, **folders)), distribution).locate_file("") != place:
            continue
        if fault:
            text = f"its entry_points.txt below {place} is malformed ({fault}); reinstall or remove the distribution"
            broken.setdefault(name, Broken(name, version, "", text))
        for entry, target in _readable(distribution):
            found.setdefault((name, entry), Announcement(entry, target, name, version))
    return [found[key] for key in sorted(found)], [*broken.values()]


def normal(distribution: str) -> str:
    """The name of a distribution as PEP 503 normalises it.

    >>> normal("Heatproof_Some.Thing")
    'heatproof-some-thing'
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _read(distribution: metadata.Distribution) -> tuple[bool, str]:
    """Whether a distribution announces plugins, and what is wrong with its entry points."""
    try:
        text = distribution.read_text("entry_points.txt")
        if not text:
            return False, ""
        parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
        parser.read_string(text)
        entries = parser.items(GROUP) if GROUP in parser else []
        for name, target in entries:
            entrypoints.EntryPoint.from_string(target, name)
    except Exception as error:
        return False, " ".join(str(error).split())
    return bool(entries), ""


def _name(distribution: metadata.Distribution) -> tuple[str, str]:
    """Name and version; the folder itself where it has no metadata."""
    fields = distribution.metadata
    if fields is None or fields["Name"] is None:
        return str(getattr(distribution, "_path", distribution.locate_file(""))), "unknown"
    return normal(fields["Name"]), fields["Version"] or "unknown"


def _readable(distribution: metadata.Distribution) -> list[tuple[str, str]]:
    """The well-formed entries and their targets, also those of a malformed file that can still be read."""
    with suppress(Exception):
        return [
            (point.name, point.value.split("[")[0].strip())
            for point in distribution.entry_points.select(group=GROUP)
            if entrypoints.entry_point_pattern.match(point.value)
        ]
    return []
