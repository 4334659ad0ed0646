"""The end of the process, where threads are left that hang in a request."""

import atexit
import os
import sys
from contextlib import suppress


class Ending:
    """Ends the process at once, when all else that is done at its end has been, if threads are left.

    An interpreter that is taken apart around threads which are within a library crashes now and then.

    Attributes:
        code: that the process ends with, once it is known.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        atexit.register(self._end)  # what is registered later is called before

    def _end(self) -> None:
        if self.code is None or not _threads_are_left():
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(self.code)


def _threads_are_left() -> bool:
    threading = sys.modules.get("threading")
    return threading is not None and len(threading.enumerate()) > 1
