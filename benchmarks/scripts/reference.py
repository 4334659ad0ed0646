"""What papers do: the loop of DeepMind's "Language Modeling Is Compression" over whole recordings, written to files.

    python reference.py SOURCE OUT
    python reference.py --which

A recording is read, made 8-bit with audioop, split with np.array_split into patches of 2048 bytes, of which the last
is left out if it is short. Stereo is first laid out in blocks of 1024 samples of a channel. Patches are appended to one
file for every 32 MiB. Where Python has no audioop any more, numpy does the same; --which says who does.
"""

import json
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
except ImportError:
    audioop = None

CHUNK = 2048
SHARD = 32 * 2**20


def eight_bit(samples: np.ndarray) -> bytes:
    """The high byte of each sample, unsigned."""
    width = samples.dtype.itemsize
    if audioop is None:
        return ((samples >> (8 * width - 8)) + 128).astype(np.uint8).tobytes()
    return audioop.bias(audioop.lin2lin(samples.tobytes(), width, 1), 1, 128)


def patches(recording: Path) -> Iterator[bytes]:
    """The chunks of one recording."""
    wide = sf.info(recording).subtype == "PCM_24"
    samples, _ = sf.read(recording, dtype="int32" if wide else "int16", always_2d=True)
    channels = samples.shape[1]
    block = CHUNK // channels
    whole = samples[: len(samples) // block * block].reshape(-1, block, channels)
    codes = eight_bit(np.ascontiguousarray(whole.transpose(0, 2, 1)))
    if not codes:
        return
    split = np.array_split(np.frombuffer(codes, np.uint8), range(CHUNK, len(codes), CHUNK))
    if len(split[-1]) != CHUNK:
        split.pop()
    yield from (patch.tobytes() for patch in split)


def main(source: Path, out: Path) -> None:
    """Write the chunks of all recordings in path order."""
    out.mkdir()
    number, room, file = 0, 0, None
    for recording in sorted(path for path in source.rglob("*") if path.is_file()):
        for patch in patches(recording):
            if room == 0:
                if file is not None:
                    file.close()
                file = open(out / f"{number:05}", "wb")  # noqa: SIM115
                number, room = number + 1, SHARD
            file.write(patch)
            room -= CHUNK
    if file is not None:
        file.close()


if __name__ == "__main__":
    if "--which" in sys.argv:
        print(json.dumps({"converter": "numpy" if audioop is None else "audioop"}))
    else:
        began = time.perf_counter()
        main(Path(sys.argv[1]), Path(sys.argv[2]))
        print(json.dumps({"seconds": time.perf_counter() - began}))
