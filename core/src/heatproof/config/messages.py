"""Pydantic's errors as sentences, with the lines of the wrong values in YAML."""

import reprlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..component import sentence
from ..errors import near
from .yamlfile import Document, KeyPath, Problem, dotted

INPUT = reprlib.Repr()
INPUT.maxstring = INPUT.maxother = 80


def located_problems(
    error: ValidationError, document: Document, model: type[BaseModel], extra: Mapping[str, Collection[str]]
) -> list[Problem]:
    """List the problems of a document, one per value; ``extra`` has further names that are allowed below a field."""
    sentences: dict[KeyPath, list[str]] = {}
    inputs: dict[KeyPath, str] = {}
    for location, entry, names in _flat(error, model, (), extra):
        missing = entry["type"] == "missing"
        keys = _keys(document.data, location, missing)
        sentences.setdefault(keys, []).append(_sentence(entry, names))
        if not missing:
            inputs[keys] = f" (seen: {INPUT.repr(entry['input'])})"
    texts = {keys: _joined(parts, inputs.get(keys, "")) for keys, parts in sentences.items()}
    return [Problem(document.origin(keys), dotted(keys), text) for keys, text in texts.items()]


def _flat(
    error: ValidationError, model: type[BaseModel], above: KeyPath, extra: Mapping[str, Collection[str]]
) -> Iterator[tuple[KeyPath, ErrorDetails, list[str]]]:
    """Yield all errors, also those of nested components, with their whole location and the names allowed there."""
    for entry in error.errors(include_url=False):
        location = entry["loc"]
        inner = entry.get("ctx", {}).get("error")
        component = entry.get("ctx", {}).get("component")
        if isinstance(inner, Exception):
            # Pydantic never frees this error, and the frames of its traceback would keep all modules alive.
            inner.__traceback__ = inner.__context__ = None
        if component is not None and isinstance(inner, ValidationError):
            yield from _flat(inner, component.Params, (*above, *location), extra)
        else:
            names = _names(model, location)
            if above and len(location) == 1:
                names += extra.get(str(above[-1]), ())
            yield (*above, *location), entry, names


def _names(model: type[BaseModel], location: KeyPath) -> list[str]:
    """Return the names that are allowed for the last key of a location."""
    for key in location[:-1]:
        if isinstance(key, str) and key in model.model_fields:
            model = next(_models(model.model_fields[key].annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _keys(data: Any, location: KeyPath, missing: bool) -> KeyPath:
    """Reduce a location to keys in the data; pydantic also lists types, such as the members of a union."""
    keys: list[str | int] = []
    for position, key in enumerate(location):
        in_list = isinstance(data, list) and isinstance(key, int) and key < len(data)
        if in_list or (isinstance(data, Mapping) and key in data):
            data = data[key]
            keys.append(key)
        elif missing and position == len(location) - 1:
            keys.append(key)
    return tuple(keys)


def _sentence(entry: ErrorDetails, names: list[str]) -> str:
    text = sentence(entry)
    if entry["type"] == "extra_forbidden":
        return f"{text}; {near(str(entry['loc'][-1]), names)}"
    return " ".join(text.split())


def _joined(sentences: list[str], value: str) -> str:
    """Join what is wrong, the value that was seen, and what is allowed."""
    wrong, semicolon, allowed = " or ".join(dict.fromkeys(sentences)).partition("; ")
    return f"{wrong}{value}{semicolon}{allowed}"
