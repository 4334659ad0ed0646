import pickle
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError, NoDatasetError
from audiochunk.pipeline import run
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.decode import Frames
from audiochunk.signal.quantize import dequantize, silence
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.facts import ALL, Facts, collect

from .known import build, speech

OPTIONS: dict[str, dict[str, Any]] = {
    "8-bit": {},
    "12-bit big": {"bits": 12, "byte_order": "big"},
    "16-bit": {"bits": 16},
    "24-bit": {"bits": 24},
    "24-bit big": {"bits": 24, "byte_order": "big"},
    "zstd": {"bits": 16, "compress": "zstd", "chunks_per_frame": 3},
    "mono pad": {"bits": 16, "layout": "mono", "tail": "pad"},
    "split pad": {"bits": 16, "layout": "split", "tail": "pad"},
    "split 8-bit": {"layout": "split"},
    "misaligned": {"bits": 16, "block": 300, "tail": "pad"},
    "huge block": {"block": 10**9},
    "mu-law": {"quantizer": "mulaw", "tail": "pad"},
    "16-bit mu-law": {"quantizer": "mulaw", "bits": 16},
}


def write(folder: Path) -> None:
    """Mono to three channels, 8 to 24 bits and float; loud, silent, shifted, doubled, too short, and no audio."""
    folder.mkdir()
    slow = np.convolve(speech(1, 9001), np.ones(20), "same")
    loud = np.clip(slow, -(2**15), 2**15 - 1).astype(np.int16)
    left = speech(2, 7001)
    files: dict[str, tuple[np.ndarray[Any, Any], str]] = {
        "a-loud.wav": (loud, "PCM_16"),
        "b-loud8.wav": (loud, "PCM_U8"),
        "c-stereo.wav": (np.stack([loud, speech(3, 9001)], 1), "PCM_16"),
        "d-same.wav": (np.stack([left, left], 1), "PCM_24"),
        "e-dead.wav": (np.stack([left, left * 0, left], 1), "PCM_16"),
        "f-silent.wav": (np.zeros((8000, 2), np.int16), "PCM_16"),
        "g-short.wav": (speech(4, 90), "PCM_16"),
        "h-wide.wav": (speech(5, 12_345).astype(np.int32) * 65_521, "PCM_24"),
        "i-float.wav": (speech(6, 5000) / np.float32(40_000) + np.float32(0.1), "FLOAT"),
        "j-again.wav": (loud, "PCM_16"),
        "k-law.wav": (speech(7, 9000), "ULAW"),
        "l-none.wav": (np.zeros(0, np.int16), "PCM_16"),
    }
    for name, (samples, subtype) in files.items():
        sf.write(folder / name, samples, 8000, subtype=subtype)
    (folder / "m-bad.wav").write_bytes(b"")


@pytest.fixture(scope="module", params=OPTIONS)
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facts")
    write(folder / "wavs")
    options = {"shard_size": 20_000, "chunk_bytes": 1536, "on_error": "skip", "split": "train=0.6,val=0.4"}
    config = BuildConfig.make(**{**options, **OPTIONS[request.param]})
    run.build(folder / "wavs", folder / "out", config, workers=1, fsync=False)
    return folder / "out"


def codes_of(ds: ChunkDataset, row: RecordingRow) -> np.ndarray[Any, Any]:
    chunks = range(row.first_chunk, row.first_chunk + row.chunks)
    return np.concatenate([np.zeros(0, np.int64), *(ds.codes(i).astype(np.int64) for i in chunks)])


def facts_and_codes(dataset: Path) -> tuple[Facts, list[np.ndarray[Any, Any]], list[ChunkDataset]]:
    facts = collect(dataset)
    splits = {name: ChunkDataset(dataset, name) for name in facts.splits}
    return facts, [codes_of(splits[row.split], row) for row in facts.rows], [splits[row.split] for row in facts.rows]


def test_rows_are_those_of_the_recordings_that_were_used(dataset: Path) -> None:
    facts, codes, _ = facts_and_codes(dataset)
    expected = [row for name in ("train", "val") for row in ChunkDataset(dataset, name).recordings if not row.error]
    assert facts.rows == tuple(expected)
    assert {row.path for row in facts.rows} == {f"{name}" for name in (p.name for p in _wavs(dataset))} - {"m-bad.wav"}
    assert facts.columns["samples"].tolist() == [c.size for c in codes]
    assert all(len(column) == len(facts.rows) for column in facts.columns.values())


