"""What a build would come to; nothing is decoded, and nothing written."""

import os
from dataclasses import dataclass
from pathlib import Path

from audiochunk.config import BuildConfig
from audiochunk.errors import ConfigError
from audiochunk.pipeline import output
from audiochunk.pipeline.earlier import Earlier
from audiochunk.pipeline.executors import Workers, refuse_to_run_in_a_worker, usable_cpus
from audiochunk.pipeline.inputs import appended_to, path_of, require_apart, store_of
from audiochunk.pipeline.places import forget_stores, objects_at
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.prepare import make_plan, with_split_file
from audiochunk.pipeline.run import machine_errors
from audiochunk.pipeline.splits import check_split
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.shard import shard_name


@dataclass(frozen=True, slots=True)
class Preview:
    """What a build would come to.

    Attributes:
        plan: that it would be built by.
        manifest: of the dataset that recordings would be added to, or that is the one asked for; else None.
        up_to_date: whether there would be nothing to do.
    """

    plan: Plan
    manifest: Manifest | None = None
    up_to_date: bool = False


def preview(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: BuildConfig,
    *,
    split_file: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    append: bool = False,
    watcher: Watcher | None = None,
) -> Preview:
    """What `build` would come to, were no recording to fail while it is decoded. The arguments are those of `build`.

    Of a dataset in a store, only the options are compared.

    Raises:
        AudiochunkError: what `build` would raise before it makes the first shard.
    """
    refuse_to_run_in_a_worker()
    watcher = watcher or Watcher()
    if append and overwrite:
        raise ConfigError("append and overwrite: a dataset is added to or replaced, not both")
    require_apart(source, out)
    check_split(config.options)
    if append:
        appended_to(out)
    folder = None if store_of(out) is not None else path_of(out)
    manifest = _look(folder or out, overwrite=overwrite)
    earlier = None
    if append and folder is not None:
        manifest = output.require_dataset(manifest, folder, with_split_file(config, split_file)[0])
        earlier = Earlier(folder, manifest, watcher)
    elif manifest is not None and split_file is None:
        output.check_options(manifest, folder or str(out), config)
    with Workers(usable_cpus() if workers is None else workers) as at_work:
        planned = make_plan(source, config, split_file=split_file, watcher=watcher, workers=at_work, earlier=earlier)
    if manifest is not None and not append:
        output.check_options(manifest, folder or str(out), planned.config)
    if folder is None:
        return Preview(planned)
    with machine_errors(folder):
        if manifest is not None and not (append and planned.recordings):
            if not append:
                output.check_recordings(manifest, folder, planned, watcher)
            output.check_shards(manifest, folder)
            return Preview(planned, manifest, up_to_date=True)
        if manifest is not None:
            output.check_shards(manifest, folder)
        if append or overwrite:
            names = (shard_name(*place, planned.config.compression) for place in planned.shards.places())
            output.require_free(folder, names, overwrite=overwrite)
    watcher.sealing_begins()  # what was told of old rows is void
    return Preview(planned, manifest)


def _look(out: str | os.PathLike[str], *, overwrite: bool) -> Manifest | None:
    """The manifest of the dataset in a folder or store, unless it may be overwritten.

    Raises:
        OutputExistsError: there is something else.
        MachineError: it cannot be read.
    """
    if isinstance(out, Path):
        with machine_errors(out):
            manifest = output.look(out, overwrite=overwrite)
    else:
        from audiochunk.pipeline.store import output as store_output
        from audiochunk.storage.objects import Objects

        forget_stores()
        manifest = store_output.look(objects_at(Objects(str(out)).url), overwrite=overwrite).manifest
    return None if overwrite else manifest
