"""Scan -> plan -> shards -> seal."""

import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

from audiochunk.config import BuildConfig
from audiochunk.errors import (
    ConfigError,
    MachineError,
    OutputExistsError,
    printable,
    reason,
)
from audiochunk.pipeline import build_folder, output
from audiochunk.pipeline.built import Built
from audiochunk.pipeline.earlier import Earlier
from audiochunk.pipeline.executors import DASK, Workers, executor_of, refuse_to_run_in_a_worker, usable_cpus
from audiochunk.pipeline.failures import Failures
from audiochunk.pipeline.inputs import absolute, appended_to, input_root, path_of, require_apart, store_of
from audiochunk.pipeline.making import GO_ON, Making
from audiochunk.pipeline.places import forget_stores, objects_at
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.prepare import make_plan, with_split_file
from audiochunk.pipeline.seal import seal
from audiochunk.pipeline.site import site_of_folder
from audiochunk.pipeline.splits import check_split
from audiochunk.pipeline.table import Table
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import BUILD_FOLDER, RECORDINGS, Manifest
from audiochunk.storage.shard import shard_name

MEMORY = "memory://"  # a store that no other process sees
_ADVICE = {
    errno.ENOSPC: f"; make room{GO_ON}",
    errno.EDQUOT: f"; the quota is used up{GO_ON}",
    errno.EFBIG: f"; a file may not grow so large here (ulimit -f){GO_ON}",
    errno.EMFILE: f" (ulimit -n){GO_ON}",
    errno.EACCES: "; choose another --out",
    errno.EROFS: "; choose another --out",
}


def build(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor | str | None = None,
    fsync: bool = True,
    overwrite: bool = False,
    append: bool = False,
    watcher: Watcher | None = None,
) -> Built:
    """Build a dataset from a folder of recordings, go on with an interrupted build, or find it up to date.

    Args:
        source: folder of recordings, or its URL.
        out: folder of the dataset, or its URL.
        config: what decides its bytes.
        split_file: table of path or folder, tab, split.
        workers: processes to use; None means as many as this process may use CPUs.
        executor: what runs the tasks instead, or its name, "local" or "dask://host:port"; `workers` is then how many it
            has, which a cluster knows itself.
        fsync: whether the dataset must survive a loss of power once this returns.
        overwrite: whether a dataset in `out` may be replaced.
        append: whether to add recordings that are new to the dataset in `out`, whose shards are neither read nor
            changed.
        watcher: told of progress and warnings.

    Raises:
        ConfigError: the options do not go together.
        InputError: nothing can be made of the input, or recordings of the dataset that others are added to are not as
            they were.
        NoDatasetError: there is no dataset to add to.
        RecordingsError: recordings that cannot be used, with `on_error="fail"`.
        OutputExistsError: `out` holds something else.
        MachineError: the folder cannot be written, is locked, or a worker died.
    """
    began = time.perf_counter()
    refuse_to_run_in_a_worker()
    forget_stores()
    watcher = watcher or Watcher()
    n = usable_cpus() if workers is None else workers
    if n < 1:
        raise ConfigError(f"workers must be at least 1, not {n}")
    if workers is not None and isinstance(executor, str) and executor.startswith(DASK):
        raise ConfigError(f"workers and executor {executor}: a cluster has the workers that it has; leave workers out")
    if append and overwrite:
        raise ConfigError("append and overwrite: a dataset is added to or replaced, not both")
    check_split(config.options)
    n = 1 if executor is None and any(str(place).startswith(MEMORY) for place in (source, out)) else n
    require_apart(source, out)
    if append:
        appended_to(out)
    if (url := store_of(out)) is not None:
        built = _build_into_store(
            source,
            url,
            config,
            split_file=split_file,
            workers=n,
            executor=executor,
            overwrite=overwrite,
            watcher=watcher,
        )
        return replace(built, seconds=time.perf_counter() - began)
    folder = path_of(out)
    with machine_errors(folder):
        found = output.look(folder, overwrite=overwrite)
    earlier = None
    if append:
        manifest = output.require_dataset(found, folder, with_split_file(config, split_file)[0])
        earlier = Earlier(folder, manifest, watcher)
    elif found is not None and not overwrite and split_file is None:
        output.check_options(found, folder, config)
    with executor_of(executor) as given, Workers(n, given) as at_work:
        planned = make_plan(source, config, split_file=split_file, watcher=watcher, workers=at_work, earlier=earlier)
        if found is not None and not overwrite and not (append and planned.recordings):
            built = _up_to_date(found, folder, planned, watcher, append=append)
        else:
            watcher.planned(planned, n_chunks=planned.n_chunks)
            root = absolute(input_root(source))
            built = _build(
                root, folder, planned, at_work, fsync=fsync, overwrite=overwrite, earlier=earlier, watcher=watcher
            )
    return replace(built, seconds=time.perf_counter() - began)