def _wavs(dataset: Path) -> list[Path]:
    return sorted((dataset.parent / "wavs").iterdir())


def test_codes_are_counted_one_by_one(dataset: Path) -> None:
    facts, codes, _ = facts_and_codes(dataset)
    bits, everything = facts.encoding.bits, np.concatenate(codes)
    assert facts.bins.tolist() == np.bincount(everything >> bits - 8, minlength=256).tolist()
    for number, c in enumerate([*codes, everything]):
        counts = np.unique(c, return_counts=True)[1]
        expected = -(counts / max(1, c.size) * np.log2(counts / max(1, c.size))).sum()
        found = facts.columns["entropy"][number] if number < len(codes) else facts.entropy
        assert np.isnan(found) if bits == 24 or not c.size else found == pytest.approx(expected)


def test_depth_is_that_of_all_samples(dataset: Path) -> None:
    facts, codes, _ = facts_and_codes(dataset)
    zero, bits = silence(bits=facts.encoding.bits), facts.encoding.bits
    for number, c in enumerate(codes):
        free = next((n for n in range(bits) if ((c ^ zero) >> n & 1).any()), bits)
        expected = bits - free if facts.encoding.quantizer == "linear" else 0
        assert facts.columns["effective_bits"][number] == expected
        assert facts.columns["distinct"][number] in (len(np.unique(c)), -1)
        assert (facts.columns["distinct"][number] == -1) == (bits == 24 and expected > 16)


def test_silence_is_counted_sample_by_sample_and_chunk_by_chunk(dataset: Path) -> None:
    facts, codes, _ = facts_and_codes(dataset)
    zero, size = silence(bits=facts.encoding.bits), facts.encoding.codes_per_chunk
    for number, c in enumerate(codes):
        chunks = [set(c[at : at + size].tolist()) for at in range(0, c.size, size)]
        found = {name: facts.columns[name][number] for name in facts.columns if name.endswith(("chunks", "samples"))}
        assert found["silent_samples"] == (c == zero).sum()
        assert found["constant_chunks"] == sum(len(chunk) == 1 for chunk in chunks)
        assert found["silent_chunks"] == sum(chunk == {zero} for chunk in chunks)
        assert found["quiet_chunks"] == sum(chunk <= {zero, zero - 1} for chunk in chunks)


def test_levels_are_those_of_the_samples(dataset: Path) -> None:
    facts, codes, splits = facts_and_codes(dataset)
    encoding = facts.encoding
    for number, (c, row, ds) in enumerate(zip(codes, facts.rows, splits, strict=True)):
        dc, rms, peak = (float(facts.columns[name][number]) for name in ("dc", "rms", "peak"))
        if not c.size:
            assert np.isnan([dc, rms, peak]).all()
        elif (c == silence(bits=encoding.bits)).all():
            assert (dc, rms, peak) == (0, 0, 0)
        else:
            samples = dequantize(c.astype(np.uint32), bits=encoding.bits, quantizer=encoding.quantizer)
            x = samples / 2.0 ** (8 * samples.dtype.itemsize - 1)
            source = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "FLOAT": 32, "ULAW": 14}[row.subtype]
            mixed = 16 if source <= 16 else 32
            if ds.encoding.layout == "mono" and row.channels > 1:
                source = mixed
            if encoding.quantizer == "linear" and source > encoding.bits:
                x = x + 0.5 / 2 ** (encoding.bits - 1)
            mean = x.mean()
            frames = Frames(ds, row)
            if frames.channels > 1:
                codes_of = frames.read(0, frames.frames).astype(np.uint32)
                channels = dequantize(codes_of, bits=encoding.bits, quantizer=encoding.quantizer)
                means = (channels / 2.0 ** (8 * channels.dtype.itemsize - 1)).mean(axis=0)
                if encoding.quantizer == "linear" and source > encoding.bits:
                    means = means + 0.5 / 2 ** (encoding.bits - 1)
                means[(codes_of == silence(bits=encoding.bits)).all(axis=0)] = 0
                mean = means[np.abs(means).argmax()]
            expected = mean, np.sqrt((x * x).mean()), np.abs(x).max()
            assert (dc, rms, peak) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_runs_at_full_scale_are_counted_on_frames(dataset: Path) -> None:
    facts, _, splits = facts_and_codes(dataset)
    for number, (row, ds) in enumerate(zip(facts.rows, splits, strict=True)):
        frames = Frames(ds, row)
        codes = frames.read(0, frames.frames)
        top = 2**ds.encoding.bits - 1
        source = {"PCM_U8": 8, "PCM_16": 16}.get(row.subtype, 24)
        if source < ds.encoding.bits and ds.encoding.quantizer == "linear":
            top -= 2 ** (ds.encoding.bits - source) - 1
        elif row.subtype == "ULAW" or (row.subtype == "PCM_U8" and ds.encoding.quantizer == "mulaw"):
            continue
        lengths = [
            len(list(run)) for extreme in (0, top) for channel in codes.T for x, run in groupby(channel) if x == extreme
        ]
        long = [n for n in lengths if n >= 3]
        assert facts.columns["clipped_runs"][number] == len(long)
        assert facts.columns["clipped_samples"][number] == sum(long)


