"""Files in memory, at addresses of our choice, and without holding them open.

Python's own mmap can do neither: before 3.13 every mapping keeps a descriptor of its file, of which a process often has
no more than 1,024. So addresses are reserved with it that nothing can be read from, and files are mapped over them with
the C library's. When the object of the reservation goes, so does all that was mapped over it.
"""

import ctypes
import mmap
import os
import sys
from functools import cache
from typing import Any

import numpy as np

CAN_PLACE = sys.platform in ("linux", "darwin") and sys.maxsize > 2**32

# Neither is in the mmap module. The values are those of macOS, and of Linux on all but a few processors of the past.
_PROT_NONE, _MAP_FIXED = 0, 0x10


def reserve(span: int) -> mmap.mmap:
    """So many addresses in a row, at least 1, that cost no memory.

    Raises:
        OSError: there are not so many.
    """
    return mmap.mmap(-1, span, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON, prot=_PROT_NONE)


def address_of(reserved: mmap.mmap) -> int:
    """Where a reservation begins."""
    return int(np.frombuffer(reserved, np.uint8).ctypes.data)


def map_over(address: int, fd: int, length: int) -> None:
    """Map the first bytes of a file over reserved addresses, from a multiple of the page on, to be read.

    Mapping the same file there once more does no harm, even while others read it.

    Raises:
        OSError: the system refuses.
    """
    found = _mmap()(address, length, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, fd, 0)
    if found != address:
        error = ctypes.get_errno()
        # Some systems have unmapped what was there by then. A hole would be others' to use, and ours to unmap.
        anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANON | _MAP_FIXED
        _mmap()(address, length, _PROT_NONE, anonymous, -1, 0)
        raise OSError(error, os.strerror(error))


def map_file(fd: int, length: int) -> memoryview:
    """The first bytes of a file, at least 1, wherever they come to lie.

    Raises:
        OSError: the system refuses.
    """
    if not CAN_PLACE:
        return memoryview(mmap.mmap(fd, length, access=mmap.ACCESS_READ))
    reserved = reserve(length)
    map_over(address_of(reserved), fd, length)
    return memoryview(reserved)


@cache
def _mmap() -> Any:
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    return function
