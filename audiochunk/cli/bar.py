"""A progress bar on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(what: str, n_bytes: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr, and what moves it on by so many bytes; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread, so that nothing is forked with one
    with tqdm(
        desc=what, total=n_bytes, unit="B", unit_scale=True, file=sys.stderr, leave=False, dynamic_ncols=True
    ) as shown:

        def on_bytes(n: int) -> None:
            shown.update(n)

        yield on_bytes
