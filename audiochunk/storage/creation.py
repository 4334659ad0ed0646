"""An object that is made only where there is none."""

import errno
from inspect import signature
from typing import Any

from audiochunk.storage.objects import Objects


def create(objects: Objects, name: str, data: bytes) -> bool:
    """Make an object of bytes where there is none, and say whether it now is that one.

    It is looked for an object first. Of several who try at once one succeeds, where the store can see to that: S3 and
    Google Cloud Storage can.

    Raises:
        StoreError: it could not be written.
    """

    def put(fs: Any) -> bool | None:
        if fs.protocol[0] == "file" or "mode" not in signature(getattr(fs, "_pipe_file", fs.pipe_file)).parameters:
            return None
        try:
            fs.pipe_file(objects.path(fs, name), data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            return None
        return True

    made: bool | None = False
    if objects.stat(name) is None:
        made = objects.call("written", name, put)
        if made is None:
            objects.write(name, data)
            return True
    # An answer may have been lost: what is there then is one's own.
    return made or objects.read(name) == data
