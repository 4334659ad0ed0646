"""Streams of bytes are the same, or it is said where they are not."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.tools.codecs.sound import CodecError, Silence, as_bytes, require_same

CUTS = st.lists(st.integers(0, 40), max_size=5)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.binary(max_size=40), CUTS, CUTS)
def test_the_same_bytes_are_the_same_however_they_are_cut(data: bytes, ours: list[int], theirs: list[int]) -> None:
    require_same(iter(cut(data, ours)), iter(cut(data, theirs)), codec="any")


@given(st.binary(min_size=1, max_size=40), CUTS, CUTS, st.data())
def test_one_changed_byte_is_found(data: bytes, ours: list[int], theirs: list[int], draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises(CodecError, match=f"^any: what it decoded differs from byte {at} on$"):
        require_same(iter(cut(data, ours)), iter(cut(changed, theirs)), codec="any")


def test_bytes_that_lack_or_are_too_many_are_found() -> None:
    with pytest.raises(CodecError, match="ends after 2 bytes"):
        require_same(iter([b"abc"]), iter([b"", b"ab"]), codec="any")
    with pytest.raises(CodecError, match="goes on after 2 bytes"):
        require_same(iter([b"ab"]), iter([b"abc"]), codec="any")
    with pytest.raises(CodecError, match="ends after 0 bytes"):
        require_same(iter([b"a"]), iter([]), codec="any")


def test_the_error_survives_pickling() -> None:
    assert str(pickle.loads(pickle.dumps(CodecError("gzip-9", "it lies")))) == "gzip-9: it lies"


@pytest.mark.parametrize(("bits", "width"), [(8, 1), (12, 2), (16, 2), (24, 3)])
def test_silence_is_one_frame_of_zeros(bits: int, width: int) -> None:
    silence = Silence(bits, 8000, 3)
    assert b"".join(silence.octets()) == bytes(3 * width)
    assert silence.n_bytes == 3 * width
    assert [frames.tolist() for frames in silence.frames()] == [[[0, 0, 0]]]


def test_frames_are_equal_as_bytes_where_their_values_are() -> None:
    frames = np.array([[1, -2], [3, 4]])
    assert as_bytes(frames) == as_bytes(np.asfortranarray(frames.astype(np.int16)))
    assert as_bytes(frames) != as_bytes(frames.T)
