"""Everything in a dataset's folder against everything else, without the recordings."""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from audiochunk.config import Encoding
from audiochunk.errors import printable, reason
from audiochunk.pipeline.build_folder import is_of_seal, is_ours, is_sealed
from audiochunk.signal.quantize import silence
from audiochunk.storage.manifest import BESIDE, BUILD_FOLDER, MANIFEST, RECORDINGS, Manifest, ShardEntry
from audiochunk.storage.shard import ShardSpec
from audiochunk.tools.card.marks import of_another
from audiochunk.tools.finding import Finding
from audiochunk.tools.held import Held
from audiochunk.tools.stored import first_difference, open_file, open_shard, read_manifest
from audiochunk.tools.table import check_table

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


def verify(folder: "Folder", *, on_bytes: Callable[[int], None] | None = None) -> list[Finding]:
    """All that is wrong with a dataset: nothing, if it is what it says.

    Compared are the manifest with its schema; the files that are there with those it names; cards that lie there with
    the manifest that they were made of; of each shard the size, the header, the digest, the seek table, every zstd
    frame and its checksum, the range of the codes, the padding; of the recordings table the digest, the form and order
    of its rows, the splits, and every number that follows from others; the sums in the manifest, and the chunks of each
    shard, with the table.

    Not seen is a change of compressed bytes that decode to the same content as before, because digests are of the
    content, nor one of an option from which nothing in the dataset follows (`split_seed` where everything is "train").

    Args:
        folder: of the dataset. In a store, all of it is fetched, one object at a time, and none is taken from a cache.
        on_bytes: told of the bytes of chunks, uncompressed, as they are looked at.

    Returns:
        What was found, in the order: manifest, files, recordings table, shards. Of a manifest that cannot be read it
        is the only finding: all else would be compared with it.

    Raises:
        NoDatasetError: there is no dataset here.
        MachineError: a file may not be read, too many are open, or there is no room for a copy of an object.
        StoreError: the store that the folder is in could not be read.
    """
    manifest = read_manifest(folder)
    if isinstance(manifest, Finding):
        return [manifest]
    fd, findings = open_file(folder, MANIFEST)
    if fd is not None:
        os.close(fd)
    findings += _unknown_files(folder, manifest)
    findings += (
        Finding(name, "dataset", "a card of this dataset", "one of another; make it anew")
        for name in of_another(folder, manifest)
    )
    held, wrong = check_table(folder, manifest)
    findings += wrong
    comparable: dict[str, Held] = {}
    for split, entries in groupby(manifest.shards, lambda shard: shard.split):
        shards, of_split = list(entries), (held or {}).get(split)
        # Where the sums differ, which was found above, nothing can be said of single shards.
        if of_split is not None and of_split.chunks == manifest.splits[split].chunks:
            findings += _chunks_of_shards(shards, of_split, manifest)
            comparable[split] = of_split
    for index, first, entry in _numbered(manifest):
        of_split = comparable.get(entry.split)
        padding = [] if of_split is None else _padding_of_shard(first, entry, of_split, manifest.encoding)
        findings += _check_shard(folder, entry, index, manifest, padding, on_bytes)
    return findings


def _numbered(manifest: Manifest) -> Iterator[tuple[int, int, ShardEntry]]:
    """Every shard with its number in its split, and that of its first chunk."""
    for _, entries in groupby(manifest.shards, lambda shard: shard.split):
        first = 0
        for index, entry in enumerate(entries):
            yield index, first, entry
            first += entry.chunks