def _build_into_store(
    source: str | os.PathLike[str],
    url: str,
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None,
    workers: int,
    executor: Executor | str | None,
    overwrite: bool,
    watcher: Watcher,
) -> Built:
    from audiochunk.pipeline.store import build as store_build
    from audiochunk.pipeline.store import output as store_output
    from audiochunk.storage.objects import Objects

    out = objects_at(Objects(url).url)
    found = store_output.look(out, overwrite=overwrite)
    if found.manifest is not None and not overwrite and split_file is None:
        output.check_options(found.manifest, out.url, config)
    with executor_of(executor) as given, Workers(workers, given) as at_work, machine_errors(Path(gettempdir())):
        planned = make_plan(source, config, split_file=split_file, watcher=watcher, workers=at_work)
        if found.manifest is not None and not overwrite:
            return store_build.up_to_date(found, found.manifest, planned, watcher)
        watcher.planned(planned, n_chunks=planned.n_chunks)
        root = absolute(input_root(source))
        return store_build.build(root, out, planned, at_work, overwrite=overwrite, watcher=watcher)


def _up_to_date(manifest: Manifest, folder: Path, planned: Plan, watcher: Watcher, *, append: bool) -> Built:
    if not append:
        output.check_options(manifest, folder, planned.config)
        output.check_recordings(manifest, folder, planned, watcher)
    output.check_shards(manifest, folder)
    with machine_errors(folder):
        build_folder.finish(folder, manifest)
    return Built(manifest, planned, {}, up_to_date=True)


def _build(
    root: bytes,
    folder: Path,
    planned: Plan,
    workers: Workers,
    *,
    fsync: bool,
    overwrite: bool,
    earlier: Earlier | None,
    watcher: Watcher,
) -> Built:
    with machine_errors(folder), build_folder.entered(folder, planned.config, fsync=fsync) as (work, before):
        # Once more, now that nobody else can build here.
        found = output.look(folder, overwrite=overwrite)
        if found != (None if earlier is None else earlier.manifest) and not overwrite:
            raise OutputExistsError(str(folder), "another build has made a dataset here meanwhile", "build again")
        if earlier is not None:
            output.check_shards(earlier.manifest, folder)
        if earlier is not None or overwrite:
            names = (shard_name(*at, planned.config.compression) for at in planned.shards.places())
            output.require_free(folder, names, overwrite=overwrite)
        build_folder.take_back_plan(work)
        build_folder.clear(folder)
        if overwrite:
            output.clear(folder, fsync=fsync)
        if before is not None and before != planned.config:
            differing = ", ".join(before.differences(planned.config))
            watcher.warn(f"the build that was interrupted had other options ({differing}); what still fits is kept")
        failures = Failures(work, planned.config.encoding)
        if planned.config.options.on_error == "skip":
            failures.recall(planned.recordings)
        return make_and_seal(
            root, folder, planned, workers, failures=failures, fsync=fsync, earlier=earlier, watcher=watcher
        )


def make_and_seal(
    root: bytes,
    folder: Path,
    planned: Plan,
    workers: Workers,
    *,
    failures: Failures,
    fsync: bool,
    earlier: Earlier | None = None,
    watcher: Watcher,
) -> Built:
    """Make the shards that are missing, and a dataset of all. The caller holds the lock of the build folder."""
    work = folder / BUILD_FOLDER
    making = Making(root, os.fsencode(work), planned, failures)
    with Table(planned, work / RECORDINGS, failures.reasons, watcher, earlier) as table:
        with site_of_folder(workers, root, os.fsencode(work), planned) as seen:
            making.shards(workers, watcher, site=seen, fsync=fsync, meanwhile=table.write_some)
        if earlier is None:
            making.refuse_nothing()
        manifest = seal(
            planned,
            making.records,
            failures.reasons,
            folder=folder,
            table=table,
            fsync=fsync,
            earlier=None if earlier is None else earlier.manifest,
        )
    return Built(manifest, planned, failures.reasons, making.reused, making.rebuilt)


@contextmanager
def machine_errors(folder: Path) -> Iterator[None]:
    """Say in a sentence what the machine refused."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        where = printable(error.filename) if error.filename else printable(str(folder))
        raise MachineError(f"{where}: {reason(error)}{advice}") from error