def test_the_loud_recording_is_clipped_and_speech_is_not(dataset: Path) -> None:
    facts = collect(dataset, stats=["clipping"])
    runs = {row.path: n for row, n in zip(facts.rows, facts.columns["clipped_runs"], strict=True)}
    assert runs["a-loud.wav"] > 10
    assert runs["h-wide.wav"] == runs["f-silent.wav"] == runs["g-short.wav"] == 0


def test_the_same_channels_are_found(dataset: Path) -> None:
    facts = collect(dataset, stats=["channels"])
    found: dict[str, tuple[int, int]] = {}
    for row, copied, constant in zip(facts.rows, *(facts.columns[f"{c}_channels"] for c in ("copied", "constant")),
                                     strict=True):  # fmt: skip
        before = found.get(row.path, (0, 0))
        found[row.path] = before[0] + copied, before[1] + constant
    expected = dict.fromkeys(found, (0, 0))
    if facts.encoding.layout != "mono":
        expected |= {"d-same.wav": (1, 0), "e-dead.wav": (1, 1), "f-silent.wav": (0, 2)}
    assert found == expected


def test_the_repeated_recording_is_found(dataset: Path) -> None:
    facts = collect(dataset, stats=["duplicates"])
    copies = {
        row.path: facts.rows[of].path
        for row, of in zip(facts.rows, facts.columns["duplicate_of"].tolist(), strict=True)
        if of >= 0
    }
    assert set(copies.items()) <= {("a-loud.wav", "j-again.wav"), ("j-again.wav", "a-loud.wav"),
                                   ("b-loud8.wav", "a-loud.wav"), ("b-loud8.wav", "j-again.wav"),
                                   ("j-again.wav", "b-loud8.wav"), ("a-loud.wav", "b-loud8.wav")}  # fmt: skip
    assert copies


