"""Make the golden files of format version 1: tiny recordings, datasets of them, and what every chunk must be.

    PYTHONPATH=. python tests/golden/make_v1.py

Golden files of a released version never change: they stand for the datasets that people have. A file that comes out
different shows a bug, or a new format version, which gets a folder and a script of its own. `--force` is for the time
before a release.

All recordings are synthesised here, from integers only, and need no audio library.
"""

import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

import audiochunk

V1 = Path(__file__).resolve().parent / "v1"

#: Options of each dataset, as `audiochunk.build` takes them; `split_file` lies beside the recordings' folder.
DATASETS: dict[str, dict[str, Any]] = {
    "u8-blocks": {"chunk_bytes": 64, "shard_size": 640},
    "u8-blocks-zstd": {"chunk_bytes": 64, "shard_size": 640, "compress": "zstd", "chunks_per_frame": 3},
    "u8-mulaw-shares": {"chunk_bytes": 64, "quantizer": "mulaw", "split": "train=0.6,val=0.4", "split_seed": 5},
    "u8-split-zstd": {
        "chunk_bytes": 64,
        "layout": "split",
        "tail": "pad",
        "shard_size": 1000,
        "compress": "zstd:9",
        "chunks_per_frame": 4,
    },
    "u8-12bit-big": {"bits": 12, "quantizer": "mulaw", "byte_order": "big", "chunk_bytes": 64, "shard_size": 2000},
    "u8-16bit-big-mono": {"bits": 16, "byte_order": "big", "chunk_bytes": 64, "layout": "mono", "tail": "pad"},
    "u8-24bit-little": {"bits": 24, "chunk_bytes": 60, "shard_size": 3000, "exclude": ["nan.wav"]},
    "u8-24bit-big": {"bits": 24, "byte_order": "big", "chunk_bytes": 60, "block": 7, "tail": "pad"},
    "u16-12bit-folders": {
        "bits": 12,
        "block": 5,
        "chunk_bytes": 64,
        "tail": "pad",
        "split": "folders",
        "include": ["*/*"],
    },
    "u16-pad": {"bits": 16, "chunk_bytes": 64, "tail": "pad", "shard_size": 2000, "split_file": "splits.tsv"},
    "u16-split-shares": {
        "bits": 16,
        "chunk_bytes": 64,
        "layout": "split",
        "split": "val=1,train=3",
        "group_by": "folder:1",
        "split_seed": 1,
        "shard_size": 2000,
    },
    "u16-mulaw-mono": {"bits": 16, "quantizer": "mulaw", "chunk_bytes": 64, "layout": "mono", "shard_size": 1000},
    "u8-generations": {
        "chunk_bytes": 64,
        "tail": "pad",
        "split": "train=0.6,val=0.4",
        "split_seed": 5,
        "shard_size": 256,
    },
}

#: Recordings that were added when the dataset was there.
LATER: dict[str, list[str]] = {
    "u8-generations": ["music/three-16.wav", "speech-32.wav", "speech/käfer-8.wav", "x.wav"],
}

SPLITS = """\
# "test" is named and gets only what cannot be used.
.\ttrain
music/three-16.wav\tval
speech\tval
x.wav\ttest
"""


def values(bits: int, n: int, seed: int) -> Iterator[int]:
    """Signed integers: full scale, the values around zero, then a triangle with noise on it."""
    top = 1 << bits - 1
    fixed = [-top, top - 1, 0, -1, 1]
    yield from fixed[:n]
    state = seed
    for i in range(n - len(fixed)):
        state = (state * 1103515245 + 12345) % 2**31
        triangle = abs((i * 37 + seed) % 200 - 100) - 50
        noise = (state >> 8) % 256 - 128
        yield triangle * top // 64 + noise * top // 1024


def wav(rate: int, channels: int, body: bytes, *, width: int, tag: int = 1) -> bytes:
    """A WAV file with the plainest header: 44 bytes."""
    stride = channels * width
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate, rate * stride, stride, 8 * width)
    data = b"data" + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(fmt) + len(data)) + b"WAVE" + fmt + data


