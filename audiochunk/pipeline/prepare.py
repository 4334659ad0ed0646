"""A folder and options -> the plan of a dataset, or all that stands against it."""

import os
from pathlib import Path

import msgspec

from audiochunk.config import BuildConfig, Encoding, Options
from audiochunk.errors import MOST_NAMED, ConfigError, InputError, RecordingsError, printable
from audiochunk.pipeline.earlier import Earlier
from audiochunk.pipeline.executors import Workers
from audiochunk.pipeline.inputs import input_root
from audiochunk.pipeline.plan import Plan, Planner, chunks_per_shard, too_many_shards
from audiochunk.pipeline.scan import Globs, Scanned, scan
from audiochunk.pipeline.splits import (
    FILE_PREFIX,
    FOLDERS,
    UnusedEntries,
    check_split_name,
    in_no_split,
    make_splitter,
    read_split_file,
    sum_of_shares,
    table_name,
)
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import MAX_MANIFEST_BYTES, entries_bytes

_NAMED = 3


def make_plan(
    source: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
    workers: Workers | None = None,
    earlier: Earlier | None = None,
) -> Plan:
    """Scan a folder and plan its dataset, without decoding anything.

    Args:
        source: folder of recordings.
        config: of the dataset. With a `split_file`, its `options.split` is replaced.
        split_file: table of path or folder, tab, split.
        watcher: told of each recording.
        workers: who look into the recordings; else this process does.
        earlier: the dataset that recordings are added to: only those that it does not have are planned.

    Raises:
        ConfigError: the options do not go together.
        InputError: the folder cannot be read, holds no recordings, or none that makes a chunk; or those of `earlier`
            are not as they were.
        RecordingsError: recordings that cannot be used, with `on_error="fail"`.
    """
    watcher = watcher or Watcher()
    config, table = with_split_file(config, split_file)
    splitter = make_splitter(config.options, table)
    root = input_root(source)
    if not root:
        raise InputError(root, "the name of the input folder is empty")
    planner = Planner(config, splitter.shares, None if earlier is None else earlier.ends)
    found = _Found(root, config.options)
    unused = UnusedEntries(table or {})
    globs = Globs(config.options.include, config.options.exclude)
    for recording in scan(root, globs, workers):
        watcher.scanned(recording)
        unused.use(recording.path)
        split = splitter.assign(recording.path)
        if earlier is not None and not earlier.is_new(recording, split):
            continue
        found.add(recording, split)
        if split is not None:
            planner.add(recording, split)
    planned = planner.plan()
    if earlier is None:
        found.refuse_none()
    else:
        earlier.require_all(root)
    for glob in sorted(globs.unused):
        watcher.warn(f"the glob {printable(glob)} matches nothing")
    found.refuse_failed()
    if earlier is None:
        found.refuse_unusable()
    _warn_of_splits(config.options.split, unused, watcher)
    found.refuse_splits(planned.recordings.names)
    if not planned.n_chunks and earlier is None:
        found.refuse_short(config.encoding)
    _refuse_many_shards(planned)
    _warn_of_blocks(found.channels, config.encoding, watcher)
    for name, layout in planned.layouts.items():
        if not layout.first_chunk + layout.chunks:
            watcher.warn(f"split {name} gets no chunks")
    return planned


def with_split_file(
    config: BuildConfig, split_file: str | os.PathLike[str] | None
) -> tuple[BuildConfig, dict[bytes, str] | None]:
    """A configuration whose rule of splits is a table, if one is given, and the table.

    Raises:
        ConfigError: it has another rule of splits, or no table where it needs one.
        InputError: the table cannot be read.
    """
    if split_file is None:
        if (config.options.split or "").startswith(FILE_PREFIX):
            raise ConfigError(
                "the splits are those of a table: give it, with the recordings that are new (--split-file)"
            )
        return config, None
    if config.options.split is not None and not config.options.split.startswith(FILE_PREFIX):
        raise ConfigError(
            f"split {config.options.split} and split_file: give one or the other; to a dataset with one rule of splits,"
            " recordings are added by that rule"
        )
    table = read_split_file(Path(split_file))
    options = msgspec.structs.replace(config.options, split=table_name(table))
    return msgspec.structs.replace(config, options=options), table


