"""An object that is made only where there is none."""

import errno
from inspect import signature
from typing import Any

from audiochunk.storage.objects import Objects
from audiochunk.storage.refusals import is_there_already


def create(objects: Objects, name: str, data: bytes) -> bool:
    """Make an object of bytes where there is none, and say whether it now is that one.

    It is looked for one first. Of several who try at once one succeeds, where the store can see to that: S3 and Google
    Cloud Storage can. Some that speak S3 cannot, and do not say so.

    Raises:
        StoreError: it could not be written.
    """

    def put(fs: Any) -> bool | None:
        if fs.protocol[0] == "file" or "mode" not in signature(getattr(fs, "_pipe_file", fs.pipe_file)).parameters:
            return None
        try:
            fs.pipe_file(objects.path(fs, name), data, mode="create")
        except OSError as error:
            if is_there_already(error):
                return False
            if error.errno != errno.ENOSYS:
                raise
            return None
        return True

    made = objects.call("written", name, put) if objects.stat(name) is None else False
    if made is None:
        objects.write(name, data)
        return True
    # An answer may have been lost: what is there then is one's own.
    return made or objects.read(name) == data
