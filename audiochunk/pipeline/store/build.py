"""A build into an object store: shards are made here and put there; what is left of an interrupted one lies there, too.

There is no folder that could be locked. A build makes a token in the build folder and removes those of others, and it
names shards, and writes the manifest, only while its own is there: of two builds, the one that began last goes on, and
of two that began at once, the one whose token has the greater name. What another has put in the place of a shard
nevertheless is told by its version, before the manifest is written.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from audiochunk.config import Encoding
from audiochunk.errors import MachineError, ObjectLostError, OutputDamagedError, OutputExistsError, printable
from audiochunk.pipeline import output
from audiochunk.pipeline.built import Built
from audiochunk.pipeline.executors import Workers
from audiochunk.pipeline.failures import FAILURES, Failure, Failures
from audiochunk.pipeline.making import GO_ON, Making
from audiochunk.pipeline.marker import MARKER, begun_with, marker
from audiochunk.pipeline.places import holds, in_store, temporary_place
from audiochunk.pipeline.plan import Plan
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.seal import entries_of, manifest_of
from audiochunk.pipeline.site import TOKEN, Site, check_token, site
from audiochunk.pipeline.store import output as store_output
from audiochunk.pipeline.store.output import WORK, Holding
from audiochunk.pipeline.store.scratch import scratch_folder
from audiochunk.pipeline.table import Table
from audiochunk.pipeline.watcher import Watcher
from audiochunk.storage.creation import create
from audiochunk.storage.manifest import BUILD_FOLDER, MANIFEST, RECORDINGS, Manifest, ShardEntry
from audiochunk.storage.objects import Objects
from audiochunk.storage.shard import shard_name

_MEANWHILE = "another build has made a dataset here meanwhile"


def up_to_date(found: Holding, manifest: Manifest, planned: Plan, watcher: Watcher) -> Built:
    """Find a finished dataset to be the one that is planned.

    Raises:
        OutputExistsError: it is another one, or damaged.
        DatasetError: its recordings table is damaged.
        StoreError: the store could not be read.
    """
    output.check_options(manifest, found.out.url, planned.config)
    store_output.check_shards(found, manifest)
    with scratch_folder() as folder:
        _fetch(found, folder / RECORDINGS)
        output.check_recordings(manifest, folder, planned, watcher, shown=found.out.url)
    if found.is_begun and _is_still(found, manifest):
        store_output.remove_work(found.out)
    return Built(manifest, planned, {}, up_to_date=True)


def _is_still(found: Holding, manifest: Manifest) -> bool:
    """Whether the dataset is there as it was, and no build has begun since."""
    tokens = [info.name for info in found.out.list(WORK + TOKEN)]
    try:
        return all(name in found.infos for name in tokens) and found.out.read(MANIFEST) == manifest.encode()
    except FileNotFoundError:
        return False


def _fetch(found: Holding, path: Path) -> None:
    try:
        with path.open("xb") as file:
            found.out.fetch(RECORDINGS, file)
    except FileNotFoundError:
        what = f"holds a damaged dataset (there is no {RECORDINGS})"
        raise OutputDamagedError(found.out.url, what, "choose another --out, or say --overwrite") from None


def build(root: bytes, out: Objects, planned: Plan, workers: Workers, *, overwrite: bool, watcher: Watcher) -> Built:
    """Make the shards that are missing, and a dataset of all.

    Args:
        root: the input folder, absolute, or its URL.
        out: where the dataset is to be.
        planned: the plan.
        workers: who build shards.
        overwrite: whether a dataset that is there may be replaced.
        watcher: told of progress and warnings.

    Raises:
        OutputExistsError: something else is there.
        RecordingsError: recordings failed, with on_error="fail".
        InputError: no recording could be decoded.
        MachineError: a store or this machine refused, or another build has begun.
        OSError: a local file could not be written.
    """
    found = store_output.look(out, overwrite=overwrite)
    _refuse_finished(found, overwrite=overwrite)
    names = [shard_name(*at, planned.config.compression) for at in planned.shards.places()]
    store_output.require_free(found, names)
    work = out.url_of(BUILD_FOLDER).encode()
    before = begun_with(_read_marker(out)) if WORK + MARKER in found.infos else None
    token_name = store_output.token_after(found.infos)
    with (
        scratch_folder() as folder,
        site(workers, root, work, planned, scratch=os.fsencode(folder), token_name=token_name) as seen,
        _told(seen),
    ):
        # Not before there is a token: of two that begin at once, at least one sees the other's.
        _take_over(seen)
        # What was done before that one was stopped is only now seen for certain.
        now = store_output.look(out, overwrite=overwrite)
        _refuse_finished(now, overwrite=overwrite)
        store_output.require_free(now, (n for n in names if now.infos.get(n) != found.infos.get(n)))
        check_token(seen)
        out.write(WORK + MARKER, marker(planned.config))
        if before is not None and before != planned.config:
            differing = ", ".join(before.differences(planned.config))
            watcher.warn(f"the build that was interrupted had other options ({differing}); what still fits is kept")
        failures = StoredFailures(folder, out, planned.config.encoding, seen)
        if planned.config.options.on_error == "skip":
            failures.recall(planned.recordings)
        making = Making(root, work, planned, failures)
        with Table(planned, folder / RECORDINGS, failures.reasons, watcher) as table:
            if overwrite:
                store_output.clear(now, partial(check_token, seen))
            making.shards(workers, watcher, site=seen, fsync=False, meanwhile=table.write_some)
            making.refuse_nothing()
            manifest = _seal(out, planned, making, failures, table=folder / RECORDINGS, rows=table, seen=seen)
    return Built(manifest, planned, failures.reasons, making.reused, making.rebuilt)


@contextmanager
def _told(seen: Site) -> Iterator[None]:
    """Say that another build has taken over where that is why something that was written is gone."""
    try:
        yield
    except (ObjectLostError, FileNotFoundError):
        check_token(seen)
        raise


def _refuse_finished(found: Holding, *, overwrite: bool) -> None:
    if found.manifest is not None and not overwrite:
        raise OutputExistsError(found.out.url, _MEANWHILE, "build again")


def _read_marker(out: Objects) -> bytes:
    try:
        return out.read(WORK + MARKER)
    except FileNotFoundError:  # another build has ended since
        return b""


def _take_over(seen: Site) -> None:
    """Remove the tokens of other builds, and what they have left; or yield.

    A token comes after all that were seen before it was made. Of those that were made at once, the one with the greater
    name counts as the later: whichever of the builds looks finds the same.

    Raises:
        MachineError: another build comes after this one.
        StoreError: something could not be removed.
    """
    out, own = in_store(seen.token)
    tokens = (info.name for info in out.list(WORK + TOKEN) if store_output.is_temporary(info.name.removeprefix(WORK)))
    others = [name for name in tokens if name != own]
    if any(store_output.token_order(name) > store_output.token_order(own) for name in others):
        raise MachineError(
            f"{printable(out.url)}: another build has begun there at the same time; this one ends here; build again"
            " once that one has ended"
        )
    store_output.remove_all(out, others)
    check_token(seen)
    # Listed now that nobody adds to them.
    names = [info.name for info in out.list(WORK) if store_output.is_temporary(info.name.removeprefix(WORK))]
    check_token(seen)
    store_output.remove_all(out, [name for name in names if not name.startswith(WORK + TOKEN)])


def _seal(
    out: Objects, planned: Plan, making: Making, failures: Failures, *, table: Path, rows: Table, seen: Site
) -> Manifest:
    """Turn shards that are in their places into a dataset. Each step leaves a build that goes on, or a dataset."""
    check_token(seen)
    shards = entries_of(planned, making.records)
    recordings = rows.finish(failures.reasons, making.records)
    there = store_output.look(out, overwrite=True)
    _check_named(there, shards, planned, making.versions)
    names = {shard.name for shard in shards}
    more = [name for name in there.infos if there.is_recorded(name) and name not in names]
    store_output.remove_all(out, more, partial(check_token, seen))
    # As with shards: another build removes it before it seals, so that it cannot be named over that one's.
    _, scratch = in_store(temporary_place(out.url_of(BUILD_FOLDER).encode(), RECORDINGS))
    out.upload(table, scratch)
    check_token(seen)
    out.rename(scratch, RECORDINGS, size=table.stat().st_size)
    manifest = manifest_of(planned, shards, recordings, rows.totals)
    check_token(seen)
    if not create(out, MANIFEST, manifest.encode()):
        raise OutputExistsError(out.url, _MEANWHILE, "build again")
    if holds(seen.token, seen.content):  # else another build is at work there already, and clears away
        store_output.remove_work(out)
    return manifest


def _check_named(
    there: Holding, shards: Iterable[ShardEntry], planned: Plan, versions: Mapping[tuple[str, int], str]
) -> None:
    """See that all shards are those that this build has named.

    Raises:
        OutputExistsError: another build has made a dataset of them.
        MachineError: one is not.
    """
    if MANIFEST in there.infos:
        raise OutputExistsError(there.out.url, _MEANWHILE, "build again")
    for shard, at in zip(shards, planned.shards.places(), strict=True):
        info = there.infos.get(shard.name)
        if info is None or info.size != shard.bytes or info.version != versions.get(at, info.version):
            raise MachineError(
                f"{printable(there.out.url_of(shard.name))}: is not what this build has put there; another build may be"
                f" at work{GO_ON}"
            )


class StoredFailures(Failures):
    """Reasons by path, kept in a build folder in a store.

    Args:
        folder: a local one, for a copy.
        out: the output folder.
        encoding: of the chunks.
        seen: the token of the build.
    """

    def __init__(self, folder: Path, out: Objects, encoding: Encoding, seen: Site) -> None:
        super().__init__(folder, encoding)
        self._copy, self._out, self._seen = folder / FAILURES, out, seen

    def recall(self, recordings: Iterable[Scanned]) -> None:
        """Take over what an interrupted build has found; `recordings` are those of the scan."""
        try:
            self._copy.write_bytes(self._out.read(WORK + FAILURES))
        except FileNotFoundError:
            return
        super().recall(recordings)

    def add(self, failed: Iterable[Failure]) -> None:
        """Remember more, durably; but those that may pass for this build only."""
        super().add(failed)
        check_token(self._seen)
        self._out.write(WORK + FAILURES, self._copy.read_bytes())
