"""A YAML file as plain data in which every value knows its line; nothing in it is executed."""

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.tokens import TagToken

from ..component import mapped
from ..errors import ConfigError

Steps = tuple[str | int, ...]
"""Where a value stands: keys and indices from the top."""

NODES = 100_000
CONSTRUCTED = {kind: f"construct_yaml_{kind}" for kind in ("int", "float", "bool", "null")}
VARIABLE = re.compile(r"\$\$\{|\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, order=True)
class Place:
    """A line of a file, or where else a value came from (line 0)."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong at a place, in words; ``path`` is the YAML path."""

    place: Place
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.path}: {self.text}" if self.path else f"{self.place}: {self.text}"


@dataclass
class Document:
    """Plain data, the place of every value, and the problems that reading met."""

    source: str
    data: Any = None
    places: dict[Steps, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, steps: Steps) -> Place:
        """The place of a value, or of the nearest one that holds it."""
        known = (steps[:length] for length in range(len(steps), -1, -1) if steps[:length] in self.places)
        return self.places[next(known)] if self.places else Place(self.source)

    def complain(self, steps: Steps, text: str, place: Place | None = None) -> None:
        """Note a problem of a value."""
        self.problems.append(Problem(place or self.place(steps), dotted(steps), text))

    def override(self, assignment: str) -> None:
        """Set one value by ``a.b.0=value``, the value in YAML."""
        name, equals, text = assignment.partition("=")
        source = f"--set {assignment}"
        steps = tuple(int(step) if step.isdigit() else step for step in name.strip().split("."))
        try:
            if not (equals and name.strip()):
                raise ValueError("is not an assignment; write path.to.value=value")
            given = parse(text, source)
            self.data = _assigned(self.data, steps, given.data, ())
        except (ValueError, ConfigError) as error:
            self.problems.append(Problem(Place(source), "", str(error).removeprefix(f"{source}:1: ")))
            return
        self.problems += [Problem(Place(source), dotted(steps), problem.text) for problem in given.problems]
        self.places = {known: place for known, place in self.places.items() if known[: len(steps)] != steps}
        self.places[steps] = Place(source)


def dotted(steps: Steps) -> str:
    """A YAML path as messages show it: ``models.0.weights``."""
    return ".".join(map(str, steps))


def read(path: Path) -> Document:
    """A file as a document; raises ``ConfigError`` when it cannot be read or is not YAML."""
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
    """Text as a document; raises ``ConfigError`` when it is not YAML or too large once aliases are followed."""
    document = Document(source)
    reader = YAML(typ="safe", pure=True)
    try:
        for token in reader.scan(text):
            if isinstance(token, TagToken):
                place = Place(source, token.start_mark.line + 1)
                document.complain((), "tags (!) are not allowed; write plain values", place)
        node = reader.compose(text)
        document.data = _Walk(document, reader).value(node, ()) if node else None
    except RecursionError:
        raise ConfigError(f"{source} is nested too deeply for a config.") from None
    except YAMLError as error:
        raise ConfigError(_syntax(error, text, source)) from None
    return document


def written(data: Any) -> str:
    """Plain data as the text of a YAML file, in which ``${`` is escaped."""
    stream = io.StringIO()
    writer = YAML()
    writer.width = 4096
    writer.dump(mapped(data, lambda value: value.replace("${", "$${") if isinstance(value, str) else value), stream)
    return stream.getvalue()


class _Walk:
    """Turns nodes into plain data, keeping places; stops at aliases that multiply."""

    def __init__(self, document: Document, reader: YAML):
        self._document, self._reader = document, reader
        self._seen = 0
        self._open: list[Node] = []

    def value(self, node: Node, steps: Steps) -> Any:
        """The value of a node; its place is set unless its key has set it."""
        self._document.places.setdefault(steps, self._line(node))
        self._seen += 1
        if self._seen > NODES:
            raise ConfigError(f"{self._document.source}: more than {NODES} values once aliases are followed.")
        if node in self._open:
            raise ConfigError(f"{self._line(node)}: {dotted(steps)}: an alias refers to itself; write the value out.")
        if isinstance(node, ScalarNode):
            return self._scalar(node, steps)
        self._open.append(node)
        if isinstance(node, MappingNode):
            made: Any = self._mapping(node, steps)
        else:
            made = [self.value(entry, (*steps, index)) for index, entry in enumerate(node.value)]
        self._open.pop()
        return made

    def _line(self, node: Node) -> Place:
        return Place(self._document.source, node.start_mark.line + 1)

    def _mapping(self, node: MappingNode, steps: Steps) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in node.value:
            problem = self._refused(key, made, steps)
            if problem:
                self._document.complain((*steps, str(key.value)), problem, self._line(key))
            else:
                self._document.places[(*steps, key.value)] = self._line(key)
                made[key.value] = self.value(value, (*steps, key.value))
        return made

    def _refused(self, key: Node, made: Mapping[str, Any], steps: Steps) -> str:
        if not isinstance(key, ScalarNode) or not str(key.tag).endswith(":str"):
            return f"a key must be text (seen: {key.value!r}); write it in quotes"
        if key.value in made:
            return f"this key stands here twice, first in line {self._document.place((*steps, key.value)).line}"
        return ""

    def _scalar(self, node: ScalarNode, steps: Steps) -> Any:
        """A text, or what YAML 1.2 makes of a plain one after environment variables are filled in."""
        try:
            text = substituted(node.value)
            plain = node.style is None
            tag = str(self._reader.resolver.resolve(ScalarNode, text, (plain, not plain)))
            construct = getattr(self._reader.constructor, CONSTRUCTED.get(tag.rpartition(":")[2], ""), None)
            return construct(ScalarNode(tag, text)) if construct else text
        except ValueError as error:
            self._document.complain(steps, str(error))
            return None


def substituted(text: str) -> str:
    """A text with ``${NAME}`` and ``${NAME:-default}`` filled in; ``$${`` stands for ``${``; ``ValueError`` if unset.

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


def _assigned(value: Any, steps: Steps, new: Any, above: Steps) -> Any:
    """``value`` with ``new`` at ``steps`` below it; a component's bare name becomes a mapping to hold Params."""
    if not steps:
        return new
    step, rest, here = steps[0], steps[1:], dotted(above) or "the config"
    if isinstance(value, list):
        if not isinstance(step, int) or step >= len(value):
            raise ValueError(f"{here} is a list of {len(value)}; give an index below that (seen: {step!r})")
        return [*value[:step], _assigned(value[step], rest, new, (*above, step)), *value[step + 1 :]]
    if isinstance(value, str):
        value = {"use": value}
    if isinstance(step, int) or not isinstance(value, (Mapping, type(None))):
        raise ValueError(f"{here} has no part {step!r} (seen: {value!r})")
    return {**(value or {}), step: _assigned((value or {}).get(step), rest, new, (*above, step))}


def _syntax(error: YAMLError, text: str, source: str) -> str:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    if mark is None:
        return f"{source} is not YAML ({' '.join(str(error).split())[:160]})."
    line = text.splitlines()[mark.line : mark.line + 1]
    hint = '; between brackets write "${NAME}" in quotes' if any("${" in part for part in line) else ""
    return f"{source}:{mark.line + 1}: not YAML: {getattr(error, 'problem', '')}{hint}."
