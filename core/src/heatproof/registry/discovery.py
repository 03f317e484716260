"""Discovery of installed plugins: the entry points of group ``heatproof``, and the broken distributions."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import entrypoints
from packaging.utils import canonicalize_name

GROUP = "heatproof"


@dataclass(frozen=True)
class Announcement:
    """A plugin as its distribution announces it; ``target`` is its module, or ``"module:object"``.

    A file that the user names stands for a distribution; its ``module`` is imported already.
    """

    entry: str
    target: str
    distribution: str
    version: str
    module: Any = None


@dataclass(frozen=True)
class Broken:
    """A plugin that is set apart; ``entry`` is empty for a distribution with a malformed ``entry_points.txt``."""

    distribution: str
    version: str
    entry: str
    reason: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}: {self.reason}"


def discover(path: Sequence[str] | None = None) -> tuple[list[Announcement], list[Broken]]:
    """Return the plugins on ``path`` (``sys.path``), sorted by distribution and entry, and the broken distributions."""
    folders = list(path or sys.path)
    plugins: dict[tuple[str, str], Announcement] = {}
    broken: dict[str, Broken] = {}
    for distribution in metadata.distributions(path=folders):
        entries, fault = _plugin_entries(distribution)
        if not entries and not fault:
            continue
        name, version = _name_and_version(distribution)
        folder = distribution.locate_file("")
        first = next(iter(metadata.distributions(name=name, path=folders)), distribution)
        if first.locate_file("") != folder:
            continue  # an earlier distribution of this name hides it
        if fault:
            reason = f"its entry_points.txt below {folder} is malformed ({fault}); reinstall or remove the distribution"
            broken.setdefault(name, Broken(name, version, "", reason))
        for entry, value in entries:
            target = value.partition("[")[0].strip()  # without [extras]
            plugins.setdefault((name, entry), Announcement(entry, target, name, version))
    return [plugins[key] for key in sorted(plugins)], [*broken.values()]


def _plugin_entries(distribution: metadata.Distribution) -> tuple[list[tuple[str, str]], str]:
    """Return name and value of the plugin entries, and the error of their file, empty for a well-formed one.

    By hand, since ``entrypoints.get_group_all`` raises for all distributions when the file of one is malformed.
    """
    try:
        text = distribution.read_text("entry_points.txt") or ""
        parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
        parser.add_section(GROUP)
        parser.read_string(text)
        entries = parser.items(GROUP)
        for name, value in entries:
            entrypoints.EntryPoint.from_string(value, name)
    except Exception as error:
        return _well_formed(distribution), " ".join(str(error).split())
    return entries, ""


def _well_formed(distribution: metadata.Distribution) -> list[tuple[str, str]]:
    """Return the entries of a malformed file that importlib, which is less strict, can read."""
    with suppress(Exception):
        points = distribution.entry_points.select(group=GROUP)
        return [(entry.name, entry.value) for entry in points if entrypoints.entry_point_pattern.match(entry.value)]
    return []


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """Return the normalised name (PEP 503) and the version; the folder as name where there is no metadata."""
    fields = distribution.metadata
    if fields is None or fields["Name"] is None:
        return str(getattr(distribution, "_path", distribution.locate_file(""))), "unknown"
    return canonicalize_name(fields["Name"]), fields["Version"] or "unknown"
