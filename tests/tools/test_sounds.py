from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.tools.sounds import ChunkSound, ExcerptSound, batches, choose, code_arrays, cut

OPTIONS: dict[str, dict[str, Any]] = {
    "8-bit": {},
    "16-bit": {"bits": 16},
    "16-bit big, padded": {"bits": 16, "byte_order": "big", "tail": "pad"},
    "24-bit padded": {"bits": 24, "chunk_bytes": 1536, "tail": "pad"},
    "12-bit mono": {"bits": 12, "layout": "mono", "tail": "pad"},
    "split": {"layout": "split", "tail": "pad"},
    "mu-law": {"quantizer": "mulaw"},
    "not aligned": {"block": 300, "tail": "pad"},
    "one block": {"block": 10**9},
}


@pytest.fixture(scope="module", params=OPTIONS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sounds")
    (base / "wavs").mkdir()
    rng = np.random.default_rng(8)
    for number, (frames, channels) in enumerate([(9000, 1), (5003, 2), (3001, 3), (10, 1), (4096, 2)]):
        noise = rng.integers(-(2**31), 2**31, (frames, channels)).astype(np.int32)
        sf.write(base / "wavs" / f"{number}.wav", noise, 8000 + number, subtype="PCM_24")
    audiochunk.build(
        base / "wavs",
        base / "shards",
        split="train=0.6,val=0.4",
        shard_size=5 * 1536,
        workers=1,
        **OPTIONS[request.param],
    )
    return base / "shards"


def datasets(folder: Path) -> list[ChunkDataset]:
    return [ChunkDataset(folder, split) for split in ("train", "val")]


def frames_of(sound: ChunkSound | ExcerptSound) -> "np.ndarray[Any, np.dtype[np.int32]]":
    return np.concatenate([np.zeros((0, sound.channels), np.int32), *sound.frames()])


def test_a_sound_has_as_many_bytes_and_frames_as_it_says(folder: Path) -> None:
    for ds in datasets(folder):
        for excerpt in choose([ds]):
            alone = [ChunkSound(ds, excerpt.row, number) for number in range(excerpt.chunks)]
            for sound in [ExcerptSound(ds, excerpt), *alone]:
                assert sum(map(len, sound.octets())) == sound.n_bytes
                frames = frames_of(sound)
                assert frames.shape == (sound.n_frames, sound.channels)
                assert -(2 ** (sound.bits - 1)) <= frames.min()
                assert frames.max() < 2 ** (sound.bits - 1)
                assert (sound.bits, sound.sample_rate) == (ds.encoding.bits, excerpt.row.sample_rate)


def test_the_bytes_of_an_excerpt_are_those_of_its_chunks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiochunk.tools.sounds._PIECE_BYTES", 3 * 2048)
    for ds in datasets(folder):
        for excerpt in choose([ds]):
            alone = [ChunkSound(ds, excerpt.row, number) for number in range(excerpt.chunks)]
            expected = b"".join(ds[i].tobytes() for i in excerpt.numbers)
            assert b"".join(ExcerptSound(ds, excerpt).octets()) == expected
            assert b"".join(octets for sound in alone for octets in sound.octets()) == expected


def test_frames_are_those_of_the_recording_then_silence(folder: Path) -> None:
    for ds in datasets(folder):
        if ds.encoding.quantizer == "mulaw":
            continue
        for excerpt in choose([ds]):
            sound = ExcerptSound(ds, excerpt)
            decoded = ds.decode(excerpt.row.path).samples
            if excerpt.row.channel is not None:
                decoded = decoded[:, excerpt.row.channel : excerpt.row.channel + 1]
            found = frames_of(sound)
            width = 8 * decoded.dtype.itemsize
            assert np.array_equal(found[: len(decoded)], decoded.astype(np.int32) >> (width - sound.bits))
            if ds.encoding.tail == "pad":
                assert not found[len(decoded) :].any()


def test_aligned_chunks_follow_each_other_as_frames(folder: Path) -> None:
    for ds in datasets(folder):
        for excerpt in choose([ds]):
            alone = [ChunkSound(ds, excerpt.row, number) for number in range(excerpt.chunks)]
            whole = ExcerptSound(ds, excerpt)
            if alone[0].channels == whole.channels:
                together = np.concatenate([frames_of(sound) for sound in alone])
                n = min(len(together), whole.n_frames)  # padding that ends within a frame is rounded up
                assert np.array_equal(together[:n], frames_of(whole)[:n])


def test_a_chunk_that_is_not_aligned_is_one_channel_of_its_codes(folder: Path) -> None:
    for ds in datasets(folder):
        for excerpt in choose([ds]):
            sound = ChunkSound(ds, excerpt.row, 0)
            if not ds.encoding.is_aligned(excerpt.row.channels):
                codes = ds.codes(excerpt.row.first_chunk).astype(np.int64) - 2 ** (sound.bits - 1)
                assert sound.channels == 1
                assert frames_of(sound)[: len(codes), 0].tolist() == codes.tolist()


def test_code_arrays_leave_padding_out(folder: Path) -> None:
    for ds in datasets(folder):
        for excerpt in choose([ds]):
            for part in cut([excerpt], 2):
                expected = [code for i in part.numbers for code in ds.codes(i).tolist()]
                assert [code for codes in code_arrays(ds, part) for code in codes.reshape(-1).tolist()] == expected


def test_all_chunks_are_chosen_in_order(folder: Path) -> None:
    for ds in datasets(folder):
        assert [i for excerpt in choose([ds]) for i in excerpt.numbers] == list(range(len(ds)))


def test_excerpts_are_a_sequence(folder: Path) -> None:
    (ds, *_) = datasets(folder)
    excerpts = choose([ds])
    assert list(excerpts) == [excerpts[i] for i in range(len(excerpts))]
    assert excerpts[1:] == list(excerpts)[1:]
    assert excerpts[-1] == list(excerpts)[-1]
    assert excerpts.chunks.tolist() == [excerpt.chunks for excerpt in excerpts]


def test_at_most_so_many_are_chosen_of_streams_in_a_seeded_order(folder: Path) -> None:
    both = datasets(folder)
    total = sum(map(len, both))
    seen = set()
    for seed in range(20):
        for n in (1, 3, total - 1):
            chosen = choose(both, max_chunks=n, seed=seed)
            assert sum(excerpt.chunks for excerpt in chosen) == n
            assert all(excerpt.first == 0 for excerpt in chosen)
            # Of all but one of the streams, all chunks.
            assert sum(excerpt.chunks < excerpt.row.chunks for excerpt in chosen) <= 1
            assert list(chosen) == list(choose(both, max_chunks=n, seed=seed))
        seen.add(choose(both, max_chunks=1, seed=seed)[0].row.path)
    assert len(seen) > 1
    assert list(choose(both, max_chunks=total)) == list(choose(both, max_chunks=10**9)) == list(choose(both))


def test_only_the_first_chunks_of_a_split_are_chosen(folder: Path) -> None:
    ds = datasets(folder)[0]
    for first in (0, 1, 2, len(ds) - 1, len(ds)):
        assert [i for excerpt in choose([ds], first=first) for i in excerpt.numbers] == list(range(first))


def test_batches_and_cuts_keep_every_chunk(folder: Path) -> None:
    ds = datasets(folder)[0]
    excerpts = choose([ds])
    for most in (1, 2, 5, 1000):
        pieces = list(cut(excerpts, most))
        assert max(piece.chunks for piece in pieces) <= most
        assert [i for piece in pieces for i in piece.numbers] == list(range(len(ds)))
        grouped = list(batches(excerpts, most))
        assert [excerpt for batch in grouped for excerpt in batch] == list(excerpts)
        assert all(sum(excerpt.chunks for excerpt in batch) >= most for batch in grouped[:-1])
