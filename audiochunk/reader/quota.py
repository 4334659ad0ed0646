"""How many shards a process has mapped, in all its datasets together, and who lets go of some for others.

Linux counts the mappings of a process, and refuses it memory of any kind beyond vm.max_map_count of them. So the bound
is one for all datasets, and well below.
"""

import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

_DEFAULT_MAPPINGS = 65_530
_FOR_OTHERS = 5_000  # mappings that libraries, threads and large arrays may need
_GENERATIONS = 4

# By the identity of what keeps shards mapped: the numbers of those shards, and what makes its owner let go of it. A
# plain dict, whose values can be listed while other threads change it.
_live: dict[int, "tuple[list[int], weakref.WeakMethod[Callable[[], None]]]"] = {}


@cache
def most_mapped() -> int:
    """Shards that a process may have mapped. Each counts twice: so does the gap behind it."""
    try:
        mappings = int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        mappings = _DEFAULT_MAPPINGS
    return max(_GENERATIONS, (mappings - _FOR_OTHERS) // 2)


def most_at_once(shards: int) -> int:
    """Shards that a split of so many may keep mapped.

    All, if that is allowed. Else a part, so that the split can begin anew with others while a chunk that somebody holds
    keeps what was mapped before.
    """
    return shards if shards <= most_mapped() else max(1, most_mapped() // _GENERATIONS)


def count_in(keeper: object, let_go: Callable[[], None]) -> list[int]:
    """A list for the numbers of the shards that are mapped as long as `keeper` is there.

    Args:
        keeper: of the mappings.
        let_go: a method that makes its object forget the keeper. Neither is kept alive by this.
    """
    shards: list[int] = []
    key = id(keeper)
    _live[key] = shards, weakref.WeakMethod(let_go)
    weakref.finalize(keeper, _live.pop, key, None).atexit = False
    return shards


def has_room(n: int) -> bool:
    """Whether so many more shards may be mapped: the owners of most let go of theirs first, where that is needed.

    It is not, where chunks are held that keep too many.
    """
    if _counted() + n <= most_mapped():
        return True
    for _, let_go in sorted(_live.values(), key=_size, reverse=True):
        found = let_go()
        if found is not None:
            found()
        if _counted() + n <= most_mapped():
            return True
    return False


def _counted() -> int:
    return sum(len(shards) for shards, _ in list(_live.values()))


def _size(entry: tuple[list[int], Any]) -> int:
    return len(entry[0])