def pcm(rate: int, channels: int, frames: int, *, width: int, seed: int) -> bytes:
    """A WAV file of integers; those of one byte are unsigned."""
    offset, signed = (128, False) if width == 1 else (0, True)
    body = b"".join(
        (value + offset).to_bytes(width, "little", signed=signed)
        for value in values(8 * width, channels * frames, seed)
    )
    return wav(rate, channels, body, width=width)


def floats(rate: int, channels: int, frames: int, *, seed: int, at: int, odd: float) -> bytes:
    """A WAV file of 32-bit floats, sample number `at` being `odd`."""
    numbers = [value / 2**23 for value in values(24, channels * frames, seed)]
    numbers[at] = odd
    return wav(rate, channels, struct.pack(f"<{len(numbers)}f", *numbers), width=4, tag=3)


def recordings() -> dict[str, bytes]:
    """Every file of the input folder by its path."""
    return {
        "music/nan.wav": floats(8000, 1, 150, seed=9, at=40, odd=float("nan")),
        "music/stereo-24.wav": pcm(44100, 2, 257, width=3, seed=2),
        "music/stereo-float.wav": floats(22050, 2, 200, seed=3, at=77, odd=1.25),
        "music/three-16.wav": pcm(48000, 3, 97, width=2, seed=4),
        "speech-32.wav": pcm(30, 1, 70, width=4, seed=5),  # before what lies in speech/: "-" is less than "/"
        "speech/käfer-8.wav": pcm(8000, 1, 131, width=1, seed=6),
        "speech/mono-16.wav": pcm(16000, 1, 300, width=2, seed=1),
        "speech/short.wav": pcm(4, 1, 5, width=2, seed=7),
        "x.wav": b"no audio at all\n",
    }


def build(wavs: Path, out: Path, *, later: list[str], workers: int = 1, **options: Any) -> audiochunk.Manifest:
    """Build a dataset, at first without recordings that are added later."""
    with tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch, "wavs")
        shutil.copytree(wavs, first)
        for path in later:
            (first / path).unlink()
        manifest = audiochunk.build(first, out, workers=workers, fsync=False, **options)
    if later:
        here = {"split_file": options["split_file"]} if "split_file" in options else {}
        manifest = audiochunk.build(wavs, out, workers=workers, fsync=False, append=True, **here)
    return manifest


def make(folder: Path) -> None:
    """Write all golden files into a folder that does not exist, or is empty."""
    wavs = folder / "wavs"
    for path, data in recordings().items():
        (wavs / path).parent.mkdir(parents=True, exist_ok=True)
        (wavs / path).write_bytes(data)
    (folder / "splits.tsv").write_bytes(SPLITS.encode())
    expected = {}
    for name, options in DATASETS.items():
        made = dict(options, on_error="skip")
        here = {"split_file": folder / options["split_file"]} if "split_file" in options else {}
        later = LATER.get(name, [])
        manifest = build(wavs, folder / name, later=later, **made | here)
        expected[name] = {
            "options": made,
            **({"later": later} if later else {}),
            "dataset_id": manifest.dataset_id,
            "chunks": {
                split: [xxhash.xxh3_64_hexdigest(chunk.tobytes()) for chunk in audiochunk.open(folder / name, split)]
                for split in manifest.splits
            },
        }
    text = json.dumps(expected, indent=1)
    (folder / "expected.json").write_bytes(text.encode() + b"\n")


def main(arguments: list[str]) -> int:
    """Make the golden files of version 1 where they belong."""
    if arguments not in ([], ["--force"]):
        print(__doc__)
        return 2
    if V1.exists() and any(V1.iterdir()) and not arguments:
        print(f"{V1} is not empty. Golden files of a released version never change; before a release, say --force")
        return 1
    shutil.rmtree(V1, ignore_errors=True)
    make(V1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