def _unknown_files(folder: "Folder", manifest: Manifest) -> Iterator[Finding]:
    known = {MANIFEST, RECORDINGS, *(shard.name for shard in manifest.shards)}
    if not isinstance(folder, Path):
        stored = {info.name.partition("/")[0] for info in folder.objects.list()}
        for name in sorted(stored - known - {*BESIDE, BUILD_FOLDER}):
            yield Finding(printable(name), "name", "only files that the manifest names", "another one")
        return
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield Finding(".", "content", "a folder that can be listed", reason(error))
        return
    # A kill between the last two steps of a build leaves its folder beside a whole dataset; a build that was to add
    # recordings leaves what had come to its place, too.
    unfinished = is_ours(folder / BUILD_FOLDER)
    for name in names:
        if unfinished and (name == BUILD_FOLDER or is_sealed(folder, name) or is_of_seal(name)):
            continue
        if name in BESIDE and (folder / name).is_file():
            continue
        if name == ".cache" and _names(folder / name) == ["huggingface"]:
            continue  # what `hf download --local-dir` knows of the files that it has fetched
        if name not in known:
            yield Finding(printable(name), "name", "only files that the manifest names", "another one")


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def _chunks_of_shards(shards: list[ShardEntry], held: Held, manifest: Manifest) -> Iterator[Finding]:
    """Compare how many chunks each shard of a split has with how many the plan gave it and recordings kept."""
    per_shard = max(1, manifest.options.shard_size // manifest.encoding.chunk_bytes)
    if manifest.generations > 1:
        yield from _chunks_of_generations(shards, held, manifest.generations, per_shard)
        return
    planned = -(-held.planned // per_shard)
    if planned != len(shards):
        yield Finding(MANIFEST, f"shards of {shards[0].split}", f"{planned:,}", f"{len(shards):,}")
        return
    for index, shard in enumerate(shards):
        expected = held.chunks_between(index * per_shard, (index + 1) * per_shard)
        if shard.chunks != expected:
            yield Finding(MANIFEST, f"chunks of {shard.name}", f"{expected:,}", f"{shard.chunks:,}")


def _chunks_of_generations(shards: list[ShardEntry], held: Held, generations: int, per_shard: int) -> Iterator[Finding]:
    """The same where nothing says which recording is the last of a generation, and so in a shard that is not full."""
    least = held.generations([shard.chunks for shard in shards], per_shard)
    if len(least) < len(shards):
        shard = shards[len(least)]
        wanted = f"what recordings fill it with, at most {per_shard:,}"
        yield Finding(MANIFEST, f"chunks of {shard.name}", wanted, f"{shard.chunks:,}")
    elif least[-1] > generations:
        what = f"shards of {shards[0].split} that are not full"
        yield Finding(MANIFEST, what, f"at most {generations:,}", f"{least[-1]:,}")


def _padding_of_shard(first: int, shard: ShardEntry, held: Held, encoding: Encoding) -> list[tuple[int, int]]:
    """Ranges of bytes in the data of a shard, whose first chunk has that number in its split, that hold padding."""
    low, high = (bisect_left(held.padded, (chunk,)) for chunk in (first, first + shard.chunks))
    return [
        (
            (chunk - first) * encoding.chunk_bytes + real * encoding.bytes_per_code,
            (chunk - first + 1) * encoding.chunk_bytes,
        )
        for chunk, real in held.padded[low:high]
    ]


def _check_shard(
    folder: "Folder",
    entry: ShardEntry,
    index: int,
    manifest: Manifest,
    padding: list[tuple[int, int]],
    on_bytes: Callable[[int], None] | None,
) -> Iterator[Finding]:
    spec = ShardSpec(entry.split, index, entry.chunks, manifest.encoding)
    shard, wrong = open_shard(folder, entry, spec, manifest.compression)
    yield from wrong
    if shard is None:
        return
    with shard:
        yield from shard.check_header()
        # Of the header that should be there: so that damage to the one that is says nothing of the data.
        digest = xxhash.xxh3_128(spec.header())
        codes = _Codes(entry.name, manifest.encoding, padding)
        is_whole = shard.data_bytes == spec.data_bytes
        for number in range(shard.n_pieces):
            data = shard.piece(number)
            if isinstance(data, Finding):
                yield data
                is_whole = False
                continue
            digest.update(data)
            yield from codes.look(number * shard.piece_bytes, data)
            if on_bytes is not None:
                on_bytes(len(data))
        yield from codes.finish()
        if is_whole and digest.hexdigest() != entry.digest:
            yield Finding(entry.name, "digest", entry.digest, digest.hexdigest())


class _Codes:
    """Looks at the codes of one shard, piece by piece: those of 12 bits for their range, padding for silence."""

    def __init__(self, name: str, encoding: Encoding, padding: list[tuple[int, int]]) -> None:
        self._name, self._encoding, self._padding = name, encoding, padding
        self._silence = silence(bits=encoding.bits).to_bytes(encoding.bytes_per_code, encoding.byte_order)
        self._next = 0  # of the padding
        self._out_of_range: list[tuple[int, int]] = []  # the first one's byte and value
        self._n_out_of_range = 0

    def look(self, at: int, data: bytes) -> Iterator[Finding]:
        """What is wrong in the data from byte `at` on; pieces come in order, and may be left out."""
        end, width = at + len(data), self._encoding.bytes_per_code
        if self._encoding.bits == 12:
            codes = np.frombuffer(data, "<u2" if self._encoding.byte_order == "little" else ">u2", len(data) // 2)
            if codes.size and codes.max() >= 4096:
                wrong = np.flatnonzero(codes >= 4096)
                self._n_out_of_range += len(wrong)
                self._out_of_range.append((at + 2 * int(wrong[0]), int(codes[wrong[0]])))
                del self._out_of_range[1:]
        while self._next < len(self._padding) and self._padding[self._next][0] < end:
            start, stop = self._padding[self._next]
            low, high = max(start, at), min(stop, end)
            if low < high:
                # Chunks and pieces begin with whole codes, a file that was cut may end within one.
                expected = (self._silence * ((high - low) // width + 1))[: high - low]
                wrong_at = low + first_difference(expected, data[low - at : high - at])
                if wrong_at < high:
                    self._next += 1
                    code = wrong_at // width * width
                    found = data[code - at : code - at + width]
                    yield Finding(self._name, self._place(code), f"{self._silence.hex(' ')} as padding", found.hex(" "))
                    continue
            if stop > end:
                break
            self._next += 1

    def finish(self) -> Iterator[Finding]:
        """What is wrong with all pieces together."""
        for at, code in self._out_of_range:
            more = f" and {self._n_out_of_range - 1:,} more like it" if self._n_out_of_range > 1 else ""
            yield Finding(self._name, self._place(at), "codes below 4,096", f"{code:,}{more}")

    def _place(self, at: int) -> str:
        chunk, within = divmod(at, self._encoding.chunk_bytes)
        return f"chunk {chunk:,}, code {within // self._encoding.bytes_per_code:,}"
