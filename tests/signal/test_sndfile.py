"""What libsndfile decodes, range by range."""

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiochunk.signal import sndfile
from audiochunk.signal.sndfile import SUBTYPES, SndfileReader, count_frames, is_truncated, knows_its_length, open_source

FRAMES = 40_000  # more than two of the steps in which frames are thrown away
CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "CAF", "AU")


def chirps(frames: int, channels: int) -> npt.NDArray[np.float64]:
    """A rising tone in each channel, from 200 Hz at 8 kHz, with a little noise."""
    t = np.arange(frames)[:, None] / 8000
    tones = 0.5 * np.sin(2 * np.pi * t * (200 + 90 * np.arange(channels)) * (1 + t / 4))
    return tones + np.random.default_rng(8).normal(0, 0.01, (frames, channels))


Write = Callable[[str, str], int]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Write]:
    """A file descriptor of a stereo file (mono for the codecs that know no other) of a format and a subtype."""
    folder = tmp_path_factory.mktemp("written")
    fds: dict[tuple[str, str], int] = {}

    def write(container: str, subtype: str) -> int:
        if (container, subtype) not in fds:
            path = folder / f"{container}.{subtype}"
            channels = 1 if subtype in ("GSM610", "G721_32") else 2
            sf.write(path, chirps(FRAMES, channels), 8000, subtype=subtype, format=container)
            fds[container, subtype] = os.open(path, os.O_RDONLY)
        return fds[container, subtype]

    yield write
    for fd in fds.values():
        os.close(fd)


def whole(fd: int, dtype: str) -> npt.NDArray[np.generic]:
    """All frames, read at once."""
    os.lseek(fd, 0, os.SEEK_SET)
    with sf.SoundFile(fd, closefd=False) as file:
        return file.read(FRAMES + 1000, dtype=dtype, always_2d=True)


READ = [
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("CAF", "ALAC_16"),
    ("CAF", "ALAC_24"),
    ("AIFF", "PCM_24"),
    ("AU", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("AU", "G721_32"),
    ("W64", "DOUBLE"),
]


@pytest.mark.parametrize("file", READ, ids="-".join)
@pytest.mark.parametrize("from_the_start", [True, False])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_ranges_in_any_order_are_those_of_the_whole(
    written: Write, file: tuple[str, str], from_the_start: bool, data: st.DataObject
) -> None:
    fd = written(*file)
    subtype = SUBTYPES[file[1]]
    expected = whole(fd, subtype.dtype)
    reader = SndfileReader(fd, seekable=subtype.seekable and not from_the_start)
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(expected)))
        frames = data.draw(st.integers(0, min(3000, len(expected) - start)))
        read = reader.read(start, frames)
        assert read.dtype == subtype.dtype
        assert np.array_equal(read, expected[start : start + frames])
    reader.close()


@pytest.mark.parametrize("seekable", [True, False])
def test_ranges_that_follow_each_other_are_the_whole(written: Write, seekable: bool) -> None:
    fd = written("FLAC", "PCM_16")
    reader = SndfileReader(fd, seekable=seekable)
    pieces = [reader.read(start, min(7001, FRAMES - start)) for start in range(0, FRAMES, 7001)]
    reader.close()
    assert np.array_equal(np.concatenate(pieces), whole(fd, "int16"))


