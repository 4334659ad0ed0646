"""docs/orders.md once more, in plain integers and one number at a time."""

from fractions import Fraction

ONES = 2**64 - 1


def scramble(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & ONES
    z = (z ^ z >> 27) * 0x94D049BB133111EB & ONES
    return z ^ z >> 31


def word(key: int, i: int) -> int:
    return scramble(key + (i + 1) * 0x9E3779B97F4A7C15 & ONES)


def below(word: int, n: int) -> int:
    return word * n >> 64


def key(*numbers: int) -> int:
    k = 0
    for x in numbers:
        k = scramble(k + x + 0x9E3779B97F4A7C15 & ONES)
    return k


def order(n: int, key: int) -> list[int]:
    """All of it, below 2**16 numbers."""
    numbers = list(range(n))
    for i in range(n - 1, 0, -1):
        j = below(word(key, i), i + 1)
        numbers[i], numbers[j] = numbers[j], numbers[i]
    return numbers


def at(n: int, key: int, p: int) -> int:
    """One place of it, from 2**16 numbers on."""
    b = (n - 1).bit_length()
    r, l = b - b // 2, b // 2  # noqa: E741
    while True:
        right, left = p % 2**r, p >> r
        for number in range(8):
            if number % 2 == 0:
                left ^= scramble(right + word(key, number) & ONES) >> 64 - l
            else:
                right ^= scramble(left + word(key, number) & ONES) >> 64 - r
        p = left * 2**r + right
        if p < n:
            return p


def by_shard(sizes: list[int], seed: int, epoch: int, window: int) -> list[int]:
    """The rows of one epoch with shuffle="shard", below 2**16 in each window."""
    rows, first = [], 0
    for size in sizes:
        rows.append(list(range(first, first + size)))
        first += size
    shards = [rows[shard] for shard in order(len(sizes), key(seed, 2, epoch))]
    found = []
    for number in range(-(-len(shards) // window)):
        inside = [row for shard in shards[number * window : (number + 1) * window] for row in shard]
        found += [inside[i] for i in order(len(inside), key(seed, 3, epoch, number))]
    return found


def tickets(weights: list[Fraction]) -> list[int]:
    """Draws of each source of a mix in one period."""
    shares = [weight / sum(weights) for weight in weights]
    for period in range(1, 2**16 + 1):
        if all((share * period).denominator == 1 for share in shares):
            return [int(share * period) for share in shares]
    counts = [int(share * 2**16) for share in shares]
    while sum(counts) < 2**16:
        lost = [share * 2**16 - count for share, count in zip(shares, counts, strict=True)]
        counts[lost.index(max(lost))] += 1
    return counts


def draws(weights: list[Fraction], sizes: list[int], seed: int, n: int) -> list[tuple[int, int]]:
    """The first draws of a mix of small sources."""
    turns = tickets(weights)
    pattern = sorted((Fraction(2 * k + 1, 2 * t), s) for s, t in enumerate(turns) for k in range(t))
    found, seen = [], [0] * len(sizes)
    for p in range(n):
        q, place = divmod(p, len(pattern))
        _, s = pattern[(below(word(key(seed, 6), q), len(pattern)) + place) % len(pattern)]
        d = seen[s]
        seen[s] += 1
        found.append((s, order(sizes[s], key(seed, 5, s, d // sizes[s]))[d % sizes[s]]))
    return found
