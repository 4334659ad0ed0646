"""The least that any build has to do: read every byte of the recordings, write as many as the dataset has.

    python limit.py SOURCE OUT OUT_BYTES [--fsync]

One process, one buffer that stays in the processor's caches, nothing parsed and nothing converted; the bytes written
go to files as large as shards. With --fsync each of them is made durable, and so are their names.
"""

import json
import os
import sys
import time

# Of 256 KiB to 1 MiB to read and to write, what was quickest where this was written: all stays in the caches.
BUFFER = 2**19
WRITE = 2**18
SHARD = 32 * 2**20


def walk(folder: str) -> list[tuple[str, int]]:
    """Path and size of each file below a folder."""
    found = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                found += walk(entry.path)
            else:
                found.append((entry.path, entry.stat().st_size))
    return found


class Shards:
    """A row of files to write into."""

    def __init__(self, out: str, *, fsync: bool) -> None:
        self.out, self.fsync = out, fsync
        self.file, self.room, self.number = -1, 0, 0

    def write(self, data: memoryview) -> None:
        while data:
            if self.room == 0:
                self.close()
                self.file = os.open(f"{self.out}/{self.number:05}", os.O_WRONLY | os.O_CREAT, 0o644)
                self.room, self.number = SHARD, self.number + 1
            n = os.write(self.file, data[: self.room])
            data, self.room = data[n:], self.room - n

    def close(self) -> None:
        if self.file >= 0:
            if self.fsync:
                os.fsync(self.file)
            os.close(self.file)
            self.file = -1


def main(source: str, out: str, out_bytes: int, fsync: bool) -> None:
    """Read all, write `out_bytes` bytes evenly along the way."""
    os.mkdir(out)
    folder = os.open(out, os.O_RDONLY)
    out = os.path.abspath(out)
    os.chdir(source)
    files = walk(".")
    in_bytes = sum(size for _, size in files)
    buffer = memoryview(bytearray(BUFFER))
    shards = Shards(out, fsync=fsync)
    read = written = 0
    for path, size in files:
        file = os.open(path, os.O_RDONLY)
        while size > 0:
            n = os.readv(file, [buffer])
            size, read = size - n, read + n
            while read * out_bytes // in_bytes - written >= WRITE:
                shards.write(buffer[:WRITE])
                written += WRITE
        os.close(file)
    shards.write(buffer[: out_bytes - written])
    shards.close()
    if fsync:
        os.fsync(folder)


if __name__ == "__main__":
    began = time.perf_counter()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "--fsync" in sys.argv)
    print(json.dumps({"seconds": time.perf_counter() - began}))
