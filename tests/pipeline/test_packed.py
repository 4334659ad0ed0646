"""What travels between processes comes out as it went in."""

import pickle

import pytest

from audiochunk.config import BuildConfig, Compression, Encoding
from audiochunk.pipeline.packed import Packed
from audiochunk.pipeline.parts import Part
from audiochunk.pipeline.scan import Found, Scanned, _Batch, _Probed
from audiochunk.pipeline.shards import ShardTask
from audiochunk.signal.audio import AudioInfo
from audiochunk.signal.wav import WavForm

DIRECT = AudioInfo(2**31 - 1, 65_535, 2**62, "PCM_24", WavForm("int", 3, True, 2**40), True, ("truncated: ü",))
DECODED = AudioInfo(8000, 1, 9, "PCM_16", None, False)


@pytest.mark.parametrize(
    "value",
    [
        ShardTask(
            b"/r\xff",
            b"/o",
            "train",
            7,
            Encoding(bits=16, byte_order="big", block=5),
            Compression(level=1, chunks_per_frame=1),
            (
                Part(Scanned(b"\xff\n.wav", 2**62, 2**62, DIRECT), 3, 5, 6),
                Part(Scanned(b"b", 0, -1, DECODED), None, 0, 1),
            ),
        ),
        ShardTask(b"", b"", "a", 0, BuildConfig().encoding, None, ()),
        _Batch(3, b"/r", (Found(b"a\xff.wav"), Found(b"d/", "closed"))),
        _Probed(3, (Scanned(b"a", 1, -(2**40), DIRECT), Scanned(b"b", 0, 0, None, "no audio"))),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_value_comes_back_equal(value: Packed, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(value, protocol))
    assert back == value
    assert type(back) is type(value)


def test_a_task_takes_up_little_more_than_its_paths() -> None:
    recordings = (Scanned(b"speaker/%05d.wav" % n, 16_044, 10**18 + n, DECODED) for n in range(1000))
    parts = tuple(Part(recording, None, 0, 3) for recording in recordings)
    task = ShardTask(b"/r", b"/o", "train", 0, Encoding(), None, parts)
    assert len(pickle.dumps(task)) < 250 * len(parts)
