"""What is wrong with a dataset, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be, in words that a terminal can show.

    Attributes:
        file: its name in the dataset's folder, or the path of a recording.
        place: what of the file, or where in it.
        expected: what must be there.
        found: what is there.
    """

    file: str
    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: {self.place}: expected {self.expected}, found {self.found}"


def count_of(n: int, noun: str = "byte") -> str:
    """A number and its noun.

    >>> count_of(1), count_of(4608)
    ('1 byte', '4,608 bytes')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
