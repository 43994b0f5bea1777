"""What a CPU step frees is kept for the next step, rather than given back to the system."""

from __future__ import annotations

import ctypes
import os
import platform

# malloc.h of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = -1
_PAD = 64 << 20  # bytes by which the heap grows


def keep_freed_memory() -> None:
    """Tensors of more than 32 MB are otherwise mapped anew each time, and the kernel clears every
    page of them: of two layers at 512 px on one core, that was more than half of a step. Changes no
    number. Does nothing without glibc, or where the environment sets its allocator (MALLOC_...)."""
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    libc = ctypes.CDLL(None)
    for option, value in ((_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _PAD), (_MMAP_MAX, 0)):
        libc.mallopt(option, value)
