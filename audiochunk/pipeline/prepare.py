"""A folder and options -> the plan of a dataset, or all that stands against it."""

import os
from pathlib import Path

import msgspec

from audiochunk.config import BuildConfig, Encoding
from audiochunk.errors import ConfigError, InputError, RecordingsError, printable
from audiochunk.pipeline.executors import Workers
from audiochunk.pipeline.plan import Plan, plan
from audiochunk.pipeline.scan import Globs, Scanned, scan
from audiochunk.pipeline.splits import (
    FOLDERS,
    Splitter,
    check_split_name,
    in_no_split,
    make_splitter,
    read_split_file,
    sum_of_shares,
    table_name,
    unused_entries,
)
from audiochunk.pipeline.watcher import Watcher


def make_plan(
    source: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
    workers: Workers | None = None,
) -> Plan:
    """Scan a folder and plan its dataset, without decoding anything.

    Args:
        source: folder of recordings.
        config: of the dataset. With a `split_file`, its `options.split` is replaced.
        split_file: table of path or folder, tab, split.
        watcher: told of each recording.
        workers: who look into the recordings; else this process does.

    Raises:
        ConfigError: the options do not go together.
        InputError: the folder cannot be read, holds no recordings, or none that makes a chunk.
        RecordingsError: recordings that cannot be used, with `on_error="fail"`.
    """
    watcher = watcher or Watcher()
    table = None
    if split_file is not None:
        if config.options.split is not None:
            raise ConfigError("split and split_file: give one or the other")
        table = read_split_file(Path(split_file))
        options = msgspec.structs.replace(config.options, split=table_name(table))
        config = msgspec.structs.replace(config, options=options)
    splitter = make_splitter(config.options, table)
    root = os.fsencode(source)
    if not root:
        raise InputError(root, "the name of the input folder is empty")
    recordings: list[Scanned] = []
    globs = Globs(config.options.include, config.options.exclude)
    for recording in scan(root, globs, workers):
        recordings.append(recording)
        watcher.scanned(recording)
    if not recordings:
        asked = " that --include and --exclude leave" if config.options.include or config.options.exclude else ""
        raise InputError(root, f"no recordings (.wav, .flac, .aiff, …) in this folder{asked}")
    for glob in sorted(globs.unused):
        watcher.warn(f"the glob {printable(glob)} matches nothing")
    failures = [(r.path, r.error) for r in recordings if r.error is not None]
    if failures and config.options.on_error == "fail":
        raise RecordingsError(failures)
    if len(failures) == len(recordings):
        reasons = "; ".join(f"{printable(path)}: {reason}" for path, reason in failures[:3])
        raise InputError(root, f"none of {len(failures):,} recordings can be used: {reasons}")
    _warn_of_splits(config.options.split, table, recordings, watcher)
    splits = _assign(recordings, splitter, config, root)
    planned = plan(recordings, splits, asked=splitter.shares, config=config)
    if not planned.n_chunks:
        if not any(r.info.frames for r in recordings if r.info is not None):
            raise InputError(root, "all recordings are empty: they have 0 frames")
        raise InputError(
            root,
            f"all recordings are too short for one chunk of {config.encoding.codes_per_chunk:,} samples;"
            " --tail pad or a smaller --chunk-bytes would use them",
        )
    _warn_of_blocks(recordings, config.encoding, watcher)
    for name in planned.names:
        if not any(shard.split == name for shard in planned.shards):
            watcher.warn(f"split {name} gets no chunks")
    return planned


def _assign(recordings: list[Scanned], splitter: Splitter, config: BuildConfig, root: bytes) -> list[str]:
    assigned = [splitter.assign(recording.path) for recording in recordings]
    nowhere = [r.path for r, split in zip(recordings, assigned, strict=True) if split is None]
    if nowhere:
        raise InputError(root, in_no_split(nowhere, config.options))
    splits = [split for split in assigned if split is not None]
    for name in sorted(set(splits)):
        try:
            check_split_name(name)
        except ConfigError as error:
            raise InputError(root, f"{error}") from error
    return splits


def _warn_of_splits(
    spec: str | None, table: dict[bytes, str] | None, recordings: list[Scanned], watcher: Watcher
) -> None:
    if table is not None:
        unused = unused_entries(table, (recording.path for recording in recordings))
        if unused:
            some = ", ".join(printable(path) for path in unused[:3])
            watcher.warn(f"{len(unused):,} of {len(table):,} entries of the split file match no recording: {some}")
    elif spec is not None and spec != FOLDERS:
        total = sum_of_shares(spec)
        if total < 1:
            watcher.warn(f"the shares of the splits add up to {float(total):g}, not 1: they are scaled up")


def _warn_of_blocks(recordings: list[Scanned], encoding: Encoding, watcher: Watcher) -> None:
    if not isinstance(encoding.block, int):
        return
    for channels in sorted({r.info.channels for r in recordings if r.info is not None}):
        if encoding.is_aligned(channels):
            continue
        aligned = encoding.aligned_block(channels)
        advice = f"block {aligned} does" if aligned else "no block does"
        watcher.warn(
            f"block {encoding.block}: a chunk of {encoding.chunk_bytes} bytes does not hold whole blocks of"
            f" all {channels} channels; {advice}"
        )
