"""Headers of DICOM files by pydicom, and what can go wrong with them."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from heatproof.errors import DataError
from heatproof.records import Array

DAMAGES = (
    OSError, AttributeError, RuntimeError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error,
    zlib.error,
)  # fmt: skip


def open_dicom(path: Path, **limits: Any) -> Any:
    """The file as pydicom parses it, as far as ``limits`` say; raises ``DataError`` where there is none."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        with explained(path):
            return pydicom.dcmread(path, **limits)
    except pydicom.errors.InvalidDicomError:
        raise DataError(f"{path} is not DICOM, or was cut off; replace it by a fresh copy.") from None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever pydicom and its decoders have to say against a file becomes a ``DataError``."""
    # Odd tags that pydicom passes over say nothing about the pixels. Never set back: other threads read too, and the
    # last of them would bring back what holds for all warnings meanwhile.
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        yield
    except DAMAGES as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is damaged or of a kind that cannot be decoded ({reason}); replace it.") from error


def side(axis: Array) -> str:
    """The side of the patient to which an axis mainly leads."""
    main = int(np.argmax(np.abs(axis)))
    return ("RL", "AP", "IS")[main][int(axis[main] > 0)]
