"""Recordings that do not lie in files of this machine: the same samples, and no error that is taken for an end."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiochunk.errors import MachineError, RecordingError
from audiochunk.signal.audio import EXTENSIONS, Recording, open_regular, probe, probe_source
from audiochunk.signal.sndfile import SndfileReader, count_frames
from audiochunk.signal.source import ByteSource, Source, SourceFile, close, duplicate

FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("WAV", "GSM610"),
    ("FLAC", "PCM_16"),
    ("AIFF", "PCM_24"),
    ("CAF", "ALAC_16"),
    ("AU", "PCM_16"),
    ("W64", "PCM_16"),
]
FRAMES = 30_000


class Memory(ByteSource):
    """Bytes in memory, given in pieces; reading from `dead` on fails."""

    def __init__(self, data: bytes, *, piece: int = 700, dead: int | None = None) -> None:
        super().__init__(len(data))
        self._data, self._piece, self._dead = data, piece, dead
        self.asked = 0

    def read_into(self, view: memoryview, at: int) -> int:
        self.asked += 1
        if self._dead is not None and at + len(view) > self._dead:
            raise MachineError("the network is down")
        part = self._data[at : at + min(len(view), self._piece)]
        view[: len(part)] = part
        return len(part)

    def check(self) -> None:
        """Nothing changes it."""

    def close(self) -> None:
        self._dead = None


def recorded(container: str, subtype: str) -> bytes:
    channels = 1 if subtype == "GSM610" else 2
    noise = np.random.default_rng(3).normal(0, 0.2, (FRAMES, channels)).clip(-1, 1)
    out = io.BytesIO()
    sf.write(out, noise, 8000, subtype=subtype, format=container)
    return out.getvalue()


def heard(source: Source, name: bytes, *, again: Callable[[], Source]) -> tuple[Any, ...]:
    """All that is to be known of a recording, its samples from the middle first; or why it is refused."""
    try:
        info = probe_source(source, name)
        close(source)
        with Recording(again(), info, name) as recording:
            third = info.frames // 3
            later = recording.read(third, info.frames - third)
            first = recording.read(0, third)
    except RecordingError as error:
        return type(error), error.args
    parts = (later, first)
    marks = [None if mark is None else mark.tobytes() for part in parts for mark in (part.clipped, part.invalid)]
    return info, [(part.samples.dtype, part.samples.tobytes()) for part in parts], marks


def heard_both_ways(path: Path) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    data, name = path.read_bytes(), os.fsencode(path)
    return (
        heard(open_regular(path), name, again=lambda: open_regular(path)),
        heard(Memory(data), name, again=lambda: Memory(data, piece=100_000)),
    )


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_a_source_gives_what_the_file_gives(container: str, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{container}"
    path.write_bytes(recorded(container, subtype))
    from_file, from_source = heard_both_ways(path)
    assert from_source == from_file
    assert from_file[0].frames >= FRAMES


def test_real_recordings_are_the_same_from_a_source(recordings: Path) -> None:
    paths = [path for path in sorted(recordings.rglob("*")) if os.fsencode(path.suffix.lower()) in EXTENSIONS]
    different = [path.name for path in paths for file, source in [heard_both_ways(path)] if file != source]
    assert different == []
    assert len(paths) > 100


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_wherever_reading_fails_it_is_never_the_recordings_fault(container: str, subtype: str, tmp_path: Path) -> None:
    data = recorded(container, subtype)
    path = tmp_path / f"a.{container}"
    path.write_bytes(data)
    info = probe(path)
    for dead in sorted({0, 3, 11, 40, 100, 4096, *range(5000, len(data), len(data) // 7)}):
        source = Memory(data, dead=dead)
        with pytest.raises(MachineError, match="network"):  # noqa: PT012 - either may raise
            assert probe_source(source, b"a") == info
            with Recording(source, info, b"a") as recording:
                recording.read(0, info.frames)
                pytest.fail(f"read all with nothing from byte {dead} on")


def test_counting_frames_by_decoding_does_not_end_early() -> None:
    data = recorded("FLAC", "PCM_16")
    assert count_frames(Memory(data)) == FRAMES
    with pytest.raises(MachineError):
        count_frames(Memory(data, dead=len(data) // 2))


def test_seeking_does_not_hide_a_failure() -> None:
    data = recorded("FLAC", "PCM_16")
    source = Memory(data, dead=len(data) // 2)
    reader = SndfileReader(source, seekable=True)
    assert len(reader.read(0, 100)) == 100
    for _ in range(2):
        with pytest.raises(MachineError):
            reader.read(FRAMES - 500, 400)
        asked = source.asked
    reader.close()
    assert source.asked == asked  # what failed once is not asked again


def test_a_source_file_has_a_position() -> None:
    file = SourceFile(Memory(bytes(range(100)), piece=7))
    assert file.read(10) == bytes(range(10))
    assert (file.tell(), file.seek(-5, os.SEEK_END), file.read(20)) == (10, 95, bytes(range(95, 100)))
    assert (file.seek(50), file.seek(4, os.SEEK_CUR), file.read(1)) == (50, 54, bytes([54]))
    assert (file.seek(-9), file.seek(500), file.read(3)) == (0, 500, b"")


def test_pread_is_short_at_the_end_only() -> None:
    source = Memory(bytes(range(20)), piece=3)
    assert source.pread(8, 5) == bytes(range(5, 13))
    assert (source.pread(8, 15), source.pread(8, 20), source.pread(8, 90)) == (bytes(range(15, 20)), b"", b"")


def test_a_file_is_duplicated_and_a_source_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    fd = open_regular(tmp_path / "a")
    other = duplicate(fd)
    assert isinstance(other, int)
    assert other != fd
    close(fd)
    assert os.pread(other, 9, 0) == b"abc"
    close(other)
    source = Memory(b"")
    assert duplicate(source) is source
