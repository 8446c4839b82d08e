"""Telling the C library to keep memory that training frees at the end of each step and takes again in the next."""

from __future__ import annotations

import ctypes
import platform

# glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

_LARGEST_FROM_HEAP = 32 << 20  # bytes; glibc takes no more than this
_KEPT = 2**31 - 1
_GROWTH = 64 << 20


def keep_freed_memory() -> bool:
    """Let large arrays come from the heap, and freed memory stay with this process; return whether glibc took it.

    glibc asks the system for every array above some size and gives it back when it is freed. Each step of a training
    then touches new pages, which the kernel fills with zeros first: a tenth of a step of a small network. Here arrays
    up to 32 MiB come from the heap, which grows by 64 MiB and shrinks only when 2 GiB are free. The process keeps what
    it once used. Call it once, before the first step. What the user has set by MALLOC_* or GLIBC_TUNABLES is
    overwritten; other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wishes = ((_MMAP_THRESHOLD, _LARGEST_FROM_HEAP), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _GROWTH))
    return all([mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in wishes])
