"""How this process gets memory from the system."""

import ctypes
import sys

MMAP_MAX, TRIM_THRESHOLD = -4, -1
"""What ``mallopt`` calls them (malloc.h)."""


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for the next pass; whether it could be told so, which only glibc can.

    Every pass frees the large blocks that the next one asks for. By itself glibc gives them back each time, and the
    system hands them out anew page by page, each zeroed first: up to a third of the time of a pass on a processor. The
    process holds on to the most that it ever needed; the values computed are the same.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1))
