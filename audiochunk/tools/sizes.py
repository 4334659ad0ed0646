"""What one codec makes of some chunks: the tasks of an evaluation."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from audiochunk.errors import MachineError, printable, reason
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.tools.codecs.codec import Codec, Measured
from audiochunk.tools.codecs.entropy import CodeCounts
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.codecs.sound import CodecError
from audiochunk.tools.sounds import ChunkSound, Excerpt, ExcerptSound, code_arrays


@dataclass(slots=True)
class Sum:
    """What a codec made of sounds, added up.

    Attributes:
        compressed_bytes: of all of them.
        header_bytes: of these, what LMIC counts as headers, as far as it is there.
        one_header: the largest of them.
        encode_s: seconds.
        decode_s: seconds.
    """

    compressed_bytes: int = 0
    header_bytes: int = 0
    one_header: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0

    def add(self, other: "Sum") -> None:
        """Count another in."""
        self.compressed_bytes += other.compressed_bytes
        self.header_bytes += other.header_bytes
        self.one_header = max(self.one_header, other.one_header)
        self.encode_s += other.encode_s
        self.decode_s += other.decode_s


@dataclass(frozen=True, slots=True)
class Task:
    """Chunks for one codec.

    Attributes:
        codec: its name.
        way: "chunked", each chunk alone; "whole", each excerpt together; "bound", nothing is encoded but codes counted.
        datasets: by split.
        excerpts: the chunks.
        scratch: folder for temporary files.
    """

    codec: str
    way: str
    datasets: dict[str, ChunkDataset]
    excerpts: tuple[Excerpt, ...]
    scratch: str


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a task: its codec and way, its raw bytes, and what was found, or why nothing was."""

    codec: str
    way: str
    raw_bytes: int
    found: Sum | CodeCounts | str


def measure(task: Task) -> Done:
    """Do a task.

    Raises:
        CodecError: what came back is not what was given; says of which recording.
        DatasetError: a shard is damaged.
    """
    encoding = next(iter(task.datasets.values())).encoding
    raw_bytes = sum(excerpt.chunks for excerpt in task.excerpts) * encoding.chunk_bytes
    found: Sum | CodeCounts | str
    if task.way == "bound":
        found = CodeCounts(bits=encoding.bits)
        for excerpt in task.excerpts:
            for codes in code_arrays(task.datasets[excerpt.split], excerpt):
                found.add(codes)
    else:
        with _temporary_files_in(task.scratch):
            try:
                found = _encode(task)
            except MachineError as error:
                found = str(error)
            except OSError as error:
                found = reason(error)
    return Done(task.codec, task.way, raw_bytes, found)


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    # This process may be ended at any moment, and then only its parent can clear up.
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def _encode(task: Task) -> Sum:
    codec, total = CODECS[task.codec], Sum()
    sounds: list[tuple[Excerpt, ChunkSound | ExcerptSound]] = []
    for excerpt in task.excerpts:
        ds = task.datasets[excerpt.split]
        if task.way == "whole":
            sounds.append((excerpt, ExcerptSound(ds, excerpt)))
        else:
            chunks = range(excerpt.first, excerpt.first + excerpt.chunks)
            sounds += [(excerpt, ChunkSound(ds, excerpt.row, number)) for number in chunks]
    headers: dict[tuple[int, int], int] = {}
    for (_, sound), measured in zip(sounds, _measured(codec, sounds), strict=True):
        size, header, counted = measured.compressed_bytes, 0, 0
        if task.way == "chunked":
            form = sound.sample_rate, sound.channels
            if form not in headers:
                headers[form] = codec.header_bytes(sound)
            # What LMIC takes for a header may be more than a whole chunk of silence takes.
            header, counted = headers[form], min(headers[form], size)
        total.add(Sum(size, counted, header, measured.encode_s, measured.decode_s))
    return total


def _measured(codec: Codec, sounds: Sequence[tuple[Excerpt, ChunkSound | ExcerptSound]]) -> list[Measured]:
    try:
        return codec.measure([sound for _, sound in sounds])
    except CodecError:
        # Once more one by one, to find out which it was.
        for excerpt, sound in sounds:
            try:
                codec.measure([sound])
            except CodecError as error:
                path = printable(excerpt.row.path_bytes)
                raise CodecError(error.args[0], f"{error.args[1]}: chunks of {path} in {excerpt.split}") from error
        raise
