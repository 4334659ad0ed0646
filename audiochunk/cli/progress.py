"""What is shown while a build runs, on stderr."""

import sys
from typing import TYPE_CHECKING, Any

import click

from audiochunk.config import Encoding
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.shards import ShardResult
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.recordings import RecordingRow
from audiochunk.tools.summary import Tally

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress(Watcher):
    """Bars on a terminal, warnings everywhere; a context manager.

    Args:
        encoding: of the chunks, where it is known before the plan.
        quiet: whether to show neither.

    Attributes:
        tally: of the recordings that were sealed.
    """

    def __init__(self, encoding: Encoding | None = None, *, quiet: bool) -> None:
        self._quiet = quiet
        self._show = not quiet and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        self._chunk_bytes = 0
        self._finished: set[tuple[str, int]] = set()
        self._encoding = encoding or Encoding()
        self.tally = Tally(self._encoding)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def scanned(self, recording: Scanned) -> None:
        """Count a recording."""
        if self._show:
            if self._bar is None:
                self._bar = self._begin(desc="scan", unit=" recordings")
            self._bar.update()

    def planned(self, plan: Plan, *, n_chunks: int) -> None:
        """Begin the bar of the shards."""
        self._end()
        click.get_current_context().meta["audiochunk.goes_on"] = True
        self._encoding = plan.config.encoding
        self._chunk_bytes = self._encoding.chunk_bytes
        if self._show:
            total = n_chunks * self._chunk_bytes
            self._bar = self._begin(desc="build", total=total, unit="B", unit_scale=True)

    def finished(self, result: ShardResult) -> None:
        """Count a shard's bytes."""
        key = result.split, result.index
        # A shard that is made again, because a recording failed elsewhere, has been counted.
        if self._bar is not None and key not in self._finished:
            self._bar.update(result.record.chunks * self._chunk_bytes)
        self._finished.add(key)

    def sealing_begins(self) -> None:
        """Count from 0."""
        self.tally = Tally(self._encoding)

    def sealing(self, row: RecordingRow) -> None:
        """Count a row of the recordings table."""
        self.tally.add(row)

    def warn(self, sentence: str) -> None:
        """Say it."""
        if not self._quiet:
            self._end()
            click.echo(f"warning: {sentence}", err=True)

    def _begin(self, **options: Any) -> "tqdm[Any]":
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread, so that nothing is forked with one
        return tqdm(file=sys.stderr, leave=False, dynamic_ncols=True, **options)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
