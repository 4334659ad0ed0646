"""Who is told what a build is at."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiochunk.pipeline.plan import Plan
    from audiochunk.pipeline.scan import Scanned
    from audiochunk.pipeline.shards import ShardResult
    from audiochunk.storage.recordings import RecordingRow

_log = logging.getLogger("audiochunk")


class Watcher:
    """Told of a build's progress; the methods of this class do nothing but log what is worth a warning."""

    def scanned(self, recording: "Scanned") -> None:
        """A recording was found and looked at."""

    def planned(self, plan: "Plan", *, n_chunks: int) -> None:
        """The plan is made; shards are built next, that hold `n_chunks` chunks."""

    def finished(self, result: "ShardResult") -> None:
        """A shard is there."""

    def sealing_begins(self) -> None:
        """The recordings table is begun, perhaps not for the first time: what `sealing` told before is void."""

    def sealing(self, row: "RecordingRow") -> None:
        """A row of the recordings table is written, or read where the dataset was there already."""

    def warn(self, sentence: str) -> None:
        """Something that the user should know, and that does not end the build."""
        _log.warning("%s", sentence)