def test_repeated_chunks_are_told_byte_by_byte(dataset: Path) -> None:
    facts = collect(dataset)
    # Codes and padding together: the chunks as they are stored.
    seen: dict[bytes, set[str]] = {}
    chunks = []
    for row in facts.rows:
        ds = ChunkDataset(dataset, row.split)
        for i in range(row.first_chunk, row.first_chunk + row.chunks):
            data = ds[i].tobytes()
            width = facts.encoding.bytes_per_code
            is_constant = data == data[:width] * (len(data) // width)
            chunks.append((row, data, is_constant))
            if not is_constant:
                seen.setdefault(data, set()).add(row.split)
    once: set[bytes] = set()
    repeated, leaked = dict.fromkeys(facts.rows, 0), dict.fromkeys(facts.rows, 0)
    for row, data, is_constant in chunks:
        if not is_constant:
            repeated[row] += data in once
            leaked[row] += len(seen[data]) > 1
            once.add(data)
    assert facts.columns["repeated_chunks"].tolist() == list(repeated.values())
    assert facts.columns["leaked_chunks"].tolist() == list(leaked.values())


def test_workers_make_no_difference(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiochunk.tools.facts.survey._TASK_ROWS", 3)
    told: list[int] = []
    one, two = collect(dataset), collect(dataset, workers=2, on_bytes=told.append)
    assert two.plain() == one.plain()
    assert sum(told) == sum(one.splits.values()) * one.encoding.chunk_bytes


def test_pieces_make_no_difference(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = collect(dataset).plain()
    for name, size in {"measure._PIECE_CODES": 1000, "channels._FIRST_FRAMES": 7, "channels._PIECE_FRAMES": 500,
                       "tally._FEW_CODES": 100, "copies._BATCH_BYTES": 5000}.items():  # fmt: skip
        monkeypatch.setattr(f"audiochunk.tools.facts.{name}", size)
    assert collect(dataset).plain() == whole


def test_groups_that_are_too_long_to_wait_for_are_read_again(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = collect(dataset).plain()
    monkeypatch.setattr("audiochunk.tools.facts.measure._PIECE_CODES", 1000)
    monkeypatch.setattr("audiochunk.tools.facts.channels._MOST_HELD", 0)
    assert collect(dataset).plain() == whole


def test_chunks_are_read_once(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def spy(path: Path, name: str) -> ChunkDataset:
        ds = ChunkDataset(path, name)
        array = ds._array
        chunk, gather = array.chunk, array.gather
        monkeypatch.setattr(array, "chunk", lambda i: (taken.append(1), chunk(i))[1])
        monkeypatch.setattr(array, "gather", lambda n, out: (taken.append(len(n)), gather(n, out))[1])
        return ds

    monkeypatch.setattr("audiochunk.tools.facts.survey.ChunkDataset", spy)
    facts = collect(dataset, stats=[stat for stat in ALL if stat not in ("duplicates", "channels")])
    assert sum(taken) == sum(facts.splits.values())


@pytest.mark.parametrize("options", [{}, {"bits": 16}, {"bits": 24}, {"bits": 16, "compress": "zstd"}], ids=str)
def test_chunks_much_larger_than_a_piece_make_no_difference(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = {"a.wav": np.stack([speech(1), speech(2)], 1), "b.wav": speech(1, 30)}
    out = build(tmp_path, waves, chunk_bytes=96_000, tail="pad", **options)
    whole = collect(out).plain()
    monkeypatch.setattr("audiochunk.tools.facts.measure._PIECE_CODES", 999)
    monkeypatch.setattr("audiochunk.tools.facts.channels._PIECE_FRAMES", 301)
    assert collect(out).plain() == whole
    assert whole["totals"]["samples"] == 40_030


@pytest.mark.parametrize("stat", ALL)
def test_a_stat_is_the_same_alone(dataset: Path, stat: str) -> None:
    alone, all_of_them = collect(dataset, stats=[stat]), collect(dataset)
    assert alone.plain() == all_of_them.only((stat,)).plain()
    assert pickle.loads(pickle.dumps(alone)).plain() == alone.plain()


def test_one_split_alone_knows_nothing_of_the_other(tmp_path: Path) -> None:
    wave = speech(1)
    out = build(tmp_path, {"train/a.wav": wave, "val/b.wav": wave}, split="folders")
    assert collect(out).columns["duplicate_of"].tolist() == [-1, 0]
    alone = collect(out, splits=["val"])
    assert (alone.splits, alone.columns["duplicate_of"].tolist()) == ({"val": 13}, [-1])
    assert alone.columns["leaked_chunks"].tolist() == [0]


def test_a_split_without_chunks_has_facts_too(tmp_path: Path) -> None:
    waves = {"train/a.wav": speech(1), "val/a.wav": speech(1, 20), "val/b.wav": speech(1, 1)[:0]}
    facts = collect(build(tmp_path, waves, bits=16, split="folders"), splits=["val"])
    assert facts.totals() | {"bins": None} == {
        "recordings": 2, "chunks": 0, "samples": 0, "silent_samples": 0, "silent_chunks": 0, "constant_chunks": 0,
        "quiet_chunks": 0, "clipped_runs": 0, "clipped_samples": 0, "entropy": 0.0, "bins": None,
        "repeated_chunks": 0, "shared_chunks": [],
    }  # fmt: skip
    assert facts.findings() == []
    assert facts.plain()["recordings"]["dc"] == [None, None]


def test_what_there_is_not_is_named(tmp_path: Path) -> None:
    out = build(tmp_path, {"a.wav": speech(1)})
    with pytest.raises(ConfigError, match="no stat 'volume'; there are: depth, silence"):
        collect(out, stats=["volume"])
    with pytest.raises(ConfigError, match="no split 'val'"):
        collect(out, splits=["val"])
    with pytest.raises(ConfigError, match="no splits"):
        collect(out, splits=[])
    with pytest.raises(NoDatasetError):
        collect(tmp_path)
