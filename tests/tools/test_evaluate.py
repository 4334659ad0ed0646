import bz2
import gzip
import lzma
import os
import sys
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiochunk
from audiochunk.errors import ConfigError, DatasetError
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.evaluate import NAMES, Evaluation, Row
from audiochunk.tools.scores import Scores


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("evaluate")
    for split in ("train", "val"):
        (base / "wavs" / split).mkdir(parents=True)
    for number, (seconds, channels) in enumerate([(1.1, 1), (0.7, 2), (0.4, 2), (0.9, 1)]):
        t = np.arange(int(8000 * seconds)) / 8000
        tones = [0.4 * np.sin(2 * np.pi * (200 + 90 * number + 5 * c) * t) for c in range(channels)]
        folder = base / "wavs" / ("val" if number % 2 else "train")
        sf.write(folder / f"{number}.wav", np.stack(tones, axis=1), 8000, subtype="PCM_16")
    audiochunk.build(base / "wavs", base / "shards", bits=16, split="folders", workers=1)
    return base / "shards"


def rows_of(folder: Path, **options: object) -> dict[tuple[str, str], Row]:
    workers = options.pop("workers", 1)
    found = Evaluation(folder, **options).run(workers=workers)  # type: ignore[arg-type]
    return {(row.codec, row.convention): row for row in found}


def chunks_of(folder: Path) -> list[tuple[ChunkDataset, list[bytes]]]:
    """The bytes of chunks, recording by recording."""
    found: list[tuple[ChunkDataset, list[bytes]]] = []
    for split in ("train", "val"):
        ds = ChunkDataset(folder, split)
        found += [(ds, [ds[row.first_chunk + i].tobytes() for i in range(row.chunks)]) for row in ds.recordings]
    return found


