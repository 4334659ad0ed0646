"""Chunks -> WAV files: one chunk, one recording, or the whole tree of a dataset."""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audiochunk.config import Encoding
from audiochunk.errors import ConfigError, DatasetError, MachineError, OutputExistsError, printable
from audiochunk.pipeline.executors import Workers
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames, chunk_samples, sample_pieces
from audiochunk.reader.recordings import Recordings
from audiochunk.signal.quantize import Samples
from audiochunk.signal.sndfile import bits_of
from audiochunk.storage.files import temporary
from audiochunk.storage.recordings import RecordingRow

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

MOST_CHANNELS = 1024  # that libsndfile writes
_MOST_WAV_BYTES = 2**32 - 2**16  # of samples; more are written as RF64
_WAV_SUBTYPES = {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What a WAV file has: sample_rate in Hz, channels, and bits a sample (8, 16, 24 or 32)."""

    sample_rate: int
    channels: int
    bits: int


def wav_format(rows: Sequence[RecordingRow], encoding: Encoding) -> WavFormat:
    """The WAV that holds a recording as it is in a dataset: the fewest bits that lose nothing of it.

    Linear codes have the bits of their source or of the encoding, whichever are fewer. Values of mu-law lie between
    those of any integers: they are rounded to a width that is finer than the smallest step of the curve.

    Args:
        rows: of the recording.
        encoding: of the dataset.
    """
    row = rows[0]
    if encoding.quantizer == "mulaw":
        bits = {8: 16, 12: 24, 16: 32}[encoding.bits]
    else:
        source = bits_of(row.subtype)
        if encoding.layout == "mono" and row.channels > 1:
            source = max(16, source)  # a mean of samples has more bits than they have
        bits = min(source, 8 * encoding.bytes_per_code)
    channels = 1 if encoding.layout == "mono" else row.channels if row.channel is None else len(rows)
    return WavFormat(row.sample_rate, channels, bits)


def write_wav(
    path: Path, pieces: Iterable[Samples], form: WavFormat, *, frames: int, within: Path | None = None
) -> None:
    """Write a WAV file, RF64 where it is longer than WAV can be; `path` is all of it or not there.

    Args:
        path: of the file.
        pieces: of (frames, channels) samples, int16 or int32, left-justified. What a sample has beyond the bits of the
            file is rounded.
        form: of the file.
        frames: that the pieces have together.
        within: folder in which it lies until it is whole, on the same file system; by default beside `path`.

    Raises:
        ConfigError: more channels than a WAV file takes here.
        MachineError: libsndfile refused.
        OSError: it could not be written.
    """
    import soundfile

    if form.channels > MOST_CHANNELS:
        raise ConfigError(f"{form.channels:,} channels; a WAV file is written with at most {MOST_CHANNELS:,}")
    is_long = frames * form.channels * form.bits // 8 > _MOST_WAV_BYTES
    scratch = temporary(path if within is None else within / "wav")
    try:
        with (
            scratch.open("xb+") as file,
            soundfile.SoundFile(
                file,  # and not its descriptor, of which libsndfile would fsync every file
                "w",
                form.sample_rate,
                form.channels,
                _WAV_SUBTYPES[form.bits],
                format="RF64" if is_long else "WAV",
            ) as wav,
        ):
            for samples in pieces:
                wav.write(_rounded(samples, form.bits))
        scratch.replace(path)
    except soundfile.LibsndfileError as error:
        raise MachineError(f"{printable(str(path))}: libsndfile: {error.error_string}") from error
    finally:
        scratch.unlink(missing_ok=True)


def _rounded(samples: Samples, bits: int) -> Samples:
    """Samples rounded to so many of their upper bits, halves upwards, and no further than full scale."""
    spare = 8 * samples.itemsize - bits
    if spare <= 0:
        return samples
    half, most = 1 << (spare - 1), np.iinfo(samples.dtype).max
    return np.minimum(samples, most - half) + samples.dtype.type(half)


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """What was written, or would be.

    Attributes:
        recording: its path as bytes.
        target: the file, relative to the folder of all of them.
        numbers: of the recording's rows, among those that were decoded in path order.
        chunks: of the recording.
    """

    recording: bytes
    target: bytes
    numbers: range
    chunks: int


def tree(rows: Iterable[RecordingRow]) -> list[DecodedFile]:
    """Where each recording that has chunks goes, in path order: its own path with the extension .wav.

    Where two would be one file, or one the folder of another, the one that is so named already keeps its name, and
    others keep their extension before the new one: a.flac becomes a.flac.wav. Where that is taken too, a number comes
    between.

    Args:
        rows: of the recordings table, in path order.

    Raises:
        DatasetError: a path that leads out of the folder, which no build writes.
    """
    found, n = [], 0
    for path, group in groupby(rows, lambda row: row.path_bytes):
        of_streams = [row.chunks for row in group]
        first, n = n, n + len(of_streams)
        if any(of_streams):
            if path.startswith(b"/") or {b"", b".", b".."} & set(path.split(b"/")) or b"\0" in path:
                raise DatasetError("recordings.jsonl", f"{printable(path)} is not a path within a folder")
            found.append((path, range(first, n), sum(of_streams)))
    wanted = [os.path.splitext(path)[0] + b".wav" for path, *_ in found]
    times: dict[bytes, int] = {}
    for target in wanted:
        times[target] = times.get(target, 0) + 1
    paths = {path for path, *_ in found}
    folders = {target[:at] for target in wanted for at in range(len(target)) if target[at : at + 1] == b"/"}
    taken = {target for target in wanted if times[target] == 1} | (paths & set(wanted)) | folders
    files = []
    for (path, numbers, chunks), target in zip(found, wanted, strict=True):
        if target in folders or (path != target and (times[target] > 1 or target in paths)):
            number, target = 1, path + b".wav"
            while target in taken:
                number, target = number + 1, b"%b.%d.wav" % (path, number + 1)
            taken.add(target)
        files.append(DecodedFile(path, target, numbers, chunks))
    return files


def decode_all(
    folder: "Folder",
    out: Path,
    *,
    splits: Sequence[str],
    workers: int = 1,
    overwrite: bool = False,
    on_file: Callable[[DecodedFile], None] | None = None,
) -> list[DecodedFile]:
    """Write every recording that has chunks as a WAV file in a tree like the one that it came from.

    Args:
        folder: of the dataset.
        out: folder for the files; made where it is missing.
        splits: whose recordings to write.
        workers: processes to use.
        overwrite: whether files that are there already may be replaced.
        on_file: told of each file when it is there.

    Returns:
        What was written, in path order.

    Raises:
        DatasetError: the dataset is damaged.
        OutputExistsError: one of the files is there already; then none is written.
        OSError: a file could not be written.
    """
    datasets = {split: ChunkDataset(folder, split) for split in splits}
    rows = Recordings.joined([ds.recordings for ds in datasets.values()], in_order=True).by_path
    files = tree(rows)
    for file in files:
        if not overwrite and os.path.lexists(os.path.join(os.fsencode(out), file.target)):
            raise OutputExistsError(out, f"holds {os.fsdecode(file.target)}", "choose another folder, or --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    # What is not whole lies in one place, so that nothing of it is left where this is interrupted.
    with tempfile.TemporaryDirectory(prefix=".decode-", dir=out) as within, Workers(workers) as pool:
        tasks = (_task(file, rows, datasets, out, Path(within)) for file in files)
        for file in pool.run(_decode_file, tasks, at_most=len(files), name=lambda task: printable(task.file.recording)):
            if on_file is not None:
                on_file(file)
    return files


@dataclass(frozen=True, slots=True)
class _Task:
    ds: ChunkDataset
    rows: tuple[RecordingRow, ...]
    file: DecodedFile
    out: Path
    within: Path


def _task(file: DecodedFile, rows: Recordings, datasets: dict[str, ChunkDataset], out: Path, within: Path) -> _Task:
    of_file = tuple(rows[number] for number in file.numbers)
    return _Task(datasets[of_file[0].split], of_file, file, out, within)


def _decode_file(task: _Task) -> DecodedFile:
    path = task.out / os.fsdecode(task.file.target)
    path.parent.mkdir(parents=True, exist_ok=True)
    decode_recording(task.ds, task.rows, path, within=task.within)
    return task.file


def decode_recording(
    ds: ChunkDataset, rows: Sequence[RecordingRow], path: Path, *, within: Path | None = None
) -> WavFormat:
    """Write all chunks of one recording as a WAV file, piece by piece; returns what the file has.

    Args:
        ds: the split that the recording is in.
        rows: of the recording.
        path: of the file.
        within: as of `write_wav`.
    """
    streams = [Frames(ds, row) for row in rows]
    form = wav_format(rows, ds.encoding)
    write_wav(path, sample_pieces(streams, ds.encoding), form, frames=streams[0].frames, within=within)
    return form


def decode_chunk(ds: ChunkDataset, i: int, path: Path) -> WavFormat:
    """Write one chunk as a WAV file; returns what the file has.

    The channels of a chunk that is not aligned each begin with their first sample in it; shorter ones end in silence.
    """
    found = chunk_samples(ds, i)
    samples = _side_by_side(found) if isinstance(found, list) else found
    whole = wav_format([ds.locate(i).recording], ds.encoding)
    form = WavFormat(whole.sample_rate, samples.shape[1], whole.bits)
    write_wav(path, [samples], form, frames=len(samples))
    return form


def _side_by_side(channels: Sequence[Samples]) -> Samples:
    out = np.zeros((max(map(len, channels)), len(channels)), channels[0].dtype)
    for number, samples in enumerate(channels):
        out[: len(samples), number] = samples
    return out
