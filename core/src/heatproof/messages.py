"""Pydantic's errors as sentences, by the path of the wrong value."""

import reprlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .errors import near

KeyPath = tuple[str | int, ...]
"""Keys and indices from the top of a document to a value."""

INPUT = reprlib.Repr()
INPUT.maxstring = INPUT.maxother = 80

SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "unknown name",
    "too_short": "has too few entries (minimum: {min_length})",
    "path_type": "should be a path",
    "string_type": "should be text",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "should be an integer"),
    **dict.fromkeys(("float_type", "float_parsing"), "should be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "should be true or false"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type"), "should be a list"),
    **dict.fromkeys(("model_type", "dict_type"), "should be a mapping"),
}
"""Sentences in place of pydantic's Python terms, by type of error."""


def sentences(
    error: ValidationError, data: Any, model: type[BaseModel], extra: Mapping[str, Collection[str]]
) -> dict[KeyPath, str]:
    """Return a sentence for each wrong value of ``data``; ``extra`` has more names that are allowed below a field."""
    parts: dict[KeyPath, list[str]] = {}
    inputs: dict[KeyPath, str] = {}
    for location, entry, names in _flat(error, model, (), extra):
        if entry["type"] == "too_short" and len(entry["input"]) >= entry["ctx"]["min_length"]:
            continue  # pydantic counts the valid entries only, and the others have sentences of their own
        missing = entry["type"] == "missing"
        keys = _keys(data, location, missing)
        parts.setdefault(keys, []).append(_sentence(entry, names))
        if not missing:
            inputs[keys] = f" (seen: {INPUT.repr(entry['input'])})"
    return {keys: _joined(texts, inputs.get(keys, "")) for keys, texts in parts.items()}


def in_one_line(error: ValidationError, data: Any, model: type[BaseModel]) -> str:
    """Join the sentences of all wrong values: ``samples: should be greater than 0 (seen: -1)``."""
    texts = sentences(error, data, model, {})
    return "; ".join(f"{dotted(keys)}: {text}".removeprefix(": ") for keys, text in texts.items())


def dotted(keys: KeyPath) -> str:
    """Return a YAML path in the form of messages: ``models.0.weights``."""
    return ".".join(map(str, keys))


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
    return [info.alias or name for name, info in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _keys(data: Any, location: KeyPath, missing: bool) -> KeyPath:
    """Reduce a location to keys in the data; pydantic also lists types, such as the members of a union."""
    keys: list[str | int] = []
    for position, key in enumerate(location):
        in_list = isinstance(data, (list, tuple)) and isinstance(key, int) and key < len(data)
        if in_list or (isinstance(data, Mapping) and key in data):
            data = data[key]
            keys.append(key)
        elif missing and position == len(location) - 1:
            keys.append(key)
    return tuple(keys)


def _sentence(entry: ErrorDetails, names: list[str]) -> str:
    text = SENTENCES.get(entry["type"], "").format(**entry.get("ctx", {}))
    if entry["type"] == "extra_forbidden":
        return f"{text}; {near(str(entry['loc'][-1]), names)}"
    return text or " ".join(entry["msg"].removeprefix("Value error, ").removeprefix("Input ").split())


def _joined(sentences: list[str], value: str) -> str:
    """Join what is wrong, the value that was seen, and what is allowed."""
    wrong, semicolon, allowed = " or ".join(dict.fromkeys(sentences)).partition("; ")
    return f"{wrong}{value}{semicolon}{allowed}"