@pytest.mark.parametrize(
    ("codec", "compress"),
    [
        ("gzip-9", lambda data: gzip.compress(data, 9)),
        ("bz2", bz2.compress),
        ("lzma", lzma.compress),
    ],
)
def test_codecs_of_bytes_give_what_their_libraries_give(shards: Path, codec: str, compress) -> None:  # type: ignore[no-untyped-def]
    rows = rows_of(shards, codecs=[codec])
    recordings = [chunks for _, chunks in chunks_of(shards)]
    alone = [len(compress(chunk)) for chunks in recordings for chunk in chunks]
    assert rows[codec, "chunked"].compressed_bytes == sum(alone)
    header = len(compress(b"\0"))
    assert rows[codec, "chunked-header-once"].compressed_bytes == sum(alone) - header * (len(alone) - 1)
    assert rows[codec, "whole"].compressed_bytes == sum(len(compress(b"".join(chunks))) for chunks in recordings)
    raw = sum(len(chunk) for chunks in recordings for chunk in chunks)
    assert {(row.raw_bytes, row.samples) for row in rows.values()} == {(raw, raw // 2)}


def test_entropies_are_those_of_the_codes(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiochunk.tools.evaluate._TIMES_EACH", 1)
    rows = rows_of(shards, codecs=["entropy-0", "entropy-1"])
    codes = [np.frombuffer(chunk, "<u2").tolist() for _, chunks in chunks_of(shards) for chunk in chunks]

    def entropy(values: list[object]) -> float:
        shares = [values.count(value) / len(values) for value in set(values)]
        return -sum(share * float(np.log2(share)) for share in shares)

    order_0 = entropy([code for chunk in codes for code in chunk])
    pairs = [pair for chunk in codes for pair in pairwise(chunk)]
    order_1 = entropy(list(pairs)) - entropy([first for first, _ in pairs])
    n = sum(map(len, codes))
    assert rows["entropy-0", "bound"].compressed_bytes == ceil(order_0 * n / 8)
    assert rows["entropy-1", "bound"].compressed_bytes == ceil((order_1 * len(pairs) + order_0 * len(codes)) / 8)


def test_figures_follow_from_sizes() -> None:
    row = Row("gzip-9", "chunked", 4000, 2000, 1000, encode_s=2.0, decode_s=0.5)
    assert row.plain() == {
        "codec": "gzip-9",
        "convention": "chunked",
        "raw_bytes": 4000,
        "compressed_bytes": 1000,
        "percent_of_raw": 25.0,
        "bits_per_byte": 2.0,
        "bits_per_sample": 4.0,
        "ratio": 4.0,
        "encode_mb_s": 0.002,
        "decode_mb_s": 0.008,
        "samples": 2000,
        "version": None,
    }


def test_every_codec_and_convention_is_a_row_in_order(shards: Path) -> None:
    rows = Evaluation(shards, max_chunks=3).run()
    three = ("chunked", "chunked-header-once", "whole")
    expected = [(name, how) for name in NAMES for how in (("bound",) if "entropy" in name else three)]
    assert [(row.codec, row.convention) for row in rows] == expected
    assert {row.raw_bytes for row in rows} == {3 * 2048}


def test_stereo_is_given_to_flac_as_stereo(tmp_path: Path) -> None:
    """Two equal channels cost little more than one; as one channel of blocks they would cost twice as much."""
    (tmp_path / "wavs").mkdir()
    noise = np.random.default_rng(1).integers(-3000, 3000, 65536).astype(np.int16)
    sf.write(tmp_path / "wavs" / "a.wav", np.stack([noise, noise], axis=1), 44100)
    audiochunk.build(tmp_path / "wavs", tmp_path / "stereo", bits=16, workers=1)
    audiochunk.build(tmp_path / "wavs", tmp_path / "mono", bits=16, layout="mono", workers=1)
    stereo, mono = (rows_of(tmp_path / name, codecs=["flac-8"]) for name in ("stereo", "mono"))
    for convention in ("whole", "chunked-header-once"):
        one, two = mono["flac-8", convention].compressed_bytes, stereo["flac-8", convention].compressed_bytes
        assert one is not None
        assert two is not None
        assert two < 1.05 * one


def test_sizes_do_not_depend_on_the_number_of_workers(shards: Path) -> None:
    names = ["gzip-9", "flac-5", "lpc-rice", "entropy-0", "entropy-1"]
    one, two = (rows_of(shards, codecs=names, workers=n) for n in (1, 2))
    assert [(key, row.compressed_bytes) for key, row in one.items()] == [
        (key, row.compressed_bytes) for key, row in two.items()
    ]


def test_all_that_is_dealt_with_is_reported(shards: Path) -> None:
    evaluation = Evaluation(shards, codecs=["gzip-9", "bz2", "entropy-1"])
    seen: list[int] = []
    evaluation.run(on_bytes=seen.append)
    assert sum(seen) == evaluation.n_bytes == 5 * evaluation.raw_bytes


def test_a_model_is_a_row_on_the_chunks_that_it_scored(shards: Path) -> None:
    n = len(ChunkDataset(shards, "val"))
    bits = np.arange(n - 1, dtype=np.float64) + 0.5
    rows = rows_of(shards, split="val", codecs=["gzip-9"], scores=[Scores("model", bits)])
    assert rows["model:model", "chunked"].compressed_bytes == ceil(bits.sum() / 8)
    assert {row.raw_bytes for row in rows.values()} == {(n - 1) * 2048}
    fewer = rows_of(shards, split="val", codecs=[], scores=[Scores("a", bits), Scores("b", bits[:2])])
    # Without headers, both ways of counting give the same.
    assert {key: row.compressed_bytes for key, row in fewer.items()} == {
        (model, how): 1 for model in ("model:a", "model:b") for how in ("chunked", "chunked-header-once")
    }


def test_models_of_the_same_file_name_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name / "scores.npy" for name in ("a", "b")] + [tmp_path / "other.npy"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.ones(1))
    names = [scores.name for scores in Scores.read_all(paths)]
    assert names == [f"{tmp_path}/a/scores", f"{tmp_path}/b/scores", "other"]


def test_entropies_of_too_few_codes_are_not_given(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    noise = np.random.default_rng(4).integers(-(2**15), 2**15, 9000).astype(np.int16)
    sf.write(tmp_path / "wavs" / "a.wav", noise, 8000)
    for bits, there in ((8, ("entropy-0",)), (16, ())):
        audiochunk.build(tmp_path / "wavs", tmp_path / f"{bits}", bits=bits, workers=1)
        rows = rows_of(tmp_path / f"{bits}", codecs=["entropy-0", "entropy-1"])
        assert tuple(codec for (codec, _), row in rows.items() if row.compressed_bytes is not None) == there
        assert all("too few" in (row.missing or "too few") for row in rows.values())


def test_a_model_is_scored_on_the_chunks_that_were_chosen(shards: Path) -> None:
    bits = np.zeros(len(ChunkDataset(shards, "train")))
    bits[:1] = 8000
    found = {
        rows_of(shards, split="train", codecs=[], scores=[Scores("m", bits)], max_chunks=1, seed=seed)[
            "model:m", "chunked"
        ].compressed_bytes
        for seed in range(20)
    }
    assert found == {0, 1000}


def test_scores_that_do_not_fit_are_refused(shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"give --split, one of: train, val"):
        Evaluation(shards, scores=[Scores("model", np.ones(1))])
    with pytest.raises(ConfigError, match=r"model: 1,000 scores for the \d+ chunks of val"):
        Evaluation(shards, split="val", scores=[Scores("model", np.ones(1000))])


def test_a_codec_that_is_missing_says_how_to_get_it(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    evaluation = Evaluation(shards, codecs=["wavpack", "gzip-9"])
    rows = {(row.codec, row.convention): row for row in evaluation.run()}
    assert evaluation.n_bytes == 2 * evaluation.raw_bytes
    for convention in ("chunked", "chunked-header-once", "whole"):
        plain = rows["wavpack", convention].plain()
        assert plain["missing"] == "apt install wavpack"
        assert plain["compressed_bytes"] is plain["bits_per_byte"] is plain["ratio"] is None
        assert "missing" not in rows["gzip-9", convention].plain()


def test_codecs_of_which_none_is_there_are_refused(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(ConfigError, match=r"^not there: brotli: pip install 'audiochunk\[codecs\]'$"):
        Evaluation(shards, codecs=["brotli"])
    with pytest.raises(ConfigError, match=r"^not there: brotli: pip install '.*'; wavpack: apt install wavpack$"):
        Evaluation(shards, codecs=["brotli", "wavpack"])
    assert Evaluation(shards, codecs=["brotli", "entropy-0"]).n_bytes
    Evaluation(shards, split="val", codecs=["brotli"], scores=[Scores("model", np.ones(1))])


def test_headers_of_silence_are_no_more_than_there_is(tmp_path: Path) -> None:
    """FLAC of one sample is larger than FLAC of a chunk of silence."""
    (tmp_path / "wavs").mkdir()
    for channels in (1, 2):
        sf.write(tmp_path / "wavs" / f"{channels}.wav", np.zeros((60_000, channels), np.int16), 8000)
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", bits=16, workers=1)
    for (codec, convention), row in rows_of(tmp_path / "shards", workers=2).items():
        if row.missing is None:
            assert row.compressed_bytes is not None
            assert row.compressed_bytes >= (0 if convention == "bound" else 1), codec


def test_a_codec_that_fails_leaves_the_others_their_rows(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "flac"
    program.write_text("#!/bin/sh\necho oh no >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    rows = rows_of(shards, codecs=["gzip-9", "flac-cli-8"])
    assert rows["gzip-9", "whole"].compressed_bytes is not None
    for convention in ("chunked", "chunked-header-once", "whole"):
        assert rows["flac-cli-8", convention].missing == "flac failed (3): oh no"


def test_what_cannot_be_evaluated_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no codec 'zip'; there are: gzip-9"):
        Evaluation(shards, codecs=["zip"])
    with pytest.raises(ConfigError, match="no split 'test'"):
        Evaluation(shards, split="test")
    for split, frames in (("train", 5000), ("val", 3)):
        (tmp_path / "wavs" / split).mkdir(parents=True)
        sf.write(tmp_path / "wavs" / split / "a.wav", np.zeros(frames, np.int16), 8000)
    audiochunk.build(tmp_path / "wavs", tmp_path / "shards", split="folders", workers=1)
    with pytest.raises(ConfigError, match="no chunks"):
        Evaluation(tmp_path / "shards", split="val")


def test_a_codec_that_gives_something_else_back_is_caught(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    lying = dataclasses.replace(CODECS["gzip-9"], decode=lambda file: iter([b"something else"]))  # type: ignore[call-arg]
    monkeypatch.setitem(CODECS, "gzip-9", lying)
    message = r"gzip-9: what it decoded .*: chunks of train/0\.wav in train"
    with pytest.raises(audiochunk.AudiochunkError, match=message):
        Evaluation(shards, codecs=["gzip-9"]).run()


def test_damage_is_not_measured(shards: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(shards, tmp_path / "copy")
    shard = next(copy.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DatasetError):
        Evaluation(copy, codecs=["gzip-9"]).run()


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 8},
        {"bits": 12, "layout": "split"},
        {"bits": 24, "chunk_bytes": 1536, "tail": "pad"},
        {"quantizer": "mulaw"},
    ],
    ids=str,
)
def test_real_recordings_go_through_every_codec(recordings: Path, tmp_path: Path, options: dict[str, object]) -> None:
    audiochunk.build(
        recordings, tmp_path / "shards", on_error="skip", exclude=["torture"], workers=2, fsync=False, **options
    )
    names = [name for name in NAMES if name not in ("brotli", "lzma")]  # which take long
    rows = rows_of(tmp_path / "shards", codecs=names, max_chunks=60, seed=3, workers=2)
    for (_codec, convention), row in rows.items():
        if row.missing is None:
            assert 0 < row.plain()["percent_of_raw"] < (150 if convention == "chunked" else 101)
    whole = {
        codec: row.compressed_bytes for (codec, how), row in rows.items() if how == "whole" and row.missing is None
    }
    assert min(whole, key=lambda codec: whole[codec] or 0) in ("flac-8", "flac-cli-8", "lpc-rice", "wavpack", "bz2")
