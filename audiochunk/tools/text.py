"""Numbers and tables as a person reads them."""

from collections.abc import Sequence
from fractions import Fraction


def count(n: int, noun: str) -> str:
    """A number and its noun, in the plural where it must be.

    >>> count(1, "shard"), count(5352, "chunk")
    ('1 shard', '5,352 chunks')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def size(n: int) -> str:
    """Bytes, in powers of 1000.

    >>> size(999), size(20_200_000)
    ('999 B', '20.2 MB')
    """
    if n < 1000:
        return f"{n} B"
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB"


def duration(seconds: Fraction | float) -> str:
    """Hours, minutes and seconds, as many of them as matter.

    >>> duration(0.0125), duration(3.25), duration(493), duration(360000)
    ('12.5 ms', '3.2 s', '8 min 13 s', '100 h 0 min')
    """
    if 0 < seconds < 0.1:
        return f"{float(1000 * seconds):.3g} ms"
    if seconds < 60:
        return f"{float(seconds):.1f} s" if seconds < 10 else f"{int(seconds)} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def percent(share: Fraction | float) -> str:
    """A share as a percentage of three digits.

    >>> percent(0.02346), percent(1)
    ('2.35 %', '100 %')
    """
    return f"{float(100 * share):.3g} %"


def rate(sample_rate: int) -> str:
    """A sample rate.

    >>> rate(44100)
    '44,100 Hz'
    """
    return f"{sample_rate:,} Hz"


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Lines whose columns are aligned, two spaces apart; the columns numbered in `right` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