class _Found:
    """What a scan came upon, as far as it may stand against a plan.

    Args:
        root: the input folder.
        options: of the build.
    """

    def __init__(self, root: bytes, options: Options) -> None:
        self._root, self._options = root, options
        self._n = self._n_failed = self._n_nowhere = 0
        self._failed: list[tuple[bytes, str]] = []
        self._nowhere: list[bytes] = []
        self._any_frames = False
        #: How many channels recordings have.
        self.channels: set[int] = set()

    def add(self, recording: Scanned, split: str | None) -> None:
        """Count a recording."""
        self._n += 1
        if recording.info is not None:
            self._any_frames = self._any_frames or recording.info.frames > 0
            self.channels.add(recording.info.channels)
        elif recording.error is not None:
            self._n_failed += 1
            if len(self._failed) < MOST_NAMED:
                self._failed.append((recording.path, recording.error))
        if split is None:
            self._n_nowhere += 1
            if len(self._nowhere) < _NAMED:
                self._nowhere.append(recording.path)

    def refuse_none(self) -> None:
        """Raise InputError where there are no recordings."""
        if not self._n:
            asked = " that --include and --exclude leave" if self._options.include or self._options.exclude else ""
            raise InputError(self._root, f"no recordings (.wav, .flac, .aiff, …) in this folder{asked}")

    def refuse_failed(self) -> None:
        """Raise RecordingsError where a recording failed and none may."""
        if self._failed and self._options.on_error == "fail":
            raise RecordingsError(self._failed, self._n_failed)

    def refuse_unusable(self) -> None:
        """Raise InputError where all recordings failed."""
        if self._n_failed == self._n:
            reasons = "; ".join(f"{printable(path)}: {reason}" for path, reason in self._failed[:_NAMED])
            raise InputError(self._root, f"none of {self._n:,} recordings can be used: {reasons}")

    def refuse_splits(self, names: list[str]) -> None:
        """Raise InputError where a recording is in no split, or in one that cannot be named so."""
        if self._nowhere:
            raise InputError(self._root, in_no_split(self._nowhere, self._n_nowhere, self._options))
        for name in sorted(names):
            try:
                check_split_name(name)
            except ConfigError as error:
                raise InputError(self._root, f"{error}") from error

    def refuse_short(self, encoding: Encoding) -> None:
        """Raise InputError for recordings that have no chunk between them."""
        if not self._any_frames:
            raise InputError(self._root, "all recordings are empty: they have 0 frames")
        raise InputError(
            self._root,
            f"all recordings are too short for one chunk of {encoding.codes_per_chunk:,} samples;"
            " --tail pad or a smaller --chunk-bytes would use them",
        )


def _refuse_many_shards(planned: Plan) -> None:
    """Raise ConfigError where no manifest could name all shards."""
    config, n = planned.config, 0
    n_bytes = 2**20  # of everything else
    for name, layout in planned.layouts.items():
        shards = layout.first_shard + layout.shards
        n += shards
        n_bytes += entries_bytes(
            name,
            shards,
            chunks=chunks_per_shard(config),
            chunk_bytes=config.encoding.chunk_bytes,
            compression=config.compression,
        )
    if n_bytes > MAX_MANIFEST_BYTES:
        raise too_many_shards(n, config)


def _warn_of_splits(spec: str | None, unused: UnusedEntries, watcher: Watcher) -> None:
    if unused.paths:
        some = ", ".join(printable(path) for path in sorted(unused.paths)[:_NAMED])
        n, of = len(unused.paths), len(unused.table)
        watcher.warn(f"{n:,} of {of:,} entries of the split file match no recording: {some}")
    elif spec is not None and spec != FOLDERS and not spec.startswith(FILE_PREFIX):
        total = sum_of_shares(spec)
        if total < 1:
            watcher.warn(f"the shares of the splits add up to {float(total):g}, not 1: they are scaled up")


def _warn_of_blocks(all_channels: set[int], encoding: Encoding, watcher: Watcher) -> None:
    if not isinstance(encoding.block, int):
        return
    for channels in sorted(all_channels):
        if encoding.is_aligned(channels):
            continue
        aligned = encoding.aligned_block(channels)
        advice = f"block {aligned} does" if aligned else "no block does"
        watcher.warn(
            f"block {encoding.block}: a chunk of {encoding.chunk_bytes} bytes does not hold whole blocks of"
            f" all {channels} channels; {advice}"
        )
