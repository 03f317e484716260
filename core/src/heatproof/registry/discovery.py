"""Finds the plugins that are installed: entry points of group ``heatproof``, and what stands in their way."""

import contextlib
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import entrypoints

GROUP = "heatproof"


@dataclass(frozen=True)
class Found:
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


def discover(path: Sequence[str] | None = None) -> tuple[list[Found], list[Broken]]:
    """All plugins on ``path`` (``sys.path``) in order of distribution and entry, and the distributions at fault.

    ``entrypoints`` reads all files at once, and one malformed file of anybody's package makes it raise. Then each
    distribution is read by itself through ``importlib.metadata``.
    """
    broken: list[Broken] = []
    try:
        found = _at_once(path)
    except Exception:
        found, broken = _one_by_one(path)
    return sorted(_first(found), key=lambda plugin: (plugin.distribution, plugin.entry)), broken


def normal(distribution: str) -> str:
    """The name of a distribution as PEP 503 normalises it.

    >>> normal("Heatproof_Some.Thing")
    'heatproof-some-thing'
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _at_once(path: Sequence[str] | None) -> list[Found]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = entrypoints.get_group_all(GROUP, path=path)
    return [_found(point, path) for point in points]


def _found(point: entrypoints.EntryPoint, path: Sequence[str] | None) -> Found:
    target = f"{point.module_name}:{point.object_name}" if point.object_name else point.module_name
    return Found(point.name, target, normal(point.distro.name), _version(point.distro, path))


def _version(distro: entrypoints.Distribution, path: Sequence[str] | None) -> str:
    """The version of a folder ``name-version[-pyX.Y].egg-info``, or of the metadata in a plain ``name.egg-info``."""
    if distro.version:
        return str(distro.version).split("-")[0]
    return next((str(one.version) for one in _distributions(path, name=distro.name)), "unknown")


def _distributions(path: Sequence[str] | None, **selection: Any) -> Iterable[metadata.Distribution]:
    places: dict[str, Any] = {} if path is None else {"path": list(path)}
    return iter(metadata.distributions(**selection, **places))


def _one_by_one(path: Sequence[str] | None) -> tuple[list[Found], list[Broken]]:
    """Each distribution by itself; the first on the path hides later ones of its name."""
    found: list[Found] = []
    broken: list[Broken] = []
    seen: set[str] = set()
    for distribution in _distributions(path):
        name, version = _name(distribution)
        if name not in seen:
            seen.add(name)
            broken += [Broken(name, version, "", fault) for fault in _faults(distribution)]
            found += _readable(distribution, name, version)
    return found, broken


def _name(distribution: metadata.Distribution) -> tuple[str, str]:
    """Name and version; the folder itself where it has no metadata."""
    fields = distribution.metadata
    if fields is None or fields["Name"] is None:
        return str(getattr(distribution, "_path", distribution.locate_file(""))), "unknown"
    return normal(fields["Name"]), fields["Version"] or "unknown"


def _faults(distribution: metadata.Distribution) -> list[str]:
    """Why the entry points of a distribution cannot be read."""
    try:
        parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
        parser.read_string(distribution.read_text("entry_points.txt") or "")
        for name, target in parser.items(GROUP) if GROUP in parser else ():
            entrypoints.EntryPoint.from_string(target, name)
    except Exception as error:
        place = distribution.locate_file("")
        reason = " ".join(str(error).split())
        return [f"its entry_points.txt below {place} is malformed ({reason}); reinstall or remove the distribution"]
    return []


def _readable(distribution: metadata.Distribution, name: str, version: str) -> list[Found]:
    """The well-formed entries; those of a malformed file that ``importlib.metadata`` can still read."""
    with contextlib.suppress(Exception):
        return [
            Found(point.name, point.value.split("[")[0].strip(), name, version)
            for point in distribution.entry_points.select(group=GROUP)
            if entrypoints.entry_point_pattern.match(point.value)
        ]
    return []


def _first(found: Iterable[Found]) -> list[Found]:
    """The first of each distribution and entry: one that lies on the path twice is one plugin."""
    kept: dict[tuple[str, str], Found] = {}
    for plugin in found:
        kept.setdefault((plugin.distribution, plugin.entry), plugin)
    return list(kept.values())
