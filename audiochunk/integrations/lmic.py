"""Chunks as the code of "Language Modeling Is Compression" takes them: iterators of `bytes`.

Its data loaders (`data_loaders.py` of google-deepmind/language_modeling_is_compression; arXiv 2309.10668) are functions
of `num_chunks`. Here are two more, one that reads recordings and one that reads a dataset, and the four steps from a
recording to chunks under the names that adapters of that code for WAV files give them.

Here, and only here, samples are (channels, frames): users of those names take `audio_data[0]` for the left channel.
"""

import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError, RecordingError
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.signal import audio
from audiochunk.signal.chunking import Span, Stream
from audiochunk.signal.encode import arrange
from audiochunk.signal.interleave import interleave
from audiochunk.signal.opening import open_regular
from audiochunk.signal.quantize import Samples, dequantize, quantize

Conversion = Literal["reference", "affine"]
AnyPath = bytes | str | os.PathLike[str]

NUM_CHUNKS = 488_281  # constants.NUM_CHUNKS of LMIC: 10**9 bytes in chunks of 2048
CHUNK_SIZE_BYTES = 2048  # constants.CHUNK_SIZE_BYTES of LMIC

_READ_BYTES = 2**19  # of chunks that are made at once
_READ_FRAMES = 2**16


def get_custom_audio_iterator(
    audio_files: Iterable[AnyPath],
    num_chunks: int = NUM_CHUNKS,
    use_16bit: bool = False,
    blocking_size: int = 1024,
    chunk_size_bytes: int = CHUNK_SIZE_BYTES,
    *,
    quantizer: Conversion = "reference",
) -> Iterator[bytes]:
    """The chunks of recordings, one recording after the other, straight from their files.

    With the defaults these are the chunks that a dataset of the same recordings with `bits=8, block=1024` holds. A
    recording is opened when its first chunk is wanted, and read piece by piece. Its incomplete last chunk is dropped;
    no chunk has samples of two recordings.

    Args:
        audio_files: paths of WAV files, or of anything else that audiochunk reads; taken as they are needed.
        num_chunks: the most chunks to give.
        use_16bit: whether a sample takes two bytes, as signed little-endian int16, rather than one.
        blocking_size: samples of one channel that follow each other; mono does not depend on it. A chunk holds one
            block of each of two channels with the default, but with use_16bit only where it is 512.
        chunk_size_bytes: bytes of a chunk; even with use_16bit.
        quantizer: how samples become bytes; see `convert_to_target_bit_depth`.

    Raises:
        ConfigError: a number or a quantizer that cannot be used; at once.
        RecordingError: a recording cannot be used; when it is reached. Nothing is skipped.
    """
    if isinstance(audio_files, (str, bytes, os.PathLike)):
        raise ConfigError(f"audio_files are many paths, not the one path {audio_files!r}; put it in a list")
    _require_count(num_chunks)
    convert = _conversion(quantizer)
    encoding = Encoding(bits=16 if use_16bit else 8, block=blocking_size, chunk_bytes=chunk_size_bytes)
    every = (chunk for path in audio_files for chunk in _chunks(path, encoding, convert))
    return islice(every, num_chunks)


def get_dataset_iterator(path: AnyPath, num_chunks: int = NUM_CHUNKS, *, split: str = "train") -> Iterator[bytes]:
    """The chunks of a dataset in their order, as they are stored.

    16-bit codes are stored unsigned: a sample is 0x8000 more than in what `get_custom_audio_iterator` gives with
    use_16bit, so that of its two bytes the top bit of the more significant one is flipped.

    Args:
        path: folder of the dataset.
        num_chunks: the most chunks to give.
        split: which part of it.

    Raises:
        ConfigError: num_chunks < 0, or there is no such split; at once.
        NoDatasetError: there is no dataset; at once.
        DatasetError: it is damaged.
    """
    _require_count(num_chunks)
    dataset = ChunkDataset(os.fsdecode(path), split)
    return (chunk.tobytes() for chunk in dataset[:num_chunks])


