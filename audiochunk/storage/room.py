"""Room in the folder of a cache: what was not opened for longest is removed for what is to come.

To look at a hundred thousand files takes a second. So a process that has counted goes on from there for a while: it
knows what it has written and removed since, and not what others have.
"""

import os
import re
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from audiochunk.storage.claims import LOCK_SUFFIX, remove_if_abandoned
from audiochunk.storage.files import TEMPORARY_SUFFIX

#: Names of files of a cache.
FETCHED_NAME = re.compile(r"[0-9a-f]{32}(-[0-9]+)*\.[a-z]+")
_UNFINISHED = re.compile(rf"{FETCHED_NAME.pattern}(\..+{re.escape(TEMPORARY_SUFFIX)}|{re.escape(LOCK_SUFFIX)})")
# Clocks of file servers differ from ours, but not by more.
_ODD_CLOCK_NS = 3600 * 10**9
# A count that takes no longer is made every time. Others are good for so many times as long as they took.
_CHEAP_S, _GOOD_FOR = 0.01, 10
_MOST_KEPT = 1000  # of the files that come next


@dataclass(frozen=True, slots=True, order=True)
class _File:
    opened: int
    bytes: int
    path: str
    mtime_ns: int


class Room:
    """The room in one folder, for all threads of this process.

    Args:
        folder: where the files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._total, self._until = 0, 0.0
        self._oldest: deque[_File] = deque()
        self._has_all = False

    def make(self, size: int, limit: int, *, written: int = 0, newest: str = "", is_full: bool = False) -> None:
        """Remove what dead processes have left, and what was not opened for longest.

        Args:
            size: of what is to come, which must fit into the limit.
            limit: bytes of all files.
            written: bytes of what this process has put there since it was here last,
            newest: and its name: it is not removed.
            is_full: whether room is needed on the disk, too.
        """
        with self._lock:
            is_fresh = is_full or time.monotonic() >= self._until
            if is_fresh:
                self._count(newest, _MOST_KEPT)
            else:
                self._total += written
            freed = since_count = 0
            while self._total + size > limit or (is_full and (freed < size or _free(self._folder) < size)):
                if not self._oldest:
                    if is_fresh and not since_count and self._has_all:
                        return  # there is nothing more that can be removed
                    # The first of them may all be another user's.
                    self._count(newest, None if is_fresh and not since_count else _MOST_KEPT)
                    is_fresh, since_count = True, 0
                    continue
                removed = self._remove(self._oldest.popleft(), is_fresh=is_fresh)
                freed, since_count = freed + removed, since_count + removed

    def _remove(self, file: _File, *, is_fresh: bool) -> int:
        """Remove a file that was not opened since it was counted; how many bytes fewer there are than were known."""
        try:
            if os.stat(file.path, follow_symlinks=False).st_mtime_ns != file.mtime_ns:
                return 0
            os.unlink(file.path)
        except FileNotFoundError:
            if not is_fresh:
                return 0  # another process has made room, for what is not known here
        except OSError:  # of another user
            return 0
        self._total -= file.bytes
        return file.bytes

    def _count(self, newest: str, most: int | None) -> None:
        files, self._total, now, begun = [], 0, time.time_ns(), time.monotonic()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                is_ours = FETCHED_NAME.fullmatch(entry.name) is not None
                with suppress(OSError):  # another process has removed it
                    if not (is_ours or _UNFINISHED.fullmatch(entry.name)) or not entry.is_file(follow_symlinks=False):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if is_ours and entry.name != newest:
                        mtime_ns = status.st_mtime_ns
                        opened = mtime_ns if mtime_ns < now + _ODD_CLOCK_NS else 0
                        files.append((opened, status.st_size, entry.path, mtime_ns))
                    if is_ours or not remove_if_abandoned(entry.path):
                        self._total += status.st_size
        self._oldest = deque(_File(*file) for file in (sorted(files) if most is None else nsmallest(most, files)))
        self._has_all = len(self._oldest) == len(files)
        end = time.monotonic()
        self._until = end + _GOOD_FOR * (end - begun) if end - begun > _CHEAP_S else 0.0


def room_in(folder: Path) -> Room:
    """That in a folder."""
    return _rooms.setdefault(str(folder), Room(folder))


_rooms: dict[str, Room] = {}
os.register_at_fork(after_in_child=_rooms.clear)  # a thread of the parent may be at it


def _free(folder: Path) -> int:
    """Bytes that the disk has left for this user."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
