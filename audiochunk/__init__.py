"""Folders of audio recordings -> sharded datasets of fixed-size byte chunks, exact to the byte, and a reader for them.

>>> import audiochunk
>>> manifest = audiochunk.build("wavs", "shards", bits=8, workers=2)  # doctest: +SKIP
>>> ds = audiochunk.open("shards")  # doctest: +SKIP
>>> ds[0], ds[[3, 1]].shape  # doctest: +SKIP
"""

import os
from typing import TYPE_CHECKING, Any

from audiochunk._version import __version__
from audiochunk.errors import (
    AudiochunkError,
    ConfigError,
    DatasetError,
    InputError,
    MachineError,
    NoDatasetError,
    OutputDamagedError,
    OutputExistsError,
    RecordingError,
    RecordingsError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from audiochunk.config import BuildConfig
    from audiochunk.reader.concat import ConcatDataset
    from audiochunk.reader.dataset import ChunkDataset
    from audiochunk.reader.mix import Mix, Weight
    from audiochunk.reader.rows import Rows
    from audiochunk.reader.sampler import Sampler
    from audiochunk.storage.manifest import Manifest

__all__ = [
    "AudiochunkError",
    "BuildConfig",
    "ChunkDataset",
    "ConcatDataset",
    "ConfigError",
    "DatasetError",
    "InputError",
    "MachineError",
    "Manifest",
    "NoDatasetError",
    "OutputDamagedError",
    "OutputExistsError",
    "RecordingError",
    "RecordingsError",
    "Sampler",
    "StoreError",
    "__version__",
    "build",
    "mix",
    "open",
]

_LAZY = {
    "BuildConfig": "audiochunk.config",
    "ChunkDataset": "audiochunk.reader.dataset",
    "ConcatDataset": "audiochunk.reader.concat",
    "Manifest": "audiochunk.storage.manifest",
    "Sampler": "audiochunk.reader.sampler",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def build(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    config: "BuildConfig | None" = None,
    split_file: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: "Executor | str | None" = None,
    fsync: bool = True,
    overwrite: bool = False,
    append: bool = False,
    **options: Any,
) -> "Manifest":
    """Build a dataset from a folder of recordings, as `audiochunk build` does.

    In a script, call it under `if __name__ == "__main__":`; worker processes import the script.

    Args:
        source: folder of recordings, or its URL in an object store.
        out: folder of the dataset, or its URL. A dataset of the same recordings and options that is there already is
            left alone, an interrupted build is gone on with.
        config: all options at once, in the place of `options`.
        split_file: table of path or folder, tab, split.
        workers: processes to use; None means as many as this process may use CPUs. The bytes do not depend on it.
        executor: what runs the tasks instead; `workers` is then how many it has. Or "dask://host:port", a scheduler,
            which knows that itself.
        fsync: whether the dataset must survive a loss of power once this returns.
        overwrite: whether another dataset in `out` may be replaced.
        append: whether to add recordings that are new to the dataset in `out`, with the options that it was made with.
            Its shards are neither read nor changed; new ones follow.
        options: all others of the command line: bits, block, chunk_bytes, layout, quantizer, byte_order, tail, split,
            group_by, split_seed, shard_size, compress, chunks_per_frame, include, exclude, on_error.

    Returns:
        The manifest of the dataset.

    Raises:
        ConfigError: the options do not go together.
        InputError: nothing can be made of the input, or recordings of the dataset that others are added to are gone or
            changed.
        NoDatasetError: there is no dataset to add to.
        RecordingsError: recordings that cannot be used, with on_error="fail".
        OutputExistsError: `out` holds something else.
        OutputDamagedError: `out` holds a damaged dataset.
        MachineError: the machine refused: space, permission, limits, a lock; or a store or the network did.
    """
    from audiochunk.config import BuildConfig
    from audiochunk.config.build import OPTIONS
    from audiochunk.config.checks import require_known
    from audiochunk.pipeline import output, run

    if config is not None and options:
        raise ConfigError(f"config and {', '.join(options)}: give one or the other")
    require_known(options, (*OPTIONS, *(build.__kwdefaults__ or ())))
    if config is None:
        config = output.config_of(out, options) if append else BuildConfig.make(**options)
    return run.build(
        source,
        out,
        config,
        split_file=split_file,
        workers=workers,
        executor=executor,
        fsync=fsync,
        overwrite=overwrite,
        append=append,
    ).manifest


def open(
    path: str | os.PathLike[str],
    split: str = "train",
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int | str | None = None,
) -> "ChunkDataset":
    """Open one split of a dataset for reading.

    Args:
        path: folder of the dataset, or its URL: s3://, gs://, hf:// and what else fsspec knows. Its shards are fetched
            on first use.
        split: which part of it.
        cache: of a URL, the folder where shards are kept that were fetched. None means AUDIOCHUNK_CACHE, or else
            audiochunk in XDG_CACHE_HOME or ~/.cache.
        cache_bytes: that it may hold, also as text ("200GiB"). None means AUDIOCHUNK_CACHE_BYTES, or else 16 GiB.

    Raises:
        NoDatasetError: there is no dataset.
        DatasetError: it is damaged.
        ConfigError: it has no such split, or the URL is not taken.
        StoreError: the store could not be read.
    """
    from audiochunk.reader.dataset import ChunkDataset

    return ChunkDataset(path, split, cache=cache, cache_bytes=cache_bytes)


def mix(sources: "Sequence[tuple[Rows, Weight]]", *, seed: int = 0, n: int | None = None) -> "Mix":
    """Draw rows of several datasets by weight, without end: see `audiochunk.reader.mix.Mix`.

    Args:
        sources: (dataset or view of one, weight above 0); their rows have one length and dtype.
        seed: `0 <= seed < 2**64`.
        n: draws that a sampler takes for an epoch; None means as many as the datasets have rows.

    Raises:
        ConfigError: no datasets, rows that differ, an empty dataset, a weight that cannot be used.
    """
    from audiochunk.reader.mix import Mix

    return Mix(sources, seed, n=n)
