from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audiochunk.tools.facts.copies import Streams, first_copies, shared_chunks


@given(st.lists(st.integers(0, 7), max_size=40), st.integers(1, 5))
def test_copies_are_told_byte_by_byte_even_where_hashes_are_equal(values: list[int], n_hashes: int) -> None:
    chunks = np.array(values, np.uint8)[:, None] + np.zeros((1, 5), np.uint8)
    chunks[:, 4] += 1
    hashes = np.array([value % n_hashes for value in values], np.uint64)
    constants = np.where(chunks[:, 0] == 0, np.int32(0), np.int32(-1)).astype(np.int32)
    same = first_copies(hashes, constants, lambda numbers: chunks[numbers])
    assert same.tolist() == [-1 if value == 0 else values.index(value) for value in values]


@given(st.lists(st.integers(0, 5), max_size=30), st.lists(st.integers(0, 30), min_size=2, max_size=2))
def test_chunks_that_splits_share_are_counted_in_both(values: list[int], cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    parts = [values[a:b] for a, b in pairwise(bounds)]
    none = np.zeros(0, np.int64)
    streams = Streams((), none, none, none, none, np.array(bounds))
    same = np.array([-1 if value == 0 else values.index(value) for value in values], np.int64)
    leaked, shared = shared_chunks(streams, same)
    for a, mine in enumerate(parts):
        for b, other in enumerate(parts):
            expected = 0 if a == b else sum(value != 0 and value in other for value in mine)
            assert shared[a, b] == expected
    split = [number for number, part in enumerate(parts) for _ in part]
    for value, where, is_leaked in zip(values, split, leaked, strict=True):
        assert is_leaked == (value != 0 and any(value in part for n, part in enumerate(parts) if n != where))
