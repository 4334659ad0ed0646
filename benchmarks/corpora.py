"""Folders of recordings to measure with: the same for the same sizes, but for the last bits of numpy's functions.

    python benchmarks/corpora.py big --recordings 15 --out /tmp/corpora

A recording is a mix of two of the corpus's pieces, whose lengths have no common measure, each from a place and with a
loudness of the recording's own; so no two recordings are equal and none repeats itself. Its peak is at -12 dBFS.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
from sounds import Sound, piece

PEAK = 10 ** (-12 / 20)
SEED = 20_240_611
PIECES_S = (6.1, 6.7, 7.3, 7.9, 8.9, 9.7)
PER_FOLDER = 1000


@dataclass(frozen=True)
class Corpus:
    """A kind of recordings, and how many make the full size."""

    name: str
    kind: str
    rate: int
    channels: int
    bits: int
    seconds: float
    recordings: int
    suffix: str = ".wav"

    @property
    def frames(self) -> int:
        """Of every recording."""
        return int(self.rate * self.seconds)

    @property
    def decoded_bytes(self) -> int:
        """Of the samples of one recording."""
        return self.frames * self.channels * self.bits // 8

    @property
    def chunks(self) -> int:
        """Of 2048 bytes with 8-bit codes, that one recording gives."""
        return self.frames * self.channels // 2048

    def part(self, share: float) -> int:
        """How many recordings a share of the full size is, at least one."""
        return max(1, round(self.recordings * share))


CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus("big", "music", 44_100, 2, 16, 60, 150),
        Corpus("small", "speech", 16_000, 1, 16, 0.5, 20_000),
        Corpus("hires", "music", 48_000, 2, 24, 60, 60),
        Corpus("flac", "music", 44_100, 2, 16, 60, 36, ".flac"),
    )
}


def _rng(corpus: Corpus, *path: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([SEED, *corpus.name.encode(), *path]))


def pieces(corpus: Corpus) -> list[Sound]:
    """What the corpus's recordings are mixed from."""
    return [
        piece(_rng(corpus, 0, i), kind=corpus.kind, seconds=seconds, channels=corpus.channels, rate=corpus.rate)
        for i, seconds in enumerate(PIECES_S)
    ]


def _repeated(sound: Sound, *, start: int, frames: int) -> Iterator[tuple[int, Sound]]:
    """Parts of a sound without end, with the frames where they belong."""
    at = 0
    while at < frames:
        part = sound[start:][: frames - at]
        yield at, part
        at, start = at + len(part), 0


def recording(corpus: Corpus, sounds: list[Sound], number: int) -> npt.NDArray[np.signedinteger]:
    """Samples of one recording: (frames, channels), int16, or int32 with 24 bits at the top."""
    rng = _rng(corpus, 1, number)
    mix = np.zeros((corpus.frames, corpus.channels), np.float32)
    for chosen in rng.choice(len(sounds), 2, replace=False):
        sound, loudness = sounds[chosen], np.float32(rng.uniform(0.4, 1))
        for at, part in _repeated(sound, start=int(rng.integers(len(sound))), frames=corpus.frames):
            mix[at : at + len(part)] += part * loudness
    peak = round(PEAK * 2 ** (corpus.bits - 1))
    mix *= np.float32(peak) / max(-mix.min(), mix.max())
    np.rint(mix, out=mix)
    np.clip(mix, -peak, peak, out=mix)
    return mix.astype(np.int16) if corpus.bits == 16 else mix.astype(np.int32) << 8


def make(corpus: Corpus, folder: Path, *, recordings: int) -> Path:
    """A folder of that many recordings below `folder`; one that is there already is used.

    The first recordings of a larger folder of the same corpus are linked, as they would be the same.
    """
    target = folder / f"{corpus.name}-{recordings}"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    larger = (other for other in sorted(folder.glob(f"{corpus.name}-*")) if int(other.name.split("-")[1]) > recordings)
    source = next(larger, None)
    # Renamed when it is whole: a folder is there or it is not.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as temporary:
        sounds = [] if source else pieces(corpus)
        for number in range(recordings):
            name = f"{number // PER_FOLDER:03}/{number:06}{corpus.suffix}"
            path = Path(temporary, "whole", name)
            if number % PER_FOLDER == 0:
                path.parent.mkdir(parents=True)
            if source:
                os.link(source / name, path)
            else:
                sf.write(path, recording(corpus, sounds, number), corpus.rate, subtype=f"PCM_{corpus.bits}")
        Path(temporary, "whole").rename(target)
    return target


def paths(folder: Path) -> list[Path]:
    """The recordings of a folder in path order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Make one corpus and say where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--recordings", type=int, help="how many; the full size unless given")
    parser.add_argument("--out", type=Path, required=True, help="folder to make the corpus's folder in")
    parser.add_argument("--anew", action="store_true", help="do not use one that is there")
    options = parser.parse_args()
    corpus = CORPORA[options.corpus]
    recordings = options.recordings or corpus.recordings
    if options.anew:
        shutil.rmtree(options.out / f"{corpus.name}-{recordings}", ignore_errors=True)
    print(make(corpus, options.out, recordings=recordings))


if __name__ == "__main__":
    main()