def test_a_reader_that_cannot_seek_does_not(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = written("WAV", "GSM610")
    expected = whole(fd, "int16")
    monkeypatch.setattr(sf.SoundFile, "seek", None)
    reader = SndfileReader(fd, seekable=False)
    for start in (35_000, 36_000, 0, 17_000, 16_999):
        assert np.array_equal(reader.read(start, 100), expected[start : start + 100])
    reader.close()


@pytest.mark.parametrize("seekable", [True, False])
def test_fewer_frames_come_at_the_end(written: Write, seekable: bool) -> None:
    reader = SndfileReader(written("FLAC", "PCM_16"), seekable=seekable)
    assert len(reader.read(FRAMES - 10, 11)) == 10
    assert len(reader.read(FRAMES, 5)) == 0
    assert len(reader.read(FRAMES - 10, 10)) == 10
    reader.close()


def test_mono_has_two_dimensions(written: Write) -> None:
    reader = SndfileReader(written("WAV", "GSM610"), seekable=False)
    assert reader.read(3, 4).shape == (4, 1)
    reader.close()


def test_the_file_stays_open_and_is_read_from_its_first_byte(written: Write) -> None:
    fd = written("FLAC", "PCM_16")
    os.lseek(fd, 1000, os.SEEK_SET)
    SndfileReader(fd, seekable=True).close()
    with open_source(fd) as file:
        assert file.frames == FRAMES
    assert os.fstat(fd).st_size > 0


def test_the_reader_says_that_it_cannot_seek_and_does_not(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = written("FLAC", "PCM_16")
    expected = whole(fd, "int16")[:3000]
    with open_source(fd) as file:
        assert not file.seekable()
        assert sf.SoundFile.seekable(file)
        monkeypatch.setattr(sf.SoundFile, "seek", None)
        pieces = [file.read(1000, dtype="int16") for _ in range(3)]
    assert np.array_equal(np.concatenate(pieces), expected)


@pytest.mark.parametrize(
    ("container", "subtype", "knows"),
    [
        ("FLAC", "PCM_16", True),
        ("W64", "PCM_16", True),
        ("AIFF", "PCM_24", True),
        ("CAF", "ALAC_16", True),
        ("WAV", "IMA_ADPCM", True),
        ("WAV", "GSM610", False),
        ("AU", "G721_32", False),
    ],
)
def test_streams_know_their_length_or_not(written: Write, container: str, subtype: str, knows: bool) -> None:
    with open_source(written(container, subtype)) as file:
        assert knows_its_length(file) == knows


def bytes_of(container: str, *, frames: int = 1000) -> bytes:
    file = io.BytesIO()
    sf.write(file, (chirps(frames, 1) * 20_000).astype(np.int16), 8000, subtype="PCM_16", format=container)
    return file.getvalue()


@pytest.fixture
def told_of(tmp_path: Path) -> Callable[[bytes], bool]:
    """Whether bytes are said to be truncated."""

    def tell(content: bytes) -> bool:
        path = tmp_path / "a"
        path.write_bytes(content)
        with path.open("rb") as raw, open_source(raw.fileno()) as file:
            return is_truncated(file)

    return tell


@pytest.mark.parametrize("container", ["W64", "AIFF", "AU"])
@pytest.mark.parametrize("missing", [1, 2, 999, 1999, 2000])
def test_what_ends_early_is_truncated(told_of: Callable[[bytes], bool], container: str, missing: int) -> None:
    assert told_of(bytes_of(container)[:-missing])


@pytest.mark.parametrize("container", ["W64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("frames", [0, 1, 2, 999, 1000])
def test_what_is_whole_is_not_truncated(told_of: Callable[[bytes], bool], container: str, frames: int) -> None:
    assert not told_of(bytes_of(container, frames=frames))


@pytest.mark.parametrize("container", ["W64", "AIFF", "AU", "CAF", "FLAC"])
@pytest.mark.parametrize("junk", [b"garbage", b"\1\2" * 32, bytes(1000)])
def test_what_has_more_than_it_promises_is_not_truncated(
    told_of: Callable[[bytes], bool], container: str, junk: bytes
) -> None:
    assert not told_of(bytes_of(container) + junk)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_the_size_of_the_whole_does_not_make_aiff_truncated(told_of: Callable[[bytes], bool], size: int) -> None:
    content = bytes_of("AIFF")
    assert not told_of(content[:4] + size.to_bytes(4, "big") + content[8:])


def test_what_is_no_audio_is_an_error_of_libsndfile(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(bytes(1000))
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(sf.LibsndfileError):
        open_source(fd)
    os.close(fd)


def test_frames_are_counted_by_decoding_them(written: Write) -> None:
    assert count_frames(written("FLAC", "PCM_24")) == FRAMES


@pytest.mark.parametrize("steps", [1, 2])
def test_frames_are_counted_at_the_edges_of_a_step(tmp_path: Path, steps: int) -> None:
    for extra in (-1, 0, 1):
        frames = steps * sndfile._DISCARD_FRAMES + extra
        sf.write(tmp_path / "a.flac", np.zeros(frames, np.int16), 8000)
        fd = os.open(tmp_path / "a.flac", os.O_RDONLY)
        assert count_frames(fd) == frames
        os.close(fd)


def test_every_subtype_that_libsndfile_has_is_known() -> None:
    subtypes = {subtype for container in CONTAINERS for subtype in sf.available_subtypes(container)}
    # These python-soundfile opens and fails to read, or libsndfile decodes wrongly.
    refused = {"DWVW_12", "DWVW_16", "DWVW_24", "DWVW_N", "ALAC_20", "ALAC_32"}
    assert subtypes - refused <= set(SUBTYPES)
    assert not refused & set(SUBTYPES)


@pytest.mark.parametrize(
    ("subtype", "dtype"),
    [
        ("PCM_S8", "int16"),
        ("PCM_16", "int16"),
        ("PCM_24", "int32"),
        ("ALAC_24", "int32"),
        ("ULAW", "int16"),
        ("FLOAT", "float64"),
    ],
)
def test_subtypes_are_read_into_what_holds_them(subtype: str, dtype: str) -> None:
    assert SUBTYPES[subtype] == (dtype, True, False)


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_16", "VORBIS", "MPEG_LAYER_III"])
def test_decoders_with_a_memory_run_from_the_start(subtype: str) -> None:
    assert not SUBTYPES[subtype].seekable
    assert SUBTYPES[subtype].lossy


def test_threads_are_told_their_own_reasons(tmp_path: Path) -> None:
    heads = {"flac": b"fLaC", "aiff": b"FORM\0\0\0\x10AIFF", "text": b"nothing at all, no audio here"}
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head + bytes(30))

    def why(name: str) -> str:
        with (tmp_path / name).open("rb") as file, pytest.raises(sf.LibsndfileError) as raised:
            open_source(file.fileno())
        return raised.value.error_string

    alone = {name: why(name) for name in heads}
    assert len(set(alone.values())) == len(heads)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(why, [*heads] * 100)) == [*alone.values()] * 100
