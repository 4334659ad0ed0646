"""What gzip, FLAC and entropies make of the bytes of chunks: the rows that a trained model stands beside.

    python examples/baselines.py shards

All figures are bits per byte of the first chunks of `val`, whose raw bytes are 8. The entropies are those of the bytes
themselves, counted in hindsight, so that no coder of that order that has to learn its table comes below them.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import soundfile as sf

import audiochunk
from audiochunk.reader.location import stream_of
from audiochunk.signal.interleave import deinterleave

Bytes = npt.NDArray[np.uint8]

_AT_ONCE = 4096  # chunks in memory
_FLAC_BITS = {8: "PCM_S8", 12: "PCM_16", 16: "PCM_16", 24: "PCM_24"}


def bytes_of(ds: audiochunk.ChunkDataset, start: int, stop: int) -> Bytes:
    """Chunks `start` to `stop` as (chunks, bytes of a chunk), whatever their codes are stored as."""
    return ds.gather(np.arange(start, min(stop, len(ds)))).view(np.uint8)


def batches(ds: audiochunk.ChunkDataset, n: int) -> Iterator[Bytes]:
    """The first `n` chunks, some at a time."""
    for start in range(0, n, _AT_ONCE):
        yield bytes_of(ds, start, min(start + _AT_ONCE, n))


def entropies(ds: audiochunk.ChunkDataset, n: int) -> tuple[float, float]:
    """H(byte), and H(byte | the byte before it in its chunk), in bits."""
    pairs = np.zeros((256, 256), np.int64)
    single = np.zeros(256, np.int64)
    for chunks in batches(ds, n):
        single += np.bincount(chunks.reshape(-1), minlength=256)
        numbers = chunks[:, :-1].astype(np.int32) * 256 + chunks[:, 1:]
        pairs += np.bincount(numbers.reshape(-1), minlength=65536).reshape(256, 256)
    # H(b | a) = H(a, b) - H(a), each counted over the same pairs.
    return entropy(single), entropy(pairs) - entropy(pairs.sum(axis=1))


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Of a distribution given by how often each value occurred, in bits.

    >>> entropy(np.array([2, 1, 1, 0]))
    1.5
    """
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def gzip_sizes(ds: audiochunk.ChunkDataset, n: int) -> tuple[int, int]:
    """Bytes that `gzip -9` makes of each chunk alone, added up, and of all of them in one file."""
    alone, together = 0, zlib.compressobj(9, wbits=31)
    whole = 0
    for chunks in batches(ds, n):
        alone += sum(len(gzip.compress(chunk.tobytes(), 9)) for chunk in chunks)
        whole += len(together.compress(chunks.tobytes()))
    return alone, whole + len(together.flush())


def flac_size(ds: audiochunk.ChunkDataset, n: int) -> int:
    """Bytes of the first `n` chunks as FLAC files, one a recording, with its channels side by side again.

    FLAC is given codes, of mu-law too: what is compressed is the same for all. Where blocks of channels do not fit
    into chunks, or are more than FLAC has channels, it is given them as one channel, in the order they have.
    """
    bits, size = ds.encoding.bits, 0
    for row in ds.recordings:
        numbers = range(row.first_chunk, min(row.first_chunk + row.chunks, n))
        if row.error is not None or not numbers:
            continue
        stream = stream_of(row, ds.encoding)
        codes = np.concatenate([ds.codes(i) for i in numbers])
        # Left-justified, so that libsndfile keeps the bits there are, at any depth.
        samples = (codes.astype(np.int32) - (1 << (bits - 1))) << (32 - bits)
        if stream.channels <= 8 and ds.encoding.is_aligned(stream.channels):
            frames = deinterleave(samples, channels=stream.channels, block=stream.block)
        else:
            frames = samples[:, None]
        file = io.BytesIO()
        # The rate does not change the size; FLAC knows none that is higher.
        sf.write(file, frames, min(row.sample_rate, 655_350), format="FLAC", subtype=_FLAC_BITS[bits])
        size += file.getbuffer().nbytes
    return size


def bits_per_byte(ds: audiochunk.ChunkDataset, n: int) -> dict[str, float]:
    """Of the first `n` chunks, in bits per byte, by what they were compressed with."""
    raw = n * ds.encoding.chunk_bytes
    order_0, order_1 = entropies(ds, n)
    alone, whole = gzip_sizes(ds, n)
    return {
        "raw": 8.0,
        "entropy, order 0": order_0,
        "gzip -9, each chunk alone": 8 * alone / raw,
        "gzip -9, all chunks in one": 8 * whole / raw,
        "entropy, order 1": order_1,
        "FLAC, each recording": 8 * flac_size(ds, n) / raw,
    }


def table(rows: Mapping[str, float]) -> str:
    """Rows of bits per byte as lines of text.

    >>> print(table({"raw": 8.0, "model": 2.0}))
                                 bits per byte  % of raw
    raw                                  8.000     100.0
    model                                2.000      25.0
    """
    lines = [f"{'':28} bits per byte  % of raw"]
    lines += [f"{name:28} {bits:13.3f}  {100 * bits / 8:8.1f}" for name, bits in rows.items()]
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python baselines.py DATASET")
    try:
        val = audiochunk.open(sys.argv[1], "val")
        print(table(bits_per_byte(val, len(val))))
    except (audiochunk.AudiochunkError, OSError) as error:
        sys.exit(f"baselines: {error}")


if __name__ == "__main__":
    main()
