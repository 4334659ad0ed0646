from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.errors import ConfigError
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames, chunk_samples, rows_named
from audiochunk.reader.location import stream_of
from audiochunk.signal import audio
from audiochunk.signal.chunking import Stream
from audiochunk.signal.encode import decode as plain_decode
from audiochunk.signal.quantize import dequantize
from audiochunk.storage.recordings import RecordingRow


def row_of(path: str, **fields: Any) -> RecordingRow:
    empty = {"bytes": 0, "channel": None, "channels": 1, "chunks": 0, "clipped": 0, "dropped_frames": 0, "notes": ()}
    more = {"first_chunk": 0, "frames": 0, "sample_rate": 1, "split": "train", "subtype": "PCM_16"}
    return RecordingRow(path=path, **{**empty, **more, **fields})


@pytest.mark.parametrize("piece", [2**20, 500])
def test_a_recording_decodes_as_the_plain_reference_has_it(
    dataset: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pieces larger than a chunk, and smaller."""
    monkeypatch.setattr("audiochunk.reader.decode._PIECE_CODES", piece)
    ds = audiochunk.open(dataset)
    for row in ds.recordings:
        chunks = np.array(ds[row.first_chunk : row.first_chunk + row.chunks])
        expected = plain_decode(chunks, ds.encoding, frames=row.frames, channels=row.channels)
        decoded = ds.decode(row.path)
        assert decoded.sample_rate == row.sample_rate
        found = decoded.samples if row.channel is None else decoded.samples[:, row.channel : row.channel + 1]
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_range_of_frames_is_that_part_of_all(dataset: Path, data: st.DataObject) -> None:
    ds = audiochunk.open(dataset)
    row = data.draw(st.sampled_from([row for row in ds.recordings if row.chunks]))
    frames = Frames(ds, row)
    start = data.draw(st.integers(0, frames.frames))
    n = data.draw(st.integers(0, frames.frames - start))
    samples = dequantize(frames.read(start, n), bits=ds.encoding.bits, quantizer=ds.encoding.quantizer)
    whole = ds.decode(row.path).samples
    of_stream = whole if row.channel is None else whole[:, row.channel : row.channel + 1]
    assert samples.tolist() == of_stream[start : start + n].tolist()


def test_what_is_not_dropped_is_the_source(wavs: Path, dataset: Path) -> None:
    ds = audiochunk.open(dataset)
    encoding = ds.encoding
    for path in {row.path for row in ds.recordings}:
        source = audio.read(wavs / path)
        bits = 8 * source.itemsize
        if encoding.layout == "mono":
            source = np.floor(source.astype(np.int64).sum(axis=1, keepdims=True) / source.shape[1]).astype(source.dtype)
        decoded = ds.decode(path).samples
        wanted = source[: len(decoded)].astype(np.int64) << (32 - bits)
        error = wanted - (decoded.astype(np.int64) << (32 - 8 * decoded.itemsize))
        assert error.min(initial=0) >= 0
        assert error.max(initial=0) < 1 << (32 - encoding.bits)
        if sf.info(wavs / path).subtype == "PCM_16" and encoding.bits >= 16 and encoding.layout != "mono":
            assert not error.any()


def test_pieces_follow_each_other_and_are_small(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiochunk.reader.decode._PIECE_CODES", 1000)
    ds = audiochunk.open(dataset)
    for row in ds.recordings:
        frames = Frames(ds, row)
        pieces = list(frames.pieces())
        assert all(piece.size <= 1000 for piece in pieces)
        assert sum(map(len, pieces)) == frames.frames
        if pieces:
            assert np.concatenate(pieces).tolist() == frames.read(0, frames.frames).tolist()


def test_incomplete_frames_have_silence_where_a_channel_is_missing(dataset: Path) -> None:
    ds = audiochunk.open(dataset)
    silent = 1 << (ds.encoding.bits - 1)
    for row in ds.recordings:
        stream = stream_of(row, ds.encoding)
        for chunks in {0, 1, row.chunks // 2, row.chunks - 1, row.chunks} & set(range(row.chunks + 1)):
            frames = Frames(ds, row, chunks=chunks, incomplete=True)
            real = stream.real_codes(0, chunks)
            parts = [ds.codes(row.first_chunk + number) for number in range(chunks)]
            codes = np.concatenate(parts) if parts else np.zeros(0, int)
            places = [stream.position(code) for code in range(real)]
            n_frames = max((frame + 1 for frame, _ in places), default=0)
            expected = np.full((n_frames, stream.channels), silent)
            for (frame, channel), code in zip(places, codes, strict=True):
                expected[frame, channel] = code
            assert (frames.codes, frames.frames) == (real, n_frames)
            assert frames.read(0, n_frames).tolist() == expected.tolist()
            whole = Frames(ds, row, chunks=chunks)
            assert whole.frames == min(
                (sum(1 for _, channel in places if channel == c) for c in range(stream.channels)), default=0
            )


def test_a_view_decodes_recordings_of_the_whole_split(plain: Path) -> None:
    ds = audiochunk.open(plain)
    path = ds.recordings[-1].path
    assert ds[:0].decode(path).samples.tolist() == ds.decode(path).samples.tolist()
    assert len(ds[2:5].whole) == len(ds)


def test_a_recording_too_short_for_a_chunk_has_no_frames_but_its_channels(plain: Path) -> None:
    ds = next(
        ds for split in ("train", "val") for ds in [ChunkDataset(plain, split)] if "r4.wav" in map(str, paths(ds))
    )
    assert ds.decode("r4.wav").samples.shape == (0, 1)


def paths(ds: ChunkDataset) -> list[str]:
    return [row.path for row in ds.recordings]


def test_frames_beyond_the_last_are_refused(plain: Path) -> None:
    ds = audiochunk.open(plain)
    frames = Frames(ds, next(row for row in ds.recordings if row.chunks))
    for start, n in ((-1, 1), (0, frames.frames + 1), (frames.frames, 1), (3, -1)):
        with pytest.raises(IndexError, match="of"):
            frames.read(start, n)


def test_a_recording_of_another_split_is_named_as_missing(plain: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recording 'no\.wav' in split train"):
        audiochunk.open(plain).decode("no.wav")


def test_a_refused_recording_is_not_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "wavs"
    folder.mkdir()
    sf.write(folder / "a.wav", np.ones((4000, 1), np.int16), 8000)
    (folder / "b.wav").write_bytes(b"no audio")
    audiochunk.build(folder, tmp_path / "shards", on_error="skip", workers=1)
    with pytest.raises(ConfigError, match=r"b\.wav was refused: this is text"):
        audiochunk.open(tmp_path / "shards").decode("b.wav")


def test_rows_are_found_by_bytes_by_text_and_as_printed() -> None:
    odd = row_of("a\ufffd\n.wav", path_hex=b"a\xff\n.wav".hex())
    rows = [odd, row_of("b.wav", channel=0), row_of("b.wav", channel=1)]
    for name in (b"a\xff\n.wav", "a\ufffd\n.wav", "a\\xff\\n.wav"):
        assert rows_named(rows, name, where="here") == [odd]
    assert rows_named(rows, Path("b.wav"), where="here") == rows[1:]


def test_the_exact_name_comes_before_the_printed_one_and_two_printed_alike_are_refused() -> None:
    literal, odd = row_of("a\\n.wav"), row_of("a\n.wav")
    assert rows_named([odd, literal], "a\\n.wav", where="here") == [literal]
    twins = [row_of("a\ufffd", path_hex=b"a\xff".hex()), row_of("a\ufffd", path_hex=b"a\xfe".hex())]
    with pytest.raises(ConfigError, match="several"):
        rows_named(twins, "a\ufffd", where="here")


def test_a_chunk_that_is_not_aligned_gives_each_channel_what_it_has_of_it(wavs: Path, tmp_path: Path) -> None:
    audiochunk.build(wavs, tmp_path / "shards", block=300, tail="pad", bits=16, workers=1)
    ds = audiochunk.open(tmp_path / "shards")
    stereo = next(row for row in ds.recordings if row.channels == 2)
    source = audio.read(wavs / stereo.path) >> (0 if stereo.subtype == "PCM_16" else 16)
    stream = Stream.of(stereo.frames, 2, ds.encoding)
    for number in range(stereo.chunks):
        parts = chunk_samples(ds, stereo.first_chunk + number)
        assert isinstance(parts, list)
        codes = range(number * 1024, min((number + 1) * 1024, stream.n_codes))
        expected: list[list[int]] = [[], []]
        for code in codes:
            frame, channel = stream.position(code)
            expected[channel].append(int(source[frame, channel]))
        assert [part.tolist() for part in parts] == [part for part in expected if part]
