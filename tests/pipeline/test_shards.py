"""Building one shard: the bytes that whole recordings would have, whatever the cut; reuse; and what fails."""

import errno
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import BuildConfig
from audiochunk.errors import MachineError, PassingRecordingError, RecordingError
from audiochunk.pipeline import parts, shards
from audiochunk.pipeline.parts import Part, encode_part
from audiochunk.pipeline.plan import Plan, plan
from audiochunk.pipeline.scan import Globs, Scanned, scan
from audiochunk.pipeline.shards import ShardResult, ShardTask, build_shard, find_shard, record_path
from audiochunk.signal import encoder
from audiochunk.signal.encode import encode
from audiochunk.storage import shard
from audiochunk.storage.shard import DATA_OFFSET, ShardSpec, ShardWriter, digest_file

Signal = npt.NDArray[Any]

OPTIONS: list[dict[str, Any]] = [
    {"chunk_bytes": 64},
    {"chunk_bytes": 64, "tail": "pad"},
    {"chunk_bytes": 60, "block": 7},
    {"chunk_bytes": 60, "bits": 16},
    {"chunk_bytes": 60, "bits": 16, "byte_order": "big", "block": 100, "tail": "pad"},
    {"chunk_bytes": 60, "bits": 12, "layout": "mono", "tail": "pad"},
    {"chunk_bytes": 60, "bits": 24, "layout": "split", "tail": "pad"},
    {"chunk_bytes": 60, "bits": 24, "byte_order": "big"},
    {"chunk_bytes": 64, "quantizer": "mulaw", "layout": "split"},
    {"chunk_bytes": 64, "compress": "zstd", "chunks_per_frame": 2},
]
by_options = pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(value) for value in o.values()))


@dataclass
class Project:
    """A folder of recordings, and one for shards."""

    root: Path
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Project":
        project = cls(folder / "wavs", folder / "shards" / ".build")
        project.root.mkdir()
        project.folder.mkdir(parents=True)
        return project

    def write(self, name: str, signal: Signal, *, subtype: str = "PCM_16") -> Path:
        path = self.root / name
        sf.write(path, signal, 8000, subtype=subtype)
        return path

    def tasks(self, **options: Any) -> list[ShardTask]:
        """Scan and plan; shards of five chunks."""
        chunk_bytes = options.setdefault("chunk_bytes", 64)
        config = BuildConfig.make(**({"shard_size": 5 * chunk_bytes} | options))
        recordings = list(scan(os.fsencode(self.root), Globs()))
        assert [r.error for r in recordings if r.error] == []
        made = plan(recordings, ["train"] * len(recordings), asked={}, config=config)
        return [self._task(made, number) for number in range(len(made.shards))]

    def _task(self, made: Plan, number: int) -> ShardTask:
        shard = made.shards[number]
        return ShardTask(
            root=os.fsencode(self.root),
            folder=os.fsencode(self.folder),
            split=shard.split,
            index=shard.index,
            encoding=made.config.encoding,
            compression=made.config.compression,
            parts=shard.parts,
        )

    def task(self, **options: Any) -> ShardTask:
        """The only task, of one shard that holds everything."""
        (task,) = self.tasks(**({"shard_size": 2**20} | options))
        return task

    def names(self) -> set[str]:
        return set(os.listdir(self.folder))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.make(tmp_path)


def noise(frames: int, channels: int, *, seed: int = 0, dtype: Any = np.int16) -> Signal:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, (frames, channels), dtype, endpoint=True)


def floats(frames: int, channels: int, *, seed: int = 0, loudest: float = 1.5) -> Signal:
    return np.random.default_rng(seed).uniform(-loudest, loudest, (frames, channels)).astype(np.float32)


def from_floats(signal: Signal) -> Signal:
    """The samples of floats by the definition, one by one."""
    scaled = [min(max(round(float(x) * 2**31), -(2**31)), 2**31 - 1) for x in signal.ravel()]
    return np.array(scaled, np.int32).reshape(signal.shape)


def reference(signals: list[Signal], config: BuildConfig) -> bytes:
    """The chunks of whole recordings, one after the other."""
    encoding = config.encoding
    return b"".join(
        encode(signal, encoding, channel=channel).tobytes()
        for signal in signals
        for channel in encoding.streams(signal.shape[1])
    )


