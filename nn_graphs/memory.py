"""Memory that is freed stays with the process, so that the next step does not wait for new pages.

The C library gives blocks above some size back to the system at once; every tensor of a step then
comes as fresh pages, which the system fills with zeros one by one. For CNNs of 32 x 32 images that
was half of a training step.
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt in glibc
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Makes this process keep what it frees, up to its largest use so far, until it ends.

    Returns:
        Whether the C library took it; only that of Linux (glibc) can.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def physical_memory() -> int | None:
    """Bytes of memory that the machine has; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
