"""What a researcher writes on a quiet afternoon: soundfile, numpy, and one np.memmap for all chunks.

python memmap.py SOURCE OUT
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import soundfile as sf

CHUNK = 2048


def main(source: Path, out: Path) -> None:
    """Two passes: count, then convert."""
    recordings = sorted(path for path in source.rglob("*") if path.is_file())
    infos = [sf.info(path) for path in recordings]
    counts = [info.frames * info.channels // CHUNK for info in infos]
    chunks = np.memmap(out, np.uint8, "w+", shape=(sum(counts), CHUNK))
    at = 0
    for path, info, count in zip(recordings, infos, counts, strict=True):
        wide = info.subtype == "PCM_24"
        samples, _ = sf.read(path, dtype="int32" if wide else "int16", always_2d=True)
        codes = ((samples >> (24 if wide else 8)) + 128).astype(np.uint8)
        block = CHUNK // info.channels
        chunks[at : at + count] = codes[: count * block].reshape(count, block, -1).transpose(0, 2, 1).reshape(count, -1)
        at += count


if __name__ == "__main__":
    began = time.perf_counter()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"seconds": time.perf_counter() - began}))
