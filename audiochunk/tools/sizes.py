"""What one codec makes of some chunks: the tasks of an evaluation."""

from dataclasses import dataclass

from audiochunk.reader.dataset import ChunkDataset
from audiochunk.tools.codecs.entropy import CodeCounts
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.sounds import ChunkSound, Excerpt, ExcerptSound, code_arrays


@dataclass(slots=True)
class Sum:
    """What a codec made of sounds, added up.

    Attributes:
        compressed_bytes: of all of them.
        header_bytes: of these, what LMIC counts as headers.
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
    """

    codec: str
    way: str
    datasets: dict[str, ChunkDataset]
    excerpts: tuple[Excerpt, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a task: its codec and way, its raw bytes, and what was found."""

    codec: str
    way: str
    raw_bytes: int
    found: Sum | CodeCounts


def measure(task: Task) -> Done:
    """Do a task.

    Raises:
        CodecError: what came back is not what was given.
        MachineError: a command failed.
        DatasetError: a shard is damaged.
    """
    encoding = next(iter(task.datasets.values())).encoding
    raw_bytes = sum(excerpt.chunks for excerpt in task.excerpts) * encoding.chunk_bytes
    found: Sum | CodeCounts
    if task.way == "bound":
        found = CodeCounts(bits=encoding.bits)
        for excerpt in task.excerpts:
            for codes in code_arrays(task.datasets[excerpt.split], excerpt):
                found.add(codes)
    else:
        found = _encode(task)
    return Done(task.codec, task.way, raw_bytes, found)


def _encode(task: Task) -> Sum:
    codec, total = CODECS[task.codec], Sum()
    if task.way == "whole":
        for measured in codec.measure([ExcerptSound(task.datasets[each.split], each) for each in task.excerpts]):
            total.add(Sum(measured.compressed_bytes, 0, 0, measured.encode_s, measured.decode_s))
        return total
    sounds = [
        ChunkSound(task.datasets[excerpt.split], excerpt.row, excerpt.first + number)
        for excerpt in task.excerpts
        for number in range(excerpt.chunks)
    ]
    headers: dict[tuple[int, int], int] = {}
    for sound, measured in zip(sounds, codec.measure(sounds), strict=True):
        form = sound.sample_rate, sound.channels
        if form not in headers:
            headers[form] = codec.header_bytes(sound)
        header = headers[form]
        total.add(Sum(measured.compressed_bytes, header, header, measured.encode_s, measured.decode_s))
    return total
