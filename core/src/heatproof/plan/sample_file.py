"""Write a prepared sample to one file and read it back: arrays bit for bit, the rest as JSON, and a checksum."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..records import Annotation, Array, Geometry, Sample, SpatialExtra


@dataclass(frozen=True)
class PreparedSample:
    """A sample as a model prepared it, and its original image (h, w, 3) uint8 on the same grid, if there is one."""

    sample: Sample
    original: Array | None


RECORDS: dict[str, Any] = {record.__name__: record for record in (PreparedSample, Sample, Annotation, Geometry)}
"""The classes that a file may name, besides imported subclasses of ``SpatialExtra``; reading creates no others."""
DAMAGES = (SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError)


class Unstorable(Exception):
    """A sample holds a value that cannot be written to a file and read back."""


def packed(sample: PreparedSample) -> bytes:
    """A sample as a safetensors file: its arrays, all else as JSON, and their checksum; raises ``Unstorable``."""
    arrays: list[Array] = []
    text = json.dumps(_written(sample, arrays)).encode()
    tensors = {str(index): _bytes(values) for index, values in enumerate([np.frombuffer(text, np.uint8), *arrays])}
    return save({**tensors, "sum": np.array([_sum(tensors)], dtype=np.uint64)})


def unpacked(content: bytes) -> PreparedSample:
    """The sample in a file that ``packed`` wrote; raises one of ``DAMAGES``."""
    tensors = load(content)
    if tensors.pop("sum").tolist() != [_sum(tensors)]:
        raise ValueError("its checksum does not match")
    sample = _read(json.loads(tensors["0"].tobytes()), tensors)
    if not isinstance(sample, PreparedSample):
        raise ValueError("it holds no sample")
    return sample


def _bytes(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _sum(tensors: dict[str, Array]) -> int:
    """The sum of all bytes, eight at a time: ten times as fast as a digest, and enough to detect a damaged disk."""
    total = 0
    for values in tensors.values():
        words, tail = np.split(values, [values.size // 8 * 8])
        total += int(np.add.reduce(words.view(np.uint64))) + int(np.add.reduce(tail, dtype=np.uint64))
    return total % 2**64


def _written(value: Any, arrays: list[Array]) -> Any:
    """A value as JSON: numbers and strings unchanged, all else as [kind, …]; arrays are appended to ``arrays``."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject or value.dtype.names:
            raise Unstorable(f"an array of {value.dtype} cannot be stored")
        arrays.append(np.asarray(value))
        return ["array" if isinstance(value, np.ndarray) else "number", len(arrays), value.dtype.str, value.shape]
    if type(value) in (tuple, list):
        return [type(value).__name__, *(_written(entry, arrays) for entry in value)]
    if type(value) is dict:
        return ["dict", *([_written(name, arrays), _written(entry, arrays)] for name, entry in value.items())]
    if type(value) in RECORDS.values() or isinstance(value, SpatialExtra):
        return [_record_name(type(value)), *([name, _written(entry, arrays)] for name, entry in vars(value).items())]
    raise Unstorable(f"a {type(value).__name__} cannot be stored")


def _read(written: Any, tensors: dict[str, Array]) -> Any:
    if not isinstance(written, list):
        return written
    kind, *entries = written
    if kind in ("array", "number"):
        index, dtype, shape = entries
        values = tensors[str(index)].view(dtype).reshape(shape)
        return values if kind == "array" else values[()]
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](_read(entry, tensors) for entry in entries)
    fields = {_read(name, tensors): _read(entry, tensors) for name, entry in entries}
    if kind == "dict":
        return fields
    return _records()[kind](**fields)


def _records() -> dict[str, Any]:
    """Name → class, for the classes that a file may name."""
    return RECORDS | {_record_name(extra): extra for extra in SpatialExtra.__subclasses__()}


def _record_name(record: type) -> str:
    if record in RECORDS.values():
        return record.__name__
    return f"{record.__module__}:{record.__qualname__}"
