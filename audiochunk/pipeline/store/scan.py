"""A folder in an object store -> its recordings, in the order of their paths' bytes, and what each holds."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import islice

from audiochunk.errors import InputError, RecordingError, printable
from audiochunk.pipeline.places import objects_at
from audiochunk.pipeline.requests import Requests
from audiochunk.pipeline.scan import Found, Scanned, is_recording
from audiochunk.pipeline.store.source import ObjectSource, version_number
from audiochunk.signal.audio import probe_source
from audiochunk.signal.riff import HEAD_BYTES
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.objects import Objects

THREADS = 32  # requests at once in one process: a store takes long to answer, and answers many


def walk_objects(root: bytes) -> Iterator[Found]:
    """Objects with the extension of a recording below a URL, in the order of their keys' bytes.

    That is the order of a folder's walk: of objects, a key is a path.

    Raises:
        InputError: there is no such bucket, or its objects are listed in another order.
        StoreError: it could not be asked.
    """
    before: bytes | None = None
    for info in _list(root):
        path = info.name.encode(errors="surrogatepass")  # which keeps the order of names
        if before is not None and path <= before:
            raise InputError(
                root,
                f"the store does not list objects in the order of their keys, each once ({printable(before)} came"
                f" before {printable(path)}); copy them to a folder or to a store that does",
            )
        before = path
        if is_recording(path):
            yield Found(path, _fault(root, path), info.size, version_number(info.version))


def _list(root: bytes) -> Iterator[ObjectInfo]:
    try:
        yield from objects_at(root.decode()).list()
    except FileNotFoundError:
        raise InputError(root, "there is no such bucket") from None


def _fault(root: bytes, key: bytes) -> str | None:
    """Why an object cannot be a recording by its key alone."""
    if {b"", b".", b".."}.intersection(key.split(b"/")) or b"\0" in key:
        return "a key that no file below a folder can have: an empty part, . or .."
    try:
        key.decode()
    except UnicodeDecodeError:
        return "a key that is no UTF-8"
    # s3fs takes what follows for the version of another object, and reads that one.
    if root.partition(b"://")[0] in (b"s3", b"s3a") and b"?versionId=" in key:
        return "a key that cannot be asked for by its name: ?versionId= is in it"
    return None


def probe_objects(root: bytes, found: Iterable[Found]) -> Iterator[Scanned]:
    """What objects hold, or why they cannot be used, in their order; many are looked into at once.

    Raises:
        StoreError: the store could not be read, which says nothing about a recording.
    """
    objects = objects_at(root.decode())
    left = iter(found)
    waiting: list[Future[Scanned]] = []
    with Requests(THREADS) as threads:
        while True:
            waiting += [threads.submit(_probe, objects, one) for one in islice(left, 2 * THREADS - len(waiting))]
            if not waiting:
                return
            yield waiting.pop(0).result()


def _probe(objects: Objects, found: Found) -> Scanned:
    if found.error is not None:
        return Scanned(found.path, 0, 0, None, found.error)
    source = ObjectSource(objects, found.path, size=found.bytes, version=found.version)
    try:
        source.pread(HEAD_BYTES, 0)  # here: libsndfile is opened by one thread at a time
        info, error = probe_source(source, found.path), None
    except RecordingError as failure:
        info, error = None, failure.args[1]
    return Scanned(found.path, found.bytes, found.version, info, error)
