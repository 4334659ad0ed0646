"""The identity of a sequence of chunks: whether two hold the same ones, in the same order or in any."""

from collections.abc import Iterable
from dataclasses import dataclass

import xxhash


@dataclass(frozen=True)
class Digest:
    """Of a sequence of chunks.

    Attributes:
        chunks: how many.
        ordered: of all bytes one after the other.
        unordered: sum of the digests of each chunk, which knows no order.
    """

    chunks: int
    ordered: str
    unordered: int


def digest(chunks: Iterable[bytes | memoryview]) -> Digest:
    """The identity of these chunks."""
    count, whole, total = 0, xxhash.xxh3_128(), 0
    for chunk in chunks:
        whole.update(chunk)
        total += xxhash.xxh3_128_intdigest(chunk)
        count += 1
    return Digest(count, whole.hexdigest(), total % 2**128)


def difference(expected: Digest, found: Digest, *, ordered: bool) -> str:
    """What is wrong with the chunks that were found; empty if nothing is."""
    if found.chunks != expected.chunks:
        return f"{found.chunks:,} chunks; expected {expected.chunks:,}"
    if found.unordered != expected.unordered:
        return "other chunks than expected"
    if ordered and found.ordered != expected.ordered:
        return "the chunks expected, in another order"
    return ""
