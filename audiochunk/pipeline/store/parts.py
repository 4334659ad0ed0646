"""The recordings of one shard, from an object store: small ones whole and ahead of time, large ones by their ranges."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from audiochunk.config import Encoding
from audiochunk.pipeline.parts import Part
from audiochunk.pipeline.places import objects_at
from audiochunk.pipeline.requests import Requests
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.store.source import ObjectSource, WholeObject, fetch_whole
from audiochunk.signal.source import ByteSource

WHOLE_BYTES = 2**23  # a recording of up to so much is fetched whole: more requests would take longer
AHEAD_BYTES = 2**25  # that are held, or on their way, for parts to come
_THREADS = 16


class RemoteParts:
    """Opens the recordings of parts, in their order; a context manager.

    Args:
        root: URL of the input folder.
        parts: of the shard.
        encoding: of its chunks.
    """

    def __init__(self, root: bytes, parts: Sequence[Part], encoding: Encoding) -> None:
        self._encoding = encoding
        self._objects = objects_at(root.decode())
        self._threads = Requests(_THREADS)
        #: Small recordings that nobody has asked for yet; the channels of one follow each other.
        self._left = deque({r.path: r for r in (part.recording for part in parts) if r.bytes <= WHOLE_BYTES}.values())
        self._coming: dict[bytes, Future[WholeObject]] = {}
        self._ahead = 0
        self._last: tuple[bytes, Future[WholeObject]] | None = None

    def __enter__(self) -> "RemoteParts":
        return self

    def __exit__(self, *raised: Any) -> None:
        self._coming.clear()
        self._threads.__exit__(*raised)

    def open(self, part: Part) -> ByteSource:
        """The recording that a part is of.

        Raises:
            PassingRecordingError: it is not there, or not the one that was scanned.
            StoreError: the store could not be read.
        """
        recording = part.recording
        if recording.bytes > WHOLE_BYTES:
            source = ObjectSource(
                self._objects, recording.path, size=recording.bytes, version=recording.mtime_ns, ahead=self._threads
            )
            frames = frame_range(part, self._encoding)
            if (form := part.info.form) is not None:
                stride = form.width * part.info.channels
                source.expect(range(form.offset + frames.start * stride, form.offset + frames.stop * stride))
            else:
                source.expect_until(recording.bytes * frames.stop // part.info.frames)
            return source
        if self._last is None or self._last[0] != recording.path:
            self._last = None  # to be let go of before more is fetched
            self._fill()
            future = self._coming.pop(recording.path, None)
            if future is None:
                future = self._fetch(recording)
            else:
                self._ahead -= recording.bytes
            self._last = recording.path, future
            self._fill()
        return self._last[1].result()

    def _fill(self) -> None:
        while self._left and (not self._coming or self._ahead + self._left[0].bytes <= AHEAD_BYTES):
            recording = self._left.popleft()
            self._coming[recording.path] = self._fetch(recording)
            self._ahead += recording.bytes

    def _fetch(self, recording: Scanned) -> Future[WholeObject]:
        return self._threads.submit(
            fetch_whole, self._objects, recording.path, size=recording.bytes, version=recording.mtime_ns
        )


def frame_range(part: Part, encoding: Encoding) -> range:
    """The frames of its recording that a part needs."""
    stream = part.stream(encoding)
    first = part.first * stream.codes_per_chunk
    end = first + stream.real_codes(part.first, part.chunks)
    start = first if stream.channels == 1 else first // (stream.block * stream.channels) * stream.block
    return range(start, stream.frames_in(end, incomplete=True))