def content(task: ShardTask) -> bytes:
    """The uncompressed bytes of a task's shard file."""
    import zstandard

    path = Path(os.fsdecode(task.folder)) / task.name
    if task.compression is None:
        return path.read_bytes()
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


def check_shards(tasks: list[ShardTask], chunks: bytes) -> list[ShardResult]:
    """Build all tasks; their shards must hold the chunks, five each."""
    size = 5 * tasks[0].encoding.chunk_bytes
    assert len(tasks) == -(-len(chunks) // size)
    results = []
    for task in tasks:
        result = build_shard(task)
        wanted = chunks[task.index * size : (task.index + 1) * size]
        n_chunks = len(wanted) // task.encoding.chunk_bytes
        file = ShardSpec("train", task.index, n_chunks, task.encoding).header() + wanted
        assert content(task) == file
        assert result == ShardResult("train", task.index, result.record)
        assert result.record.chunks == n_chunks
        assert result.record.digest == xxhash.xxh3_128_hexdigest(file)
        assert result.record.bytes == (Path(os.fsdecode(task.folder)) / task.name).stat().st_size
        results.append(result)
    return results


@by_options
def test_shards_hold_the_chunks_of_whole_recordings(project: Project, options: dict[str, Any]) -> None:
    stereo, mono, many = noise(1001, 2), noise(333, 1, seed=1), noise(99, 6, seed=2)
    wide = noise(700, 2, seed=3, dtype=np.int32) >> 8 << 8
    project.write("a.wav", stereo)
    project.write("b.wav", mono)
    project.write("c.wav", wide, subtype="PCM_24")
    project.write("d.flac", stereo)
    project.write("e.wav", many)
    project.write("f.wav", noise(3, 2))
    tasks = project.tasks(**options)
    assert len(tasks) > 5
    signals = [stereo, mono, wide, stereo, many, noise(3, 2)]
    check_shards(tasks, reference(signals, BuildConfig.make(**options)))


@by_options
def test_floats_become_samples_and_clipped_ones_in_chunks_are_counted(
    project: Project, options: dict[str, Any]
) -> None:
    signal = floats(500, 2)
    project.write("a.wav", signal, subtype="FLOAT")
    config = BuildConfig.make(**options)
    results = check_shards(project.tasks(**options), reference([from_floats(signal)], config))

    scaled = np.rint(signal.astype(np.float64) * 2**31)
    clipped = (scaled > 2**31 - 1) | (scaled < -(2**31))
    per_chunk = config.encoding.codes_per_chunk
    if config.encoding.layout == "mono":
        frames = len(clipped) if config.encoding.tail == "pad" else len(clipped) // per_chunk * per_chunk
        wanted = int(np.count_nonzero(clipped[:frames]))
    else:
        # Where the clipped samples go: encoded as ones among zeros, in chunks of as many codes.
        plain = msgspec.structs.replace(
            config.encoding, bits=8, quantizer="linear", byte_order="little", chunk_bytes=per_chunk
        )
        marks = reference([clipped.astype(np.int16) << 8], BuildConfig(encoding=plain))
        wanted = marks.count(129)
    assert sum(sum(result.record.clipped_by_part.values()) for result in results) == wanted > 0


@pytest.mark.parametrize("buffer_bytes", [12, 50, 400])
@pytest.mark.parametrize("layout", ["blocks", "mono", "split"])
@given(
    sizes=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 3)), min_size=1, max_size=4),
    chunk_bytes=st.integers(1, 40),
    tail=st.sampled_from(["drop", "pad"]),
    block=st.sampled_from(["auto", 1, 3, 50]),
)
@settings(deadline=None, max_examples=12)
def test_it_does_not_matter_how_much_is_read_at_once(
    buffer_bytes: int,
    layout: str,
    sizes: list[tuple[int, int]],
    chunk_bytes: int,
    tail: str,
    block: Any,
) -> None:
    options = {"chunk_bytes": chunk_bytes, "tail": tail, "layout": layout}
    if layout == "blocks":
        options["block"] = block
    signals = [noise(frames, channels, seed=n) for n, (frames, channels) in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(shards, "BUFFER_BYTES", buffer_bytes)
        patched.setattr(shard, "BUFFER_BYTES", buffer_bytes)
        project = Project.make(Path(folder))
        for n, signal in enumerate(signals):
            project.write(f"{n}.wav", signal)
        tasks = project.tasks(**options)
        chunks = reference(signals, BuildConfig.make(**options))
        if tasks:
            check_shards(tasks, chunks)
        else:
            assert chunks == b""


@pytest.mark.parametrize(
    ("bits", "quantizer"), [(8, "linear"), (12, "linear"), (16, "linear"), (24, "linear"), (8, "mulaw"), (16, "mulaw")]
)
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "ALAW", "PCM_U8", "PCM_24"])
def test_a_shard_is_what_the_plain_way_gives(
    project: Project, monkeypatch: pytest.MonkeyPatch, bits: int, subtype: str, quantizer: str
) -> None:
    for n, (frames, channels) in enumerate([(300, 1), (70, 2), (301, 3), (1, 1), (64, 2), (65, 2)]):
        project.write(f"{n}.wav", floats(frames, channels), subtype=subtype)
    project.write("7.flac", noise(200, 2))
    # A code can take more bytes than a sample of the source: both must fit.
    monkeypatch.setattr(shards, "BUFFER_BYTES", 100)
    monkeypatch.setattr(shard, "BUFFER_BYTES", 100)
    for options in ({}, {"tail": "pad"}, {"layout": "split"}, {"layout": "mono"}, {"block": 5}):
        task = project.task(bits=bits, quantizer=quantizer, chunk_bytes=48, **options)
        build_shard(task)
        plain = b"".join(
            piece.tobytes() for part in task.parts for piece, _ in encode_part(part, task.encoding, root=task.root)
        )
        assert content(task)[DATA_OFFSET:] == plain


