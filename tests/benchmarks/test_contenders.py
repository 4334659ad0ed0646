import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from contenders import PEERS, Job, checker, decoders, expected, in_files, limit, ours, own_scripts, peers
from digests import digest
from rounds import Contender, Measured, run_rounds
from scripts import reference

MakeJob = Callable[..., Job]


def refused(field: list[Contender]) -> dict[str, str]:
    """Who did not do right in the run that is not timed."""
    return {one.name: one.refused for one in run_rounds(field, rounds=0) if one.refused}


def naive_chunks(folder: Path) -> Iterator[bytes]:
    """One sample after the other."""
    for path in sorted(folder.rglob("*.wav")):
        samples, _ = sf.read(path, dtype="int16", always_2d=True)
        stream = bytearray()
        for start in range(0, len(samples), 2048 // samples.shape[1]):
            for channel in samples.T:
                stream += bytes((int(x) >> 8) + 128 for x in channel[start : start + 2048 // samples.shape[1]])
        for at in range(0, len(stream) - 2047, 2048):
            yield bytes(stream[at : at + 2048])


@pytest.mark.parametrize("name", ["big", "small"])
def test_the_reference_loop_gives_the_chunks_of_a_naive_one(job: MakeJob, name: str) -> None:
    source = job(name).source
    assert expected(source) == digest(naive_chunks(source))


def test_a_corpus_knows_how_many_chunks_it_gives(job: MakeJob) -> None:
    one = job("hires")
    assert expected(one.source).chunks == one.chunks > 0


@pytest.mark.parametrize("wide", [np.int16, np.int32])
def test_the_reference_loop_needs_no_audioop(wide: type, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(1).integers(np.iinfo(wide).min, np.iinfo(wide).max, 999, wide)
    if reference.audioop is None:
        pytest.skip("this Python has no audioop to compare with")
    with_it = reference.eight_bit(samples)
    monkeypatch.setattr(reference, "audioop", None)
    assert reference.eight_bit(samples) == with_it


def test_everyone_builds_the_chunks_of_big(job: MakeJob) -> None:
    one = job("big")
    want = expected(one.source)
    field = [limit(one, fsync=False), limit(one, fsync=True), *own_scripts(one, want)]
    field += ours(one, want, workers=(2,), compress=("none", "zstd"), fsync=False)
    assert refused(field) == {}


@pytest.mark.parametrize("name", ["small", "hires", "flac"])
def test_everyone_builds_the_chunks_of_other_corpora(job: MakeJob, name: str) -> None:
    one = job(name)
    want = expected(one.source)
    field = [limit(one, fsync=False), *own_scripts(one, want), *decoders(one, workers=(2,))]
    field += ours(one, want, workers=(1,), compress=("none",), fsync=True)
    assert refused(field) == {}


def writer(out: Path, data: str) -> Contender:
    """Someone who writes these bytes, when the chunks are four pages of a's, b's and c's."""
    want = digest([b"a" * 2048, b"b" * 2048, b"c" * 2048])
    code = f"open({str(out)!r}, 'wb').write({data})"
    return Contender("writer", [sys.executable, "-c", code], out, checker(want, in_files))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("b'a' * 2048 + b'b' * 2048", "wrong output: 2 chunks; expected 3"),
        ("b'a' * 2048 + b'b' * 2048 + b'd' * 2048", "wrong output: other chunks than expected"),
        ("b'b' * 2048 + b'a' * 2048 + b'c' * 2048", "wrong output: the chunks expected, in another order"),
    ],
)
def test_wrong_output_is_refused_and_not_timed(tmp_path: Path, data: str, why: str) -> None:
    (measured,) = run_rounds([writer(tmp_path / "out", data)], rounds=2)
    assert (measured.refused, measured.runs) == (why, [])


def test_right_output_is_timed(tmp_path: Path) -> None:
    (measured,) = run_rounds([writer(tmp_path / "out", "b'a' * 2048 + b'b' * 2048 + b'c' * 2048")], rounds=2)
    assert (measured.refused, len(measured.runs)) == ("", 2)


def test_a_peer_may_have_another_order(tmp_path: Path) -> None:
    want = digest([b"a" * 2048, b"b" * 2048])
    out = tmp_path / "out"
    out.write_bytes(b"b" * 2048 + b"a" * 2048)
    checker(want, in_files, ordered=False)(out)


def test_peers_that_are_not_installed_say_so_and_give_no_number(job: MakeJob, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # no packages at all
    bare.chmod(0o755)
    one = job("small", recordings=1)
    field = peers(one, expected(one.source), python=str(bare), workers=2, max_rounds=1)
    measured = run_rounds(field, rounds=1)
    assert measured == [
        Measured(peer.distribution, refused=f"not installed: pip install {peer.distribution}") for peer in PEERS
    ]
