"""A dataset's recordings beside those that are there: what is new, gone or changed, in one pass."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from audiochunk.config import BuildConfig
from audiochunk.pipeline.compare import Comparison
from audiochunk.pipeline.plan import plan
from audiochunk.pipeline.rows import rows
from audiochunk.pipeline.scan import Scanned
from audiochunk.signal.audio import AudioInfo

LAST = b"c\xff\xff.wav"  # as text, what is not UTF-8 would be in another order
AS_IT_IS = (100, "train", True)
PATHS = st.sampled_from([b"a.wav", b"b.wav", b"b/a.wav", b"c\xff.wav", LAST, b"d.wav"])
SIDES = st.dictionaries(PATHS, st.tuples(st.sampled_from([100, 101]), st.sampled_from(["train", "val"]), st.booleans()))


def scanned(side: dict[bytes, tuple[int, str, bool]]) -> list[tuple[Scanned, str]]:
    return [
        (Scanned(path, size, 0, AudioInfo(8000, 2, 50, "PCM_16") if usable else None, None if usable else "bad"), split)
        for path, (size, split, usable) in sorted(side.items())
    ]


@given(before=SIDES, now=SIDES, layout=st.sampled_from(["blocks", "split"]))
@example(before=dict.fromkeys([b"c\xff.wav", LAST], AS_IT_IS), now={LAST: AS_IT_IS}, layout="blocks")
@settings(deadline=None)
def test_each_recording_is_on_one_side_on_both_or_changed(
    before: dict[bytes, tuple[int, str, bool]], now: dict[bytes, tuple[int, str, bool]], layout: str
) -> None:
    config = BuildConfig.make(chunk_bytes=4, layout=layout)
    made = plan(*zip(*scanned(before), strict=True), asked={}, config=config) if before else None
    comparison = Comparison(rows(made) if made else ())
    new = [r.path for r, split in scanned(now) if comparison.is_new(r, split)]
    comparison.finish()
    assert new == sorted(now.keys() - before.keys())
    used = {path for path, (_, _, usable) in before.items() if usable}
    gone, changed = before.keys() - now.keys(), {p for p in now.keys() & before.keys() if now[p] != before[p]}
    refused = (gone | changed) - used
    found = (comparison.new, comparison.gone, comparison.changed, comparison.refused)
    for counted, paths in zip(found, (new, sorted(gone & used), sorted(changed & used), sorted(refused)), strict=True):
        assert (counted.n, counted.first) == (len(paths), paths[0] if paths else b"")
    assert bool(str(comparison)) == (before != now)
    assert bool(comparison.not_as_before) == bool((gone | changed) & used)
