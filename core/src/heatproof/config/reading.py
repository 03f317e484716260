"""Reading a config into settings of any class: all mistakes at once, each with file, line and YAML path."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ..component import Params
from ..errors import ConfigError
from ..messages import KeyPath, dotted, sentences
from ..registry.catalog import Catalog
from . import yamlfile
from .entries import SELECTION
from .yamlfile import Document, Problem

Settings = TypeVar("Settings", bound=Params)

PLUGIN_KEYS = {"plugin", "plugins"}
"""Keys by which somebody may want a config to load code."""


def load(path: Path, kind: type[Settings], catalog: Catalog, overrides: Sequence[str], contents: str) -> Settings:
    """Read settings of a class from a YAML file, changed by ``a.b=value``; raises ``ConfigError`` with all mistakes.

    Relative paths, including those in ``overrides``, start at the folder of the file. ``contents`` says in words what
    a config holds. A field ``output`` that is not set becomes ``runs/`` and the name of the file.
    """
    document = opened(path, overrides, contents)
    document.data.setdefault("output", f"runs/{path.stem}")
    settings = validated(document, kind, catalog.context(path.absolute().parent))
    require_sound(document)
    return settings


def opened(path: Path, overrides: Sequence[str], contents: str) -> Document:
    """Read a file that holds a mapping, changed by ``a.b=value``; raises ``ConfigError`` for one that holds none."""
    document = yamlfile.read(path)
    for assignment in overrides:
        document.override(assignment)
    if not isinstance(document.data, dict):
        content = "is empty" if document.data is None else f"holds {document.data!r:.60} and no settings"
        document.complain((), f"{content}; a config is a mapping with {contents}")
        require_sound(document)
    for key in PLUGIN_KEYS & document.data.keys():
        document.complain((key,), "a config loads no code; name the file by --plugin FILE in the command that runs it")
    return document


def validated(
    document: Document, kind: type[Settings], context: Mapping[str, Any], copies: Collection[KeyPath] = ()
) -> Settings:
    """Validate a document that holds a mapping; raises ``ConfigError`` with its mistakes and those met while reading.

    Mistakes below ``copies`` are told elsewhere.
    """
    try:
        return kind.model_validate(document.data, context=dict(context))
    except ValidationError as error:
        reported = {(problem.origin, problem.path) for problem in document.problems}
        copied_paths = tuple(f"{dotted(keys)}." for keys in copies)  # the last dot keeps row 1 apart from row 10
        for keys, text in sentences(error, document.data, kind, {"component": SELECTION}).items():
            problem = Problem(document.origin(keys), dotted(keys), text)
            copied = f"{problem.path}.".startswith(copied_paths)
            if not copied and (problem.origin, problem.path) not in reported:
                document.problems.append(problem)
        raise _config_error(document) from None


def require_sound(document: Document) -> None:
    """Raise ``ConfigError`` with all problems of a document, if it has any."""
    if document.problems:
        raise _config_error(document)


def _config_error(document: Document) -> ConfigError:
    return ConfigError("\n".join(map(str, sorted(set(document.problems)))))
