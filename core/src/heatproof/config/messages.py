"""Pydantic's errors as sentences, each at the line of the YAML value that is wrong."""

import reprlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import near
from .yamlfile import Document, Problem, Steps, dotted

SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "unknown name",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "set_type": "should be a list",
    "model_type": "should be a mapping",
    "dict_type": "should be a mapping",
    "path_type": "should be a path",
}
"""What pydantic says in Python's words, by type of error."""

SEEN = reprlib.Repr()
SEEN.maxstring = SEEN.maxother = 80


def findings(
    error: ValidationError, document: Document, model: type[BaseModel], extra: Mapping[str, Collection[str]]
) -> list[Problem]:
    """The problems of a document that ``model`` refuses, one per value; ``extra`` names are allowed below a field."""
    said: dict[Steps, list[str]] = {}
    seen: dict[Steps, str] = {}
    for location, entry, names in _flat(error, model, (), extra):
        steps = _steps(document.data, location, entry["type"] == "missing")
        said.setdefault(steps, []).append(_sentence(entry, names))
        seen[steps] = "" if entry["type"] == "missing" else f" (seen: {SEEN.repr(entry['input'])})"
    return [
        Problem(document.place(steps), dotted(steps), _joined(sentences, seen[steps]))
        for steps, sentences in said.items()
    ]


def _flat(
    error: ValidationError, model: type[BaseModel], above: Steps, extra: Mapping[str, Collection[str]]
) -> Iterator[tuple[Steps, ErrorDetails, list[str]]]:
    """Every error with its whole location and the names allowed there; those of nested components in their place."""
    for entry in error.errors(include_url=False):
        location, context = entry["loc"], entry.get("ctx", {})
        inner, component = context.get("error"), context.get("component")
        if isinstance(inner, Exception):
            # Pydantic never frees what it holds: through a traceback's frames that would be all modules, also at exit.
            inner.__traceback__ = inner.__context__ = None
        if component is not None and isinstance(inner, ValidationError):
            yield from _flat(inner, component.Params, (*above, *location), extra)
        else:
            more = extra.get(str(above[-1]), ()) if above and len(location) == 1 else ()
            yield (*above, *location), entry, [*_names(model, location), *more]


def _names(model: type[BaseModel], location: Steps) -> list[str]:
    """The names allowed where the last step of a location stands."""
    for step in location[:-1]:
        if isinstance(step, str) and step in model.model_fields:
            model = next(iter(_models(model.model_fields[step].annotation)), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _steps(data: Any, location: Steps, missing: bool) -> Steps:
    """A location without what stands in types only, such as the members of a union."""
    steps: list[str | int] = []
    for position, step in enumerate(location):
        listed = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if listed or (isinstance(data, Mapping) and step in data):
            data = data[step]
            steps.append(step)
        elif missing and position == len(location) - 1:
            steps.append(step)
    return tuple(steps)


def _sentence(entry: ErrorDetails, names: list[str]) -> str:
    text = SENTENCES.get(entry["type"], entry["msg"].removeprefix("Value error, ").removeprefix("Input "))
    if entry["type"] == "extra_forbidden":
        return f"{text}; {near(str(entry['loc'][-1]), names)}"
    return " ".join(text.split())


def _joined(sentences: list[str], seen: str) -> str:
    """What is wrong, what was seen, what is allowed."""
    wrong, semicolon, allowed = " or ".join(dict.fromkeys(sentences)).partition("; ")
    return f"{wrong}{seen}{semicolon}{allowed}"