def load_wav_file(path: AnyPath) -> tuple[Samples, int, int]:
    """All samples of a recording, its sample rate in Hz, and its number of channels.

    Returns:
        The samples as (channels, frames), mono too, left-justified: int16 from sources of up to 16 bits, else int32;
        full scale is that of the dtype. Integers are exact; floats are rounded to 32 bits.

    Raises:
        RecordingError: it cannot be used. Of one that is not there, the cause is a FileNotFoundError.
    """
    info = audio.probe(path)
    return audio.read(path).T, info.sample_rate, info.channels


def process_stereo_blocking(audio_data: Samples, blocking_size: int) -> Samples:
    """Lay channels end to end in blocks: the first block of every channel in turn, then the second ones.

    Args:
        audio_data: (channels, frames), any number of channels.
        blocking_size: samples in a block; the last block of each channel may be shorter.

    Returns:
        1-D, channels * frames long, same dtype; of mono, the samples as they are.

    Raises:
        ConfigError: blocking_size < 1, or an array of another shape.

    >>> process_stereo_blocking(np.array([[1, 2, 3], [9, 8, 7]], np.int16), 2).tolist()
    [1, 2, 9, 8, 3, 7]
    """
    if audio_data.ndim != 2:
        raise ConfigError(f"samples are (channels, frames) here, not {audio_data.shape}")
    return interleave(audio_data.T, block=blocking_size)


def convert_to_target_bit_depth(audio_data: Samples, use_16bit: bool, *, quantizer: Conversion = "reference") -> bytes:
    """The bytes of samples: one each, unsigned, or with use_16bit two each, signed and little-endian.

    For samples of `width` bits (16 or 32), with x = sample / 2**(width - 1) in [-1, 1):

    - "reference" keeps the top bits, as `audioop.lin2lin` does, and for 8 bits then adds 128, as `audioop.bias` does in
      LMIC's loader of LibriSpeech: floor(x * 128) + 128, or floor(x * 32768). Silence is 128.
    - "affine" is trunc((x + 1) * 127.5), or trunc(x * 32767): how its adapters for WAV files rescale, but that they
      divide by 32767, in float32, to get x. Silence is 127, 255 never occurs, and with use_16bit every 16-bit sample
      but 0 comes out one nearer to 0, so that -1, 0 and 1 become one.

    Args:
        audio_data: int16 or int32, left-justified, any shape.
        use_16bit: whether two bytes a sample.
        quantizer: "reference" or "affine".

    Raises:
        ConfigError: another quantizer, or samples of another dtype.

    >>> samples = np.array([-32768, -1, 0, 256, 32767], np.int16)
    >>> list(convert_to_target_bit_depth(samples, False))
    [0, 127, 128, 129, 255]
    >>> list(convert_to_target_bit_depth(samples, False, quantizer="affine"))
    [0, 127, 127, 128, 254]
    """
    if audio_data.dtype not in (np.int16, np.int32):
        raise ConfigError(f"samples are left-justified int16 or int32, not {audio_data.dtype}")
    return _conversion(quantizer)(audio_data, use_16bit)


def extract_audio_chunks(audio_bytes: bytes, chunk_size: int) -> Iterator[bytes]:
    """Pieces of `chunk_size` bytes without overlap; an incomplete last one is dropped.

    Raises:
        ConfigError: chunk_size < 1.

    >>> list(extract_audio_chunks(b"abcde", 2))
    [b'ab', b'cd']
    """
    if chunk_size < 1:
        raise ConfigError(f"chunk_size must be at least 1 byte, not {chunk_size}")
    starts = range(0, len(audio_bytes) - chunk_size + 1, chunk_size)
    return (bytes(audio_bytes[start : start + chunk_size]) for start in starts)


