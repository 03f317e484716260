"""Reads and writes masks as COCO run lengths, the form in which JSON files store them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array

ZERO = 48
"""The character of the value 0; each character has six bits: five of a number, and whether the number goes on."""
LARGEST = 7
"""The most characters of a number: 35 bits count the pixels of any image."""


def mask_of(encoded: Any, shape: tuple[int, ...], source: str) -> Array:
    """Decode a mask (h, w) bool: ``size`` [h, w], and ``counts``, compressed text or a list of numbers.

    ``counts`` are the lengths of the runs of false and true pixels in turn, column by column from the upper left
    corner, as in pycocotools (Lin et al. 2014, "Microsoft COCO: common objects in context"). Raises ``DataError`` where
    they cannot be read, do not fill the size, or the size is not that of the image. pycocotools leaves the pixels
    that counts do not fill as the memory was, so it is not used.
    """
    if not isinstance(encoded, Mapping) or not {"size", "counts"} <= encoded.keys():
        raise DataError(f"{source}: a mask needs size and counts (got {str(encoded)[:60]!r}); restore the file.")
    size = encoded["size"]
    if not isinstance(size, list) or tuple(size) != shape:
        raise DataError(f"{source}: the mask has the size {size}, its image {list(shape)}; one of them was resized.")
    runs = _numbers(encoded["counts"], source)
    height, width = shape
    if min(runs, default=0) < 0:
        raise DataError(f"{source}: a count of the mask is {min(runs)}; the text was changed: restore the file.")
    if sum(runs) != height * width:
        raise DataError(
            f"{source}: the counts of the mask fill {sum(runs)} of {height * width} pixels; the text was cut or "
            "changed: restore the file."
        )
    if len(runs) == 1:
        # A broadcast array takes no memory: most masks of an image are empty.
        return np.broadcast_to(np.zeros((), bool), shape)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(values.reshape(width, height).T)


def encoded_mask(mask: Array) -> dict[str, Any]:
    """Encode a mask (h, w), true where it is at least 0.5, as ``size`` and compressed ``counts``."""
    flat = (np.asarray(mask) >= 0.5).T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    differences = [run - (runs[index - 2] if index > 2 else 0) for index, run in enumerate(runs)]
    return {"size": list(mask.shape), "counts": "".join(map(_text, differences))}


def _numbers(counts: Any, source: str) -> list[int]:
    """The lengths of the runs; from the third one on, compressed text has the difference to the last but one."""
    if isinstance(counts, list) and all(type(count) is int for count in counts):
        return counts
    if not isinstance(counts, str):
        raise DataError(f"{source}: counts of a mask are text or whole numbers (got {str(counts)[:60]!r}).")
    runs: list[int] = []
    for difference in _decoded(counts, source):
        runs.append(difference + (runs[-2] if len(runs) > 2 else 0))
    return runs


def _decoded(text: str, source: str) -> Iterator[int]:
    """The numbers of compressed text: five bits a character, the lowest first, the last one with the sign."""
    value = 0
    length = 0
    for character in text:
        bits = ord(character) - ZERO
        value |= (bits & 31) << (5 * length)
        length += 1
        if not 0 <= bits < 64 or length > LARGEST:
            raise DataError(f"{source}: the counts of the mask have a wrong character {character!r}; restore the file.")
        if bits < 32:
            yield value - ((bits & 16) << (5 * length - 4))
            value = 0
            length = 0
    if length:
        raise DataError(f"{source}: the counts of the mask end within a number; restore the file.")


def _text(value: int) -> str:
    """A number as compressed text."""
    characters = ""
    while True:
        bits = value & 31
        value >>= 5
        if value == -(bits >> 4):
            return characters + chr(ZERO + bits)
        characters += chr(ZERO + 32 + bits)
