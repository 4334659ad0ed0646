"""The least that a build from compressed recordings has to do: let libsndfile decode them into a buffer used anew.

    python decode.py SOURCE PROCESSES

Every process takes each PROCESSES-th recording.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import soundfile as sf

FRAMES = 2**16


def decode(recordings: list[Path]) -> None:
    """Decode all, keep nothing."""
    for path in recordings:
        with sf.SoundFile(path) as file:
            wide = file.subtype == "PCM_24"
            buffer = np.empty((FRAMES, file.channels), np.int32 if wide else np.int16)
            while len(file.read(out=buffer)) == FRAMES:
                pass


def main(source: Path, processes: int) -> None:
    """Decode with so many processes, this one included."""
    recordings = sorted(path for path in source.rglob("*") if path.is_file())
    children = []
    for number in range(1, processes):
        child = os.fork()
        if child == 0:
            decode(recordings[number::processes])
            os._exit(0)
        children.append(child)
    decode(recordings[::processes])
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit("a process failed")


if __name__ == "__main__":
    began = time.perf_counter()
    main(Path(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps({"seconds": time.perf_counter() - began}))
