"""What libsndfile decodes, range by range."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiochunk.signal import sndfile
from audiochunk.signal.sndfile import SUBTYPES, SndfileReader, count_frames, open_fd

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
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    with open_fd(fd) as file:
        assert file.frames == FRAMES
    assert os.fstat(fd).st_size > 0


def test_what_is_no_audio_is_an_error_of_libsndfile(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(bytes(1000))
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(sf.LibsndfileError):
        open_fd(fd)
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