def test_padding_is_the_code_of_silence(project: Project) -> None:
    project.write("a.wav", np.full((3, 1), -1, np.int16))
    task = project.task(chunk_bytes=8, tail="pad")
    build_shard(task)
    assert content(task)[DATA_OFFSET:] == bytes([127, 127, 127, 128, 128, 128, 128, 128])


def test_a_shard_of_nothing_can_be_built(project: Project) -> None:
    project.write("a.wav", noise(64, 1))
    task = msgspec.structs.replace(project.task(), parts=())
    result = build_shard(task)
    assert content(task) == ShardSpec("train", 0, 0, task.encoding).header()
    assert (result.record.chunks, result.record.clipped) == (0, b"")


def test_a_task_and_its_result_survive_pickling(project: Project) -> None:
    import pickle

    project.write("a.wav", noise(64, 1)).rename(project.root / "caf\udce9.wav")
    task = project.task()
    assert pickle.loads(pickle.dumps(task)) == task
    result = build_shard(task)
    assert pickle.loads(pickle.dumps(result)) == result


# Building again.


@pytest.fixture(params=[None, "zstd"], ids=["raw", "zstd"])
def built(project: Project, request: pytest.FixtureRequest) -> tuple[Project, ShardTask, ShardResult]:
    project.write("a.wav", noise(640, 2))
    project.write("b.wav", floats(100, 2), subtype="FLOAT")
    task = project.task(compress=request.param or "none")
    return project, task, build_shard(task)


Built = tuple[Project, ShardTask, ShardResult]


def test_a_shard_that_is_there_is_reused(built: Built) -> None:
    project, task, first = built
    file = project.folder / task.name
    before = file.stat()
    second = build_shard(task)
    assert not first.reused
    assert second == msgspec.structs.replace(first, reused=True)
    assert os.path.samestat(file.stat(), before)
    assert find_shard(task) == first.record
    assert project.names() == {task.name, record_path(project.folder, task.name).name}


def test_a_shard_that_is_sealed_already_is_reused(built: Built) -> None:
    project, task, first = built
    (project.folder / task.name).rename(project.folder.parent / task.name)
    assert build_shard(task) == msgspec.structs.replace(first, reused=True)
    assert not (project.folder / task.name).exists()


