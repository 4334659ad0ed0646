"""Have one peer convert recordings, read chunks, or say what it wrote; always as one JSON object in the last line.

    python run.py MODULE version
    python run.py MODULE convert SOURCE OUT WORKERS      {"seconds": …}
    python run.py MODULE dump OUT FILE                   all chunks, one after the other
    python run.py MODULE read OUT BATCH CHUNKS MOST      {"ways": {way of reading: chunks a second}}

A module of this folder has convert(source, out, workers); chunks(out), an iterator of bytes; and readers(out, batch),
which names ways of reading: functions of shuffled chunk numbers (of which a reader that shuffles by itself heeds only
how many there are) that iterate over batches of chunks.
"""

import importlib
import json
import sys
import time
from importlib import metadata
from typing import Any

SEED = 1
DISTRIBUTIONS = {
    "arrayrecord": "array_record",
    "hf": "datasets",
    "lit": "litdata",
    "mds": "mosaicml-streaming",
    "wds": "webdataset",
}


def read(module: Any, out: str, batch: int, n_chunks: int, most: int) -> dict[str, Any]:
    """Chunks a second of each way of reading, over at most so many of all chunks, after a first pass over a few."""
    import numpy as np

    ways = {}
    numbers = np.random.default_rng(SEED).permutation(n_chunks)[: min(n_chunks, most)]
    for name, way in module.readers(out, batch).items():
        for _ in way(numbers[: 4 * batch]):
            pass
        began, seen = time.perf_counter(), 0
        for chunks in way(numbers):
            seen += len(chunks)
        ways[name] = seen / (time.perf_counter() - began)
    return {"ways": ways}


def main(name: str, action: str, *args: str) -> dict[str, Any]:
    """Do one action; returns what to say."""
    if action == "version":
        version = metadata.version(DISTRIBUTIONS[name])  # before the import: it knows best whether it is there
    module = importlib.import_module(name)
    if action == "version":
        return {"version": version}
    if action == "convert":
        began = time.perf_counter()
        module.convert(args[0], args[1], int(args[2]))
        return {"seconds": time.perf_counter() - began}
    if action == "read":
        return read(module, args[0], *(int(arg) for arg in args[1:]))
    if action == "dump":
        with open(args[1], "wb") as file:
            file.writelines(module.chunks(args[0]))
        return {}
    raise SystemExit(f"no such action: {action}")


if __name__ == "__main__":
    print("\n" + json.dumps(main(*sys.argv[1:])), flush=True)
