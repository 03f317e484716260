"""A prepared sample as one file: its arrays to the bit, all else as JSON, and a checksum."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..records import Annotation, Array, Geometry, Sample, SpatialExtra


@dataclass(frozen=True)
class PreparedSample:
    """A sample as a model prepared it, and its original (h, w, 3) uint8 on the same grid, where there is one."""

    sample: Sample
    original: Array | None


RECORDS: dict[str, Any] = {record.__name__: record for record in (PreparedSample, Sample, Annotation, Geometry)}
"""The classes that a file may name, besides the ``SpatialExtra`` that are imported; no other is ever made of it."""
DAMAGES = (SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError)


class Unstorable(Exception):
    """What a sample holds that no file can give back."""


def packed(sample: PreparedSample, stamps: dict[str, list[int]]) -> bytes:
    """A sample as a safetensors file: its arrays, all else as JSON, and their checksum; raises ``Unstorable``."""
    arrays: list[Array] = []
    text = json.dumps([_written(sample, arrays), stamps]).encode()
    tensors = {str(place): _bytes(values) for place, values in enumerate([np.frombuffer(text, np.uint8), *arrays])}
    return save({**tensors, "sum": np.array([_sum(tensors)], dtype=np.uint64)})


def unpacked(content: bytes) -> tuple[PreparedSample, dict[str, list[int]]]:
    """The sample in such a file, and the stamps of its sources; raises one of ``DAMAGES``."""
    tensors = load(content)
    if tensors.pop("sum").tolist() != [_sum(tensors)]:
        raise ValueError("its checksum is another")
    written, stamps = json.loads(tensors["0"].tobytes())
    sample = _read(written, tensors)
    if not isinstance(sample, PreparedSample):
        raise ValueError("it holds no sample")
    return sample, stamps


def _bytes(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _sum(tensors: dict[str, Array]) -> int:
    """The sum of all bytes, eight at a time: a tenth of the time of a digest, and enough against a damaged disk."""
    whole = sum(int(np.add.reduce(each[: each.size // 8 * 8].view(np.uint64))) for each in tensors.values())
    rest = sum(int(np.add.reduce(each[each.size // 8 * 8 :], dtype=np.uint64)) for each in tensors.values())
    return (whole + rest) % 2**64


def _written(value: Any, arrays: list[Array]) -> Any:
    """A value as JSON: numbers and texts as they are, all else as [kind, …], with arrays put aside."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject or value.dtype.names:
            raise Unstorable(f"an array of {value.dtype} cannot be kept")
        arrays.append(np.asarray(value))
        return ["array" if isinstance(value, np.ndarray) else "number", len(arrays), value.dtype.str, value.shape]
    if type(value) in (tuple, list):
        return [type(value).__name__, *(_written(entry, arrays) for entry in value)]
    if type(value) is dict:
        return ["dict", *([_written(name, arrays), _written(entry, arrays)] for name, entry in value.items())]
    if type(value) in RECORDS.values() or isinstance(value, SpatialExtra):
        return [_record_name(type(value)), *([name, _written(entry, arrays)] for name, entry in vars(value).items())]
    raise Unstorable(f"a {type(value).__name__} cannot be kept")


def _read(written: Any, tensors: dict[str, Array]) -> Any:
    if not isinstance(written, list):
        return written
    kind, *entries = written
    if kind in ("array", "number"):
        place, dtype, shape = entries
        values = tensors[str(place)].view(dtype).reshape(shape)
        return values if kind == "array" else values[()]
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](_read(entry, tensors) for entry in entries)
    named = {_read(name, tensors): _read(entry, tensors) for name, entry in entries}
    return named if kind == "dict" else _records()[kind](**named)


def _records() -> dict[str, Any]:
    """The classes that a file may name, by that name."""
    return RECORDS | {_record_name(extra): extra for extra in SpatialExtra.__subclasses__()}


def _record_name(record: type) -> str:
    return record.__name__ if RECORDS.get(record.__name__) is record else f"{record.__module__}:{record.__qualname__}"
