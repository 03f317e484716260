"""Opens DICOM files with pydicom and turns its errors into ``DataError``."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from heatproof.errors import DataError, HeatproofError
from heatproof.records import Array


def open_dicom(path: Path, **limits: Any) -> Any:
    """Parse a file with pydicom; raises ``DataError`` where it is missing or not DICOM.

    ``limits`` are options of ``pydicom.dcmread``, such as ``stop_before_pixels``.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    with explained(path):
        return pydicom.dcmread(path, **limits)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors that pydicom and its decoders raise for a file into ``DataError``."""
    # Pydicom warns of odd tags that do not matter for the pixels. The filter stays: other threads read at the same
    # time, and restoring the filters of one thread would undo those set by another.
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        yield
    except HeatproofError:
        raise
    except pydicom.errors.InvalidDicomError:
        raise DataError(f"{path} is not DICOM, or was cut off; replace it by a fresh copy.") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is damaged or of a kind that cannot be decoded ({reason}); replace it.") from error


def side(axis: Array) -> str:
    """The side of the patient to which an axis (x, y, z) mainly points: R, L, A, P, I or S."""
    main = int(np.argmax(np.abs(axis)))
    return ("RL", "AP", "IS")[main][int(axis[main] > 0)]
