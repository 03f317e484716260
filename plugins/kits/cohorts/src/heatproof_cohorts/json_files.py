"""Reads JSON files of downloads, in which no name may stand twice."""

import json
from pathlib import Path
from typing import Any

from heatproof.errors import DataError


def read_json(path: Path) -> Any:
    """Read a JSON file; raises ``DataError`` where it is missing, damaged, or gives one name two values."""
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_once)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; download it, or correct the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); correct the path or its permissions.") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is damaged ({reason}); replace it by a fresh copy.") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file like ``read_json``; raises ``DataError`` also where it does not hold names and values."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__} instead of names and values; restore the file.")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, of whose equal names the json module would silently use the last."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice")
    return values
