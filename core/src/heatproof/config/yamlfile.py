"""YAML files as plain data with the line of every value; nothing in a file is executed."""

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.tokens import TagToken

from ..component import mapped
from ..errors import ConfigError
from ..messages import KeyPath, dotted

NODES = 100_000
CONSTRUCTED = {kind: f"construct_yaml_{kind}" for kind in ("int", "float", "bool", "null")}
VARIABLE = re.compile(r"\$\$\{|\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, order=True)
class Origin:
    """The source of a value: a line of a file, or a command line option (line 0)."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}".removesuffix(":0")


@dataclass(frozen=True, order=True)
class Problem:
    """A sentence about the value at a YAML path."""

    origin: Origin
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.origin), self.path, self.text)))


@dataclass
class Document:
    """Plain data, the origin of every value, and the problems met while reading."""

    source: str
    data: Any = None
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, keys: KeyPath) -> Origin:
        """Return the origin of a value, or of the nearest value around it."""
        for length in range(len(keys), -1, -1):
            if keys[:length] in self.origins:
                return self.origins[keys[:length]]
        return Origin(self.source)

    def complain(self, keys: KeyPath, text: str, origin: Origin | None = None) -> None:
        """Add a problem of a value."""
        self.problems.append(Problem(origin or self.origin(keys), dotted(keys), text))

    def override(self, assignment: str) -> None:
        """Set one value by ``a.b.0=value``, the value in YAML."""
        name, equals, text = assignment.partition("=")
        origin = Origin(f"--set {assignment}")
        keys = tuple(int(key) if key.isdigit() else key for key in name.strip().split("."))
        try:
            if not (equals and name.strip()):
                raise ValueError("is not an assignment; write path.to.value=value")
            value = parse(text, origin.source)
            self.data = _assigned(self.data, keys, value.data, ())
        except (ValueError, ConfigError) as error:
            self.problems.append(Problem(origin, "", str(error).removeprefix(f"{origin.source}:1: ")))
            return
        self.problems += [Problem(origin, dotted(keys), problem.text) for problem in value.problems]
        self.origins = {path: line for path, line in self.origins.items() if path[: len(keys)] != keys}
        self.origins[keys] = origin


def read(path: Path) -> Document:
    """Read a file as a document; raises ``ConfigError`` if it cannot be read or is not YAML."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the path of a config file.")
    try:
        return parse(path.read_bytes().decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8 (byte {error.start}); give a YAML config.") from None
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; give the path of a config file.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give the path of a config file.") from None


def parse(text: str, source: str) -> Document:
    """Parse text as a document; raises ``ConfigError`` if it is not YAML, or too large with aliases expanded."""
    document = Document(source)
    reader = YAML(typ="safe", pure=True)
    try:
        for token in reader.scan(text):
            if isinstance(token, TagToken):
                origin = Origin(source, token.start_mark.line + 1)
                document.complain((), "tags (!) are not allowed; write plain values", origin)
        node = reader.compose(text)
        if node:
            document.data = _Converter(document, reader).value(node, ())
    except RecursionError:
        raise ConfigError(f"{source} is nested too deeply for a config.") from None
    except YAMLError as error:
        raise ConfigError(_syntax(error, text, source)) from None
    return document


def written(data: Any) -> str:
    """Write plain data as YAML text in which ``${`` is escaped."""
    stream = io.StringIO()
    writer = YAML()
    writer.width = 4096
    writer.dump(mapped(data, lambda value: value.replace("${", "$${") if isinstance(value, str) else value), stream)
    return stream.getvalue()


class _Converter:
    """Converts nodes to plain data and notes their lines; stops at aliases that multiply.

    By hand: ruamel has positions (``.lc``) in its round-trip types only; of the safe loader, only nodes have lines.
    """

    def __init__(self, document: Document, reader: YAML):
        self._document = document
        self._reader = reader
        self._count = 0
        self._parents: list[Node] = []

    def value(self, node: Node, keys: KeyPath) -> Any:
        """Return the value of a node and note its line, unless the line of its key is noted already."""
        self._document.origins.setdefault(keys, self._origin(node))
        self._count += 1
        if self._count > NODES:
            raise ConfigError(f"{self._document.source}: more than {NODES} values once aliases are followed.")
        if node in self._parents:
            raise ConfigError(f"{self._origin(node)}: {dotted(keys)}: an alias refers to itself; write the value out.")
        if isinstance(node, ScalarNode):
            return self._scalar(node, keys)
        self._parents.append(node)
        value: Any
        if isinstance(node, MappingNode):
            value = self._mapping(node, keys)
        else:
            value = [self.value(entry, (*keys, index)) for index, entry in enumerate(node.value)]
        self._parents.pop()
        return value

    def _origin(self, node: Node) -> Origin:
        return Origin(self._document.source, node.start_mark.line + 1)

    def _mapping(self, node: MappingNode, keys: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            path = (*keys, key.value)
            if not isinstance(key, ScalarNode) or not str(key.tag).endswith(":str"):
                problem = f"a key must be text (seen: {key.value!r}); write it in quotes"
                self._document.complain((*keys, str(key.value)), problem, self._origin(key))
            elif key.value in values:
                problem = f"this key is given twice, first in line {self._document.origin(path).line}; keep one"
                self._document.complain(path, problem, self._origin(key))
            else:
                self._document.origins[path] = self._origin(key)
                values[key.value] = self.value(value, path)
        return values

    def _scalar(self, node: ScalarNode, keys: KeyPath) -> Any:
        """Return text, or the YAML 1.2 value of an unquoted scalar after environment variables are filled in."""
        try:
            text = substituted(node.value)
            plain = node.style is None
            tag = str(self._reader.resolver.resolve(ScalarNode, text, (plain, not plain)))
            construct = getattr(self._reader.constructor, CONSTRUCTED.get(tag.rpartition(":")[2], ""), None)
            return construct(ScalarNode(tag, text)) if construct else text
        except ValueError as error:
            self._document.complain(keys, str(error))
            return None


def substituted(text: str) -> str:
    """Fill in ``${NAME}`` and ``${NAME:-default}``; ``$${`` stands for ``${``; raises ``ValueError`` if unset.

    >>> substituted("${HEATPROOF_SURELY_UNSET:-runs}/main, $${kept}")
    'runs/main, ${kept}'
    """
    return VARIABLE.sub(_variable, text)


def _variable(match: re.Match[str]) -> str:
    name, fallback = match.groups()
    if name is None:
        return "${"
    value = os.environ.get(name, fallback)
    if value is None:
        raise ValueError(f"environment variable {name} is not set; set it, or write ${{{name}:-default}}")
    return value


def _assigned(value: Any, keys: KeyPath, new: Any, above: KeyPath) -> Any:
    """Return ``value`` with ``new`` at ``keys`` below it; a component's bare name becomes a mapping for Params."""
    if not keys:
        return new
    key = keys[0]
    parent = dotted(above) or "the config"
    if isinstance(value, list):
        if not isinstance(key, int) or key >= len(value):
            raise ValueError(f"{parent} is a list of length {len(value)}; give an index below that (seen: {key!r})")
        return [*value[:key], _assigned(value[key], keys[1:], new, (*above, key)), *value[key + 1 :]]
    if isinstance(value, str):
        value = {"use": value}
    if isinstance(key, int) or not isinstance(value, (Mapping, type(None))):
        raise ValueError(f"{parent} has no part {key!r} (seen: {value!r}); correct the path")
    values = value or {}
    return {**values, key: _assigned(values.get(key), keys[1:], new, (*above, key))}


def _syntax(error: YAMLError, text: str, source: str) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{source} is not YAML ({' '.join(str(error).split())[:160]})."
    hint = ""
    if "${" in "".join(text.splitlines()[mark.line : mark.line + 1]):
        hint = '; between brackets write "${NAME}" in quotes'
    return f"{source}:{mark.line + 1}: not YAML: {getattr(error, 'problem', '')}{hint}."
