"""Folders for shards on their way into a store. What killed builds have left of theirs, the next one removes."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = "lock"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder in that for temporary files (`TMPDIR`), which goes with the block.

    It holds a lock, which is free once its process has died, however that was. Those of this user and this machine
    whose locks are free are removed first. Where a thread that was given up still writes, what cannot be removed is
    left with a free lock.

    Raises:
        OSError: it could not be made.
    """
    host = os.uname().nodename.partition(".")[0]  # another's locks may not be seen here
    prefix = f"audiochunk-build-{host}-"
    _sweep(Path(tempfile.gettempdir()), prefix)
    made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    lock = Path(made.name, _LOCK)
    try:
        with made as name, Path(name, f"{_LOCK}.new").open("xb") as held:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(held, fcntl.LOCK_EX)
                Path(held.name).rename(lock)  # only now: a folder without this file is left alone
            yield Path(name)
    finally:
        with suppress(OSError):
            lock.touch()


def _sweep(parent: Path, prefix: str) -> None:
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with suppress(OSError):
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    if not entry.is_dir(follow_symlinks=False) or entry.stat(follow_symlinks=False).st_uid != os.getuid():
        return
    lock = os.open(os.path.join(entry.path, _LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(lock)
