"""Chunks of a recording, made quickly with soundfile and numpy, for all peers alike."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

CHUNK = 2048


def recordings(source: str) -> list[str]:
    """All recordings of a folder in path order."""
    return sorted(str(path) for path in Path(source).rglob("*") if path.is_file())


def chunks_of(path: str) -> npt.NDArray[np.uint8]:
    """(chunks, 2048): the high byte of each sample, unsigned, one block of every channel in a chunk."""
    with sf.SoundFile(path) as file:
        samples = file.read(dtype="int32" if file.subtype == "PCM_24" else "int16", always_2d=True)
    frames, channels = samples.shape
    n, block = frames * channels // CHUNK, CHUNK // channels
    high = samples.view(np.uint8).reshape(frames, channels, -1)[: n * block, :, -1]
    out = np.ascontiguousarray(high.reshape(n, block, channels).transpose(0, 2, 1)).reshape(n, CHUNK)
    out ^= 0x80
    return out