def test_a_damaged_shard_is_made_again_though_a_sealed_one_is_whole(built: Built) -> None:
    """The seal would move it over the one that is whole."""
    project, task, first = built
    file = project.folder / task.name
    (project.folder.parent / task.name).write_bytes(file.read_bytes())
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert build_shard(task) == msgspec.structs.replace(first, rebuilt=True)
    assert file.read_bytes() == whole


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def edit_record(path: Path, **changes: Any) -> None:
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes))


@pytest.mark.parametrize(
    "damage",
    [
        lambda file, record: flip(file, 10),
        lambda file, record: flip(file, -1),
        lambda file, record: flip(file, file.stat().st_size // 2),
        lambda file, record: file.write_bytes(file.read_bytes()[:-1]),
        lambda file, record: file.write_bytes(file.read_bytes() + b"\0"),
        lambda file, record: file.write_bytes(b""),
        lambda file, record: file.unlink(),
        lambda file, record: record.unlink(),
        lambda file, record: record.write_bytes(b""),
        lambda file, record: record.write_bytes(record.read_bytes()[:-1]),
        lambda file, record: record.write_bytes(b"\xff" * 100),
        lambda file, record: record.write_bytes(b"[" * 100_000),
        lambda file, record: edit_record(record, digest="00" * 16),
        lambda file, record: edit_record(record, bytes=1),
        lambda file, record: edit_record(record, fingerprint="00" * 16),
        lambda file, record: edit_record(record, bytes="1"),
        lambda file, record: edit_record(record, novelty=1),
    ],
)
def test_what_was_altered_is_built_again(built: Built, damage: Callable[[Path, Path], Any]) -> None:
    project, task, first = built
    file, record = project.folder / task.name, record_path(project.folder, task.name)
    before = file.read_bytes(), record.read_bytes()
    damage(file, record)
    assert find_shard(task) is None
    wanted = msgspec.structs.replace(first, rebuilt=record.exists())  # without a record, no shard was there
    assert build_shard(task) == wanted
    assert (file.read_bytes(), record.read_bytes()) == before


def test_a_record_of_text_that_is_not_utf8_is_built_again(built: Built) -> None:
    project, task, first = built
    record = record_path(project.folder, task.name)
    record.write_bytes(record.read_bytes().replace(first.record.digest.encode(), b"\xff" * 32))
    assert build_shard(task) == msgspec.structs.replace(first, rebuilt=True)


@pytest.mark.parametrize(
    "change",
    [
        {"split": "val"},
        {"index": 1},
        {"encoding": BuildConfig.make(chunk_bytes=64, block=8).encoding},
        {"compression": BuildConfig.make(compress="zstd:5").compression},
        {"parts": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_fingerprint_is_of_all_that_the_bytes_depend_on(built: Built, change: dict[str, Any]) -> None:
    _, task, _ = built
    assert msgspec.structs.replace(task, **change).fingerprint != task.fingerprint


@pytest.mark.parametrize("field", [*Part.__struct_fields__[1:], *Scanned.__struct_fields__[:-1]])
def test_a_fingerprint_is_of_every_field_of_every_part(built: Built, field: str) -> None:
    _, task, _ = built
    part = task.parts[1]
    other = {
        "path": b"c.wav",
        "bytes": part.recording.bytes + 1,
        "mtime_ns": part.recording.mtime_ns + 1,
        "info": msgspec.structs.replace(part.info, frames=99),
        "channel": 0,
        "first": 1,
        "chunks": 2,
    }[field]
    is_of_part = field in Part.__struct_fields__
    whole = part if is_of_part else part.recording
    changed = msgspec.structs.replace(whole, **{field: other})
    changed = changed if is_of_part else msgspec.structs.replace(part, recording=changed)
    assert changed != part
    assert msgspec.structs.replace(task, parts=(task.parts[0], changed)).fingerprint != task.fingerprint


def test_a_fingerprint_is_not_of_the_place(built: Built) -> None:
    _, task, _ = built
    assert msgspec.structs.replace(task, root=b"/elsewhere", folder=b"/there").fingerprint == task.fingerprint


def test_another_version_builds_again(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    _, task, first = built
    known = shards.versions()
    assert set(known) == {"audiochunk", "libsndfile", "numpy", "zstd"}
    monkeypatch.setattr(shards, "versions", lambda: known | {"numpy": "0"})
    assert find_shard(task) is None
    again = build_shard(task)
    assert (again.reused, again.rebuilt) == (False, True)
    assert again.record.digest == first.record.digest


def test_a_recording_that_was_written_again_makes_another_task(project: Project) -> None:
    path = project.write("a.wav", noise(640, 2))
    before = build_shard(project.task())
    project.write("a.wav", noise(640, 2, seed=1))
    os.utime(path, ns=(0, 0))
    after = build_shard(project.task())
    assert not after.reused
    assert after.record.digest != before.record.digest


# Recordings that fail.


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def grow(path: Path) -> None:
    before = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES = [
    (touch, "changed while the dataset was built: "),
    (grow, "changed while the dataset was built: "),
    (Path.unlink, "no such file or directory"),
    (become_folder, "not a regular file"),
    (become_fifo, "not a regular file"),
    (lambda path: path.write_bytes(b""), "changed while the dataset was built: "),
]


def without(task: ShardTask, *paths: bytes) -> ShardTask:
    return msgspec.structs.replace(task, parts=tuple(part for part in task.parts if part.path not in paths))


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_a_recording_that_changed_since_the_scan_is_left_out(
    project: Project, change: Callable[[Path], Any], reason: str
) -> None:
    signals = [noise(200, 2, seed=n) for n in range(3)]
    for name, signal in zip("abc", signals, strict=True):
        project.write(f"{name}.wav", signal)
    task = project.task()
    change(project.root / "b.wav")
    result = build_shard(task)
    (failure,) = result.failed
    part = next(part for part in task.parts if part.path == b"b.wav")
    assert (failure.path, failure.bytes, failure.mtime_ns) == (b"b.wav", part.recording.bytes, part.recording.mtime_ns)
    assert failure.passing == (reason != "not a regular file")
    assert failure.reason.startswith(reason)
    assert os.fspath(project.root) not in failure.reason
    config = BuildConfig.make(chunk_bytes=64)
    assert content(task)[DATA_OFFSET:] == reference([signals[0], signals[2]], config)
    assert result.record.fingerprint == without(task, b"b.wav").fingerprint
    assert result.record.chunks == 12


def test_a_recording_that_changes_while_it_is_read_is_left_out(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.write("a.wav", noise(200, 2))
    project.write("b.wav", noise(200, 2, seed=1))
    task = project.task()
    read_into = encoder.read_into

    def and_touch(*arguments: Any, **options: Any) -> Any:
        touch(path)
        return read_into(*arguments, **options)

    monkeypatch.setattr(encoder, "read_into", and_touch)
    assert [failure.path for failure in build_shard(task).failed] == [b"a.wav"]


def test_all_failures_are_reported_at_once_and_the_good_stay(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    good = [noise(200, 2, seed=1), noise(100, 1, seed=2), noise(300, 2, seed=3)]
    nan = floats(200, 2)
    nan[100, 1] = np.nan
    project.write("a.wav", nan, subtype="FLOAT")
    project.write("b.wav", good[0])
    cut = project.write("c.flac", noise(20_000, 2))
    project.write("d.wav", good[1])
    gone = project.write("e.wav", noise(100, 1))
    project.write("f.wav", good[2])
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    task = project.task()
    gone.unlink()

    begun: list[ShardSpec] = []

    class Remembering(ShardWriter):
        def __init__(self, path: Path, spec: ShardSpec, compression: Any) -> None:
            begun.append(spec)
            super().__init__(path, spec, compression)

    monkeypatch.setattr(shards, "ShardWriter", Remembering)
    result = build_shard(task)
    assert len(begun) == 2  # one that finds all failures, one without them
    assert [failure.path for failure in result.failed] == [b"a.wav", b"c.flac", b"e.wav"]
    reasons = {failure.path: failure.reason for failure in result.failed}
    assert reasons[b"a.wav"] == "holds NaN or infinite samples"
    assert reasons[b"c.flac"]
    assert reasons[b"e.wav"] == "no such file or directory"
    assert content(task)[DATA_OFFSET:] == reference(good, BuildConfig.make(chunk_bytes=64))
    assert project.names() == {task.name, f"{task.name}.json"}


@pytest.mark.parametrize("layout", ["blocks", "split", "mono"])
@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_why_a_recording_fails_does_not_depend_on_the_shard(project: Project, layout: Any, damage: str) -> None:
    """libsndfile says of a FLAC file that is cut what it finds where it begins to decode."""
    file = project.write("a.flac", noise(40_000, 2))
    content, half = file.read_bytes(), file.stat().st_size // 2
    file.write_bytes(content[:half] + (bytes(200) + content[half + 200 :] if damage == "zeros" else b""))
    tasks = project.tasks(layout=layout, shard_size=6400, on_error="skip")
    assert len(tasks) > 4
    failed = [failure for task in tasks for failure in build_shard(task).failed]
    assert len(failed) > 1
    assert len({failure.reason for failure in failed}) == 1
    assert failed[0].reason.startswith("libsndfile: ")


@pytest.mark.parametrize("layout", ["blocks", "split"])
def test_why_a_recording_fails_is_looked_for_once_unless_that_may_pass(
    project: Project, monkeypatch: pytest.MonkeyPatch, layout: Any
) -> None:
    file = project.write("a.flac", noise(40_000, 2))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 4])
    looked: list[Part] = []

    def counted(part: Part, *arguments: Any, **options: Any) -> Any:
        looked.append(part)
        if len(looked) == 1:
            raise PassingRecordingError(part.path, "busy")
        return encode_part(part, *arguments, **options)

    monkeypatch.setattr(parts, "encode_part", counted)
    tasks = project.tasks(layout=layout, shard_size=6400, on_error="skip")
    reasons = [failure.reason for task in tasks for failure in build_shard(task).failed]
    assert len(reasons) > 4
    assert len(looked) == 2
    assert len(set(reasons[1:])) == 1
    assert "busy" not in reasons
    file.write_bytes(b"fLaC")
    (again,) = build_shard(tasks[-1]).failed
    assert again.reason.startswith("changed while the dataset was built")


def test_a_recording_that_only_fails_in_the_middle_fails_for_one_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("a.flac", noise(2000, 1))
    write_part = shards.write_part

    def fails_there(part: Part, *arguments: Any, **options: Any) -> int:
        if part.first:
            raise RecordingError(part.path, f"libsndfile: nothing at {part.first}")
        return write_part(part, *arguments, **options)

    monkeypatch.setattr(shards, "write_part", fails_there)
    reasons = {failure.reason for task in project.tasks(shard_size=640) for failure in build_shard(task).failed}
    assert reasons == {"can be decoded from its beginning on, but not piece by piece"}


def test_a_recording_fails_whole_however_many_parts_it_has(project: Project) -> None:
    good = noise(100, 2)
    nan = floats(128, 2)
    nan[0, 1] = np.inf
    project.write("a.wav", nan, subtype="FLOAT")
    project.write("b.wav", good)
    task = project.task(layout="split")
    assert [part.path for part in task.parts] == [b"a.wav", b"a.wav", b"b.wav", b"b.wav"]
    result = build_shard(task)
    (failure,) = result.failed
    assert (failure.path, failure.reason, failure.passing) == (b"a.wav", "holds NaN or infinite samples", False)
    assert result.record.chunks == 2


def test_a_shard_whose_recordings_all_fail_is_empty(project: Project) -> None:
    project.write("a.wav", noise(200, 2))
    task = project.task()
    (project.root / "a.wav").unlink()
    result = build_shard(task)
    assert result.record.chunks == 0
    assert content(task) == ShardSpec("train", 0, 0, task.encoding).header()


def test_a_task_without_what_failed_finds_the_shard(project: Project) -> None:
    project.write("a.wav", noise(200, 2))
    project.write("b.wav", noise(200, 2))
    task = project.task()
    (project.root / "a.wav").unlink()
    first = build_shard(task)
    assert build_shard(without(task, b"a.wav")) == ShardResult("train", 0, first.record, reused=True)
    # The whole task is not what was built: the recording may be back.
    assert build_shard(task) == msgspec.structs.replace(first, rebuilt=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("options", "at", "fails"),
    [
        ({}, 0, True),
        ({}, 63, True),
        ({}, 64, False),
        ({}, 99, False),
        ({"tail": "pad"}, 64, True),
        ({"tail": "pad"}, 99, True),
        ({"layout": "mono"}, 63, True),
        ({"layout": "mono"}, 64, False),
    ],
)
def test_nan_counts_where_a_chunk_needs_it(
    project: Project, value: float, options: dict[str, Any], at: int, fails: bool
) -> None:
    signal = floats(100, 1, loudest=0.5)
    signal[at] = value
    project.write("a.wav", signal, subtype="FLOAT")
    result = build_shard(project.task(**options))
    assert [failure.reason for failure in result.failed] == (["holds NaN or infinite samples"] if fails else [])


def test_nan_in_another_channel_than_the_parts_does_not_fail_it(project: Project) -> None:
    signal = floats(64, 2, loudest=0.5)
    signal[3, 1] = np.nan
    project.write("a.wav", signal, subtype="FLOAT")
    left, right = project.tasks(layout="split", shard_size=64)
    assert build_shard(left).failed == ()
    assert [failure.path for failure in build_shard(right).failed] == [b"a.wav"]


def test_what_no_chunk_needs_is_neither_clipped_nor_looked_at(project: Project) -> None:
    signal = np.zeros((100, 1), np.float32)
    signal[[5, 63, 64, 99]] = 2
    project.write("a.wav", signal, subtype="FLOAT")
    assert build_shard(project.task()).record.clipped_by_part == {0: 2}
    assert build_shard(project.task(tail="pad")).record.clipped_by_part == {0: 4}


@pytest.mark.parametrize("clipped", [{0: -3}, {-1: 3}, {1: 3}, {0: 2**64 - 1}, {0: 2**60}, b"no map"], ids=str)
def test_a_record_of_what_cannot_have_been_clipped_is_not_believed(project: Project, clipped: Any) -> None:
    project.write("a.wav", noise(64, 1))
    task = project.task()
    first = build_shard(task)
    path = record_path(project.folder, task.name)
    path.write_bytes(
        msgspec.json.encode(msgspec.structs.replace(first.record, clipped=msgspec.msgpack.encode(clipped)))
    )
    assert find_shard(task) is None
    assert build_shard(task) == msgspec.structs.replace(first, rebuilt=True)


def test_full_scale_is_clipped_only_beyond_it(project: Project) -> None:
    signal = np.array([[-1.0], [1.0 - 2**-24], [1.0], [-1.0 - 2**-23]], np.float32)
    project.write("a.wav", signal, subtype="FLOAT")
    task = project.task(chunk_bytes=4)
    # 1.0 is one more than the largest sample.
    assert build_shard(task).record.clipped_by_part == {0: 2}
    assert content(task)[DATA_OFFSET:] == bytes([0, 255, 255, 0])


# What the machine refuses.


@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_a_full_disk_is_an_os_error_and_leaves_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, compress: str
) -> None:
    project.write("a.wav", noise(640, 2))
    task = project.task(compress=compress)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            build_shard(task)
    assert project.names() == set()
    assert not build_shard(task).reused


def test_an_interrupt_leaves_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("a.wav", noise(640, 2))
    task = project.task()

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ShardWriter, "room", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_shard(task)
    assert project.names() == set()


def test_too_many_open_files_is_no_fault_of_the_recording(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("a.wav", noise(640, 2))
    task = project.task()
    real_open = os.open

    def limited(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fspath(path).endswith(b".wav" if isinstance(path, bytes) else ".wav"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real_open(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", limited)
        with pytest.raises(MachineError, match="too many open files"):
            build_shard(task)
    assert project.names() == set()


def test_no_descriptor_is_left_open(project: Project) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc to count descriptors in")
    nan = floats(200, 2)
    nan[0] = np.nan
    project.write("a.wav", nan, subtype="FLOAT")
    project.write("b.wav", noise(200, 2))
    project.write("c.flac", noise(200, 2))
    task = project.task()
    build_shard(task)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        (project.folder / task.name).unlink()
        build_shard(task)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_digest_in_the_record_is_that_of_the_file(built: Built) -> None:
    project, task, result = built
    assert digest_file(project.folder / task.name) == result.record.digest