def register(
    functions: MutableMapping[str, Callable[..., Iterator[bytes]]],
    *,
    audio_files: Iterable[AnyPath] | None = None,
    dataset: AnyPath | None = None,
    **options: Any,
) -> None:
    """Add 'custom_audio' to the functions that LMIC knows its data by.

    Its `compress.py` calls them as `function(num_chunks=...)`, more than once, and takes their names for `--dataset`
    when it is imported: register before that.

    Args:
        functions: `data_loaders.GET_DATA_GENERATOR_FN_DICT`; changed in place.
        audio_files: recordings, of which 'custom_audio' then gives the chunks.
        dataset: folder of a dataset, in their place. With neither, 'custom_audio' is `get_custom_audio_iterator`, to be
            called with its audio_files.
        options: more arguments: of `get_dataset_iterator` with a dataset, else of `get_custom_audio_iterator`.

    Raises:
        ConfigError: both are given.
    """
    if audio_files is not None and dataset is not None:
        raise ConfigError("audio_files and dataset: give one or the other")
    if dataset is not None:
        functions["custom_audio"] = partial(get_dataset_iterator, dataset, **options)
    elif audio_files is not None:
        # All paths now, because every call takes them from the first one.
        functions["custom_audio"] = partial(get_custom_audio_iterator, list(audio_files), **options)
    else:
        functions["custom_audio"] = partial(get_custom_audio_iterator, **options)


_Convert = Callable[[Samples, bool], bytes]


def _reference(samples: Samples, use_16bit: bool) -> bytes:
    if not use_16bit:
        return quantize(samples, bits=8).tobytes()
    return dequantize(quantize(samples, bits=16), bits=16).astype("<i2", copy=False).tobytes()


def _affine(samples: Samples, use_16bit: bool) -> bytes:
    # Exact: nothing here has more than 46 significant bits, and float64 holds 53. The casts round towards zero.
    x = samples.astype(np.float64) / 2.0 ** (8 * samples.dtype.itemsize - 1)
    return (x * 32767).astype("<i2").tobytes() if use_16bit else ((x + 1) * 127.5).astype(np.uint8).tobytes()


_CONVERSIONS: dict[str, _Convert] = {"reference": _reference, "affine": _affine}


def _conversion(quantizer: str) -> _Convert:
    if quantizer not in _CONVERSIONS:
        raise ConfigError(f"quantizer is one of {', '.join(_CONVERSIONS)}, not {quantizer!r}")
    return _CONVERSIONS[quantizer]


def _require_count(num_chunks: int) -> None:
    if not isinstance(num_chunks, int) or num_chunks < 0:
        raise ConfigError(f"num_chunks must be a whole number, at least 0, not {num_chunks!r}")


def _chunks(path: AnyPath, encoding: Encoding, convert: _Convert) -> Iterator[bytes]:
    """The chunks of one recording; what none of them needs is not read."""
    name, use_16bit = os.fsencode(path), encoding.bits == 16
    info = audio.probe(name)
    stream = Stream.of(info.frames, info.channels, encoding)
    at_once = max(1, _READ_BYTES // encoding.chunk_bytes)
    with audio.Recording(open_regular(name), info, name) as recording:
        for first in range(0, stream.n_chunks, at_once):
            n_chunks = min(at_once, stream.n_chunks - first)
            spans = stream.spans(first, n_chunks, max_frames=_READ_FRAMES)
            samples = (arrange(_read(recording, span, name), span, encoding) for span in spans)
            octets = b"".join(convert(piece, use_16bit) for piece in samples)
            yield from extract_audio_chunks(octets, encoding.chunk_bytes)


def _read(recording: audio.Recording, span: Span, path: bytes) -> Samples:
    decoded = recording.read(span.start, span.frames)
    used = slice(None) if span.channel is None else span.channel
    if decoded.invalid is not None and decoded.invalid[:, used].any():
        raise RecordingError(path, "holds NaN or infinite samples")
    return decoded.samples
