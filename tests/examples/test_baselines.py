"""The rows beside a trained model: each is what a plain computation gives."""

import doctest
import gzip
import io
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import baselines
import numpy as np
import pytest
import soundfile as sf

import audiochunk

Dataset = Callable[..., Path]


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(baselines, extraglobs={"np": np}).failed == 0


def test_order_1_is_the_entropy_of_a_byte_that_knows_the_one_before_in_its_chunk(dataset: Dataset) -> None:
    val = audiochunk.open(dataset(), "val")
    pairs = Counter((a, b) for chunk in val for a, b in zip(chunk[:-1].tolist(), chunk[1:].tolist(), strict=True))
    before: Counter[int] = Counter()
    for (a, _), n in pairs.items():
        before[a] += n
    expected = -sum(n * math.log2(n / before[a]) for (a, _), n in pairs.items()) / pairs.total()
    assert baselines.entropies(val, len(val))[1] == pytest.approx(expected)


def test_order_0_is_the_entropy_of_all_bytes(dataset: Dataset) -> None:
    val = audiochunk.open(dataset(), "val")
    counts = Counter(byte for chunk in val for byte in chunk.tolist())
    expected = -sum(n * math.log2(n / counts.total()) for n in counts.values()) / counts.total()
    assert baselines.entropies(val, len(val))[0] == pytest.approx(expected)


def test_gzip_is_that_of_the_standard_library(dataset: Dataset) -> None:
    val = audiochunk.open(dataset(), "val")
    alone, whole = baselines.gzip_sizes(val, 20)
    assert alone == sum(len(gzip.compress(val[i].tobytes(), 9)) for i in range(20))
    assert whole == len(gzip.compress(b"".join(val[i].tobytes() for i in range(20)), 9))


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_flac_is_given_the_recordings_with_their_channels_side_by_side(dataset: Dataset, bits: int) -> None:
    options = {"bits": bits, "chunk_bytes": 192}
    val = audiochunk.open(dataset(**options), "val")
    expected = 0
    for row in val.recordings:
        samples, rate = sf.read(dataset(**options).parent / "wavs" / row.path, dtype="int32", always_2d=True)
        frames = row.chunks * 192 // (bits // 8) // row.channels
        file = io.BytesIO()
        subtype = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits]
        sf.write(file, samples[:frames] >> (32 - bits) << (32 - bits), rate, format="FLAC", subtype=subtype)
        expected += file.getbuffer().nbytes
    assert baselines.flac_size(val, len(val)) == expected


@pytest.mark.parametrize("options", [{"quantizer": "mulaw"}, {"block": 100}, {"layout": "split"}, {"tail": "pad"}])
def test_rows_are_found_for_every_kind_of_dataset(dataset: Dataset, options: dict[str, object]) -> None:
    val = audiochunk.open(dataset(**options), "val")
    rows = baselines.bits_per_byte(val, len(val))
    assert next(iter(rows)) == "raw"
    assert all(0 < bits <= 9 for bits in rows.values())


def test_only_the_first_chunks_count(dataset: Dataset) -> None:
    val = audiochunk.open(dataset(), "val")
    half = audiochunk.open(dataset(), "val")[: len(val) // 2].gather(range(len(val) // 2))
    assert baselines.gzip_sizes(val, len(val) // 2)[1] == len(gzip.compress(half.tobytes(), 9))
    assert 0 < baselines.flac_size(val, len(val) // 2) < baselines.flac_size(val, len(val))


def test_script_prints_the_table_and_refuses_other_folders_in_one_sentence(
    dataset: Dataset, example: Callable[..., object], tmp_path: Path
) -> None:
    run = example("baselines.py", dataset())
    assert "FLAC, each recording" in run.stdout
    assert run.stderr == ""
    run = example("baselines.py", tmp_path)
    assert run.returncode == 1
    assert run.stderr == f"baselines: {tmp_path}: no dataset here: there is no manifest.json\n"
