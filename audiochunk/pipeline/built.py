"""What a build came to."""

from dataclasses import dataclass

from audiochunk.pipeline.plan import Plan
from audiochunk.storage.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Built:
    """What a build came to.

    Attributes:
        manifest: of the dataset.
        plan: that it was built by.
        failed: reasons, by path, of recordings that this build left out while decoding.
        reused: shards that were taken over from an interrupted build.
        rebuilt: shards of an interrupted build that were made anew, because they no longer fit or were damaged.
        up_to_date: whether the dataset was there already.
        seconds: of wall time.
    """

    manifest: Manifest
    plan: Plan
    failed: dict[bytes, str]
    reused: int = 0
    rebuilt: int = 0
    up_to_date: bool = False
    seconds: float = 0.0
