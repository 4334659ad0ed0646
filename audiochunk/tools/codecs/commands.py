"""Codecs that are commands: WavPack, and FLAC's reference encoder.

A process takes longer to begin than to encode a chunk, so that one is given the raw samples of many sounds of the same
format, in files of a temporary folder. The times of a process are shared out among its sounds by their frames.
"""

import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiochunk.errors import MachineError
from audiochunk.tools.codecs.codec import Codec, Measured, Stopwatch
from audiochunk.tools.codecs.flac import flac_channels, flac_rate
from audiochunk.tools.codecs.sound import CodecError, Sound, container_bits, require_same

_MAX_FILES = 1000  # for one process: far below what a command line can hold
_MAX_BYTES = 2**28  # of samples in the temporary folder, or of one sound that has more
_READ_BYTES = 2**20


@dataclass(frozen=True)
class Format:
    """What a command must be told of raw samples.

    Attributes:
        bits: of a sample, in whole bytes.
        sample_rate: in Hz.
        channels: that follow each other in a frame.
    """

    bits: int
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class CommandCodec(Codec):
    """A codec that two commands make; they may be the same.

    Attributes:
        encode: the command and its options for a format; file names follow.
        decode: likewise.
        suffix: of what `encode` writes beside a file of samples.
        unsigned_8: whether samples of 8 bits are unsigned, as in WAV files.
        package: of Debian and its kin, that has the commands.
    """

    encode: Callable[[Format], list[str]]
    decode: Callable[[Format], list[str]]
    suffix: str
    unsigned_8: bool
    package: str

    def missing(self) -> str | None:
        """How to get the commands."""
        some = Format(16, 8000, 1)
        if all(shutil.which(command(some)[0]) for command in (self.encode, self.decode)):
            return None
        return f"apt install {self.package}"

    def version(self) -> str:
        """What the command says of itself."""
        command = self.encode(Format(16, 8000, 1))[0]
        done = subprocess.run([command, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return " ".join(done.stdout.decode("utf-8", "replace").partition("\n")[0].split()) or command

    def measure(self, sounds: Sequence[Sound]) -> list[Measured]:
        """Encode, decode and compare the frames of sounds, many of them in one process."""
        by_format: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for number, sound in enumerate(sounds):
            by_format[sound.bits, sound.sample_rate, sound.channels].append(number)
        measured: dict[int, Measured] = {}
        for numbers in by_format.values():
            for some in _batches(numbers, sounds):
                measured.update(zip(some, self._measure([sounds[number] for number in some]), strict=True))
        return [measured[number] for number in range(len(sounds))]

    def _measure(self, sounds: list[Sound]) -> Iterator[Measured]:
        """Sounds of one format, in one folder."""
        form = Format(container_bits(sounds[0].bits), sounds[0].sample_rate, sounds[0].channels)
        raw = [f"{number}.raw" for number in range(len(sounds))]
        encoded = [f"{number}{self.suffix}" for number in range(len(sounds))]
        encoding, decoding = Stopwatch(), Stopwatch()
        with tempfile.TemporaryDirectory(prefix="audiochunk-") as name:
            folder = Path(name)
            for path, sound in zip(raw, sounds, strict=True):
                with (folder / path).open("wb") as file:
                    file.writelines(self._pieces(sound))
            with encoding:
                self._run([*self.encode(form), *raw], folder)
            self._require_written(encoded, folder, self.encode(form)[0])
            sizes = [(folder / path).stat().st_size for path in encoded]
            for path in raw:
                (folder / path).unlink()
            with decoding:
                self._run([*self.decode(form), *encoded], folder)
            self._require_written(raw, folder, self.decode(form)[0])
            for path, sound in zip(raw, sounds, strict=True):
                require_same(self._pieces(sound), _read(folder / path), codec=self.name)
        n_frames = sum(sound.n_frames for sound in sounds)
        for sound, size in zip(sounds, sizes, strict=True):
            share = sound.n_frames / n_frames
            yield Measured(size, encoding.seconds * share, decoding.seconds * share)

    def _pieces(self, sound: Sound) -> Iterator[bytes]:
        return (raw_samples(frames, bits=sound.bits, unsigned_8=self.unsigned_8) for frames in sound.frames())

    def _require_written(self, names: list[str], folder: Path, command: str) -> None:
        for name in names:
            if not (folder / name).exists():
                raise CodecError(self.name, f"{command} did not write {name}")

    def _run(self, command: list[str], folder: Path) -> None:
        # Nobody is there to answer what a command may ask.
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())
            raise MachineError(f"{command[0]} failed ({done.returncode}): {said}")


def raw_samples(frames: npt.NDArray[np.int32], *, bits: int, unsigned_8: bool) -> bytes:
    """Frames as little-endian samples of 1, 2 or 3 bytes, left-justified.

    >>> raw_samples(np.array([[-1, 1]], np.int32), bits=12, unsigned_8=False).hex(" ")
    'f0 ff 10 00'
    """
    width = container_bits(bits) // 8
    samples = (frames << (8 * width - bits)) + (128 if width == 1 and unsigned_8 else 0)
    return np.ascontiguousarray(samples, "<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes()


def _batches(numbers: list[int], sounds: Sequence[Sound]) -> Iterator[list[int]]:
    batch: list[int] = []
    n_bytes = 0
    for number in numbers:
        if batch and (len(batch) == _MAX_FILES or n_bytes + sounds[number].n_bytes > _MAX_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(number)
        n_bytes += sounds[number].n_bytes
    yield batch


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(partial(file.read, _READ_BYTES), b"")


def wavpack(form: Format) -> list[str]:
    """WavPack at its default, with no option of effort; raw samples have no header that it would store."""
    sign = "u" if form.bits == 8 else "s"
    return ["wavpack", "-q", "-y", f"--raw-pcm={form.sample_rate},{form.bits}{sign},{form.channels},le"]


def wvunpack(_: Format) -> list[str]:
    """Back to raw samples, which are unsigned at 8 bits whatever they were."""
    return ["wvunpack", "-q", "-y", "--raw"]


_RAW_FLAC = ["--silent", "--force", "--force-raw-format", "--endian=little", "--sign=signed"]


def flac_8(form: Format) -> list[str]:
    """`flac -8`, without padding or a seek table; with the channels and the rate that FLAC has for them."""
    channels, rate = flac_channels(form.channels), flac_rate(form.sample_rate)
    told = [f"--channels={channels}", f"--bps={form.bits}", f"--sample-rate={rate}"]
    return ["flac", "-8", "--no-padding", "--no-seektable", *_RAW_FLAC, *told]


def unflac(_: Format) -> list[str]:
    """Back to raw samples."""
    return ["flac", "--decode", *_RAW_FLAC]
