"""What codecs, bounds and trained models make of the same chunks: sizes that can be compared."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from audiochunk.errors import ConfigError, printable
from audiochunk.pipeline.executors import Workers
from audiochunk.reader.dataset import ChunkDataset
from audiochunk.reader.location import stream_of
from audiochunk.storage.manifest import Manifest
from audiochunk.tools.codecs.entropy import CodeCounts
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.scores import Scores
from audiochunk.tools.sizes import Sum, Task, measure
from audiochunk.tools.sounds import batches, choose, cut

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder

Convention = Literal["chunked", "chunked-header-once", "whole", "bound"]
_OF_MODELS: tuple[Convention, ...] = ("chunked", "chunked-header-once")
ENTROPIES = ("entropy-0", "entropy-1")
NAMES = (*CODECS, *ENTROPIES)

_CHUNKS_AT_ONCE = 512
_BYTES_AT_ONCE = 2**22
_TIMES_EACH = 8  # that things must occur, on average, for their entropy to say something
_LEAST_BITS = 0.02  # a byte, below which scores are taken for something else


@dataclass(frozen=True, slots=True)
class Row:
    """What one codec makes of the chunks, counted in one way.

    Attributes:
        codec: its name.
        convention: "chunked", each chunk alone; "chunked-header-once", the same with the codec's header counted once;
            "whole", the chunks of each stream together; "bound", an entropy of the codes.
        raw_bytes: of the chunks.
        samples: that they hold.
        compressed_bytes: None where it is not known, for the reason in
        missing: how to get the codec, how it failed, or why else there is no figure.
        version: of what makes the bytes; None of what makes none.
        encode_s: seconds that encoding took, of all processes together; None where nothing is encoded.
        decode_s: likewise.
    """

    codec: str
    convention: Convention
    raw_bytes: int
    samples: int
    compressed_bytes: int | None
    missing: str | None = None
    version: str | None = None
    encode_s: float | None = None
    decode_s: float | None = None

    def plain(self) -> dict[str, Any]:
        """The row as values that JSON can hold.

        percent_of_raw is LMIC's compression rate; ratio is its inverse; MB/s are millions of raw bytes a second in one
        process.
        """
        size, raw = self.compressed_bytes, self.raw_bytes
        known = {"missing": self.missing} if self.missing is not None else {}
        return {
            "codec": self.codec,
            "convention": self.convention,
            "raw_bytes": raw,
            "compressed_bytes": size,
            "percent_of_raw": None if size is None else 100 * size / raw,
            "bits_per_byte": None if size is None else 8 * size / raw,
            "bits_per_sample": None if size is None else 8 * size / self.samples,
            "ratio": raw / size if size else None,
            "encode_mb_s": raw / 1e6 / self.encode_s if self.encode_s else None,
            "decode_mb_s": raw / 1e6 / self.decode_s if self.decode_s else None,
            "samples": self.samples,
            "version": self.version,
            **known,
        }


class Evaluation:
    """Codecs and models, on the same chunks of a dataset.

    Args:
        folder: of the dataset.
        split: which one; None means all.
        codecs: of `NAMES`; None means all of them.
        scores: of models, for chunks of the one split there is. Only chunks that all of them have are looked at.
        max_chunks: look at no more than so many, of streams in a random order.
        seed: of that order.

    Attributes:
        raw_bytes: of the chunks that are looked at.
        n_chunks: how many they are.
        samples: that they hold,
        bits: of each.
        first: the chunks of the split that models have scores of, from its first; None without models.

    Raises:
        ConfigError: no such codec or split, codecs of which none is there, scores that do not fit, or no chunks.
        DatasetError: the dataset is damaged.
    """

    def __init__(
        self,
        folder: "Folder",
        *,
        split: str | None = None,
        codecs: Sequence[str] | None = None,
        scores: Sequence[Scores] = (),
        max_chunks: int | None = None,
        seed: int = 0,
    ) -> None:
        if unknown := sorted(set(codecs or ()) - set(NAMES)):
            raise ConfigError(f"no codec {unknown[0]!r}; there are: {', '.join(NAMES)}")
        self._names = [name for name in NAMES if codecs is None or name in codecs]
        self._codecs = [CODECS[name] for name in self._names if name in CODECS and CODECS[name].missing() is None]
        self._scores = scores
        lacking = {name: CODECS[name].missing() for name in self._names if name in CODECS}
        # One among several is a row that says so.
        if codecs and not scores and len(lacking) == len(self._names) and all(lacking.values()):
            raise ConfigError("not there: " + "; ".join(f"{name}: {how}" for name, how in lacking.items()))
        names = [split] if split is not None else sorted(Manifest.read(folder).splits)
        self._datasets = {name: ChunkDataset(folder, name) for name in names}
        self.first = self._scored()
        self._excerpts = choose([*self._datasets.values()], first=self.first, max_chunks=max_chunks, seed=seed)
        if not self._excerpts:
            raise ConfigError(f"{printable(str(folder))}: there are no chunks to look at")
        self._encoding = encoding = next(iter(self._datasets.values())).encoding
        self.bits = encoding.bits
        self.n_chunks = int(self._excerpts.chunks.sum())
        self.raw_bytes = self.n_chunks * encoding.chunk_bytes
        self.samples = sum(stream_of(excerpt.row, encoding).real_codes(0, excerpt.chunks) for excerpt in self._excerpts)

    @property
    def splits(self) -> list[str]:
        """Names of the splits that are looked at."""
        return list(self._datasets)

    @property
    def all_splits(self) -> list[str]:
        """Names of all splits that the dataset has."""
        return sorted(next(iter(self._datasets.values())).splits)

    @property
    def dataset_id(self) -> str:
        """The identity of the dataset's chunks."""
        return next(iter(self._datasets.values())).dataset_id

    @property
    def n_bytes(self) -> int:
        """Raw bytes that `run` deals with, all codecs and ways together."""
        return self.raw_bytes * (2 * len(self._codecs) + self._wants_entropy)

    @property
    def _wants_entropy(self) -> bool:
        return any(name in ENTROPIES for name in self._names)

    def run(self, *, workers: int = 1, on_bytes: Callable[[int], None] | None = None) -> list[Row]:
        """What they make of the chunks; all that is encoded is decoded again and compared.

        Args:
            workers: processes to use.
            on_bytes: told of raw bytes as they have been dealt with, `n_bytes` in all.

        Returns:
            Rows by codec, in the order of `NAMES`, then of models; of each of them by convention.

        Raises:
            CodecError: what came back is not what was given.
            MachineError: a worker died.
            DatasetError: a shard is damaged.
        """
        sums = {(codec.name, way): Sum() for codec in self._codecs for way in ("chunked", "whole")}
        counts, failed = CodeCounts(bits=self._encoding.bits), dict[str, str]()
        with tempfile.TemporaryDirectory(prefix="audiochunk-") as scratch, Workers(workers) as pool:
            for done in pool.run(measure, self._tasks(scratch), name=lambda task: f"{task.codec}, {task.way}"):
                if isinstance(done.found, CodeCounts):
                    counts.update(done.found)
                elif isinstance(done.found, Sum):
                    sums[done.codec, done.way].add(done.found)
                else:
                    failed[done.codec] = done.found
                if on_bytes is not None:
                    on_bytes(done.raw_bytes)
        rows = [row for name in self._names if name in CODECS for row in self._codec_rows(name, sums, failed)]
        rows += self._entropy_rows(counts) if self._wants_entropy else []
        return rows + [row for scores in self._scores for row in self._model_rows(scores)]

    def _scored(self) -> int | None:
        """How many chunks, from the first, all models have scores of; None without models."""
        if not self._scores:
            return None
        if len(self._datasets) > 1:
            raise ConfigError(f"scores are of one split; give --split, one of: {', '.join(self._datasets)}")
        (ds,) = self._datasets.values()
        for scores in self._scores:
            if len(scores.bits) > len(ds):
                raise ConfigError(
                    f"{scores.name}: {len(scores.bits):,} scores for the {len(ds):,} chunks of {ds.split}"
                )
        return min(len(scores.bits) for scores in self._scores)

    def _tasks(self, scratch: str) -> Iterator[Task]:
        at_once = max(1, _BYTES_AT_ONCE // self._encoding.chunk_bytes)
        few = min(at_once, _CHUNKS_AT_ONCE)

        def tasks(codec: str, way: str) -> Iterator[Task]:
            # Cut anew for every codec: there may be millions.
            found = batches(self._excerpts, at_once) if way == "whole" else batches(cut(self._excerpts, few), few)
            return (Task(codec, way, self._datasets, batch, scratch) for batch in found)

        for codec in self._codecs:
            yield from tasks(codec.name, "chunked")
            yield from tasks(codec.name, "whole")
        if self._wants_entropy:
            yield from tasks("entropy", "bound")

    def _row(self, codec: str, convention: Convention, n_bytes: float | None, **more: Any) -> Row:
        size = None if n_bytes is None else ceil(n_bytes)
        return Row(codec, convention, self.raw_bytes, self.samples, size, **more)

    def _codec_rows(self, name: str, sums: dict[tuple[str, str], Sum], failed: dict[str, str]) -> Iterator[Row]:
        if (missing := CODECS[name].missing() or failed.get(name)) is not None:
            for convention in ("chunked", "chunked-header-once", "whole"):
                yield self._row(name, convention, None, missing=missing)
            return
        alone, together = sums[name, "chunked"], sums[name, "whole"]
        version = CODECS[name].version()
        times: dict[str, Any] = {"version": version, "encode_s": alone.encode_s, "decode_s": alone.decode_s}
        yield self._row(name, "chunked", alone.compressed_bytes, **times)
        once = alone.compressed_bytes - alone.header_bytes + alone.one_header
        yield self._row(name, "chunked-header-once", once, **times)
        times = {"version": version, "encode_s": together.encode_s, "decode_s": together.decode_s}
        yield self._row(name, "whole", together.compressed_bytes, **times)

    def _entropy_rows(self, counts: CodeCounts) -> Iterator[Row]:
        found = counts.entropies()
        why_not: dict[str, str | None] = {
            "entropy-0": _too_few(found.n_codes, found.distinct_codes, "codes"),
            "entropy-1": found.why_not or _too_few(found.n_pairs, found.distinct_pairs, "pairs of codes"),
        }
        bits = {"entropy-0": found.order_0 * found.n_codes}
        # The first code of a chunk has none before it.
        order_1 = 0.0 if found.order_1 is None else found.order_1
        bits["entropy-1"] = order_1 * found.n_pairs + found.order_0 * (found.n_codes - found.n_pairs)
        for name in self._names:
            if name in ENTROPIES:
                missing = why_not[name]
                yield self._row(name, "bound", None if missing else bits[name] / 8, missing=missing)

    def _model_rows(self, scores: Scores) -> Iterator[Row]:
        # There is one split, that of the scores, and excerpts begin with the first chunk of their stream.
        bits = sum(float(scores.bits[excerpt.numbers.start : excerpt.numbers.stop].sum()) for excerpt in self._excerpts)
        # A model has no header, so that both ways of counting come to the same.
        for convention in _OF_MODELS:
            yield self._row(f"model:{scores.name}", convention, bits / 8)

    def warnings(self) -> list[str]:
        """What of the scores looks like a mistake, in sentences."""
        return [
            f"model:{scores.name} needs {mean:.2g} bits for a chunk of {self._encoding.chunk_bytes:,} bytes:"
            " are these bits of whole chunks?"
            for scores in self._scores
            if 0 < (mean := float(scores.bits.mean())) < _LEAST_BITS * self._encoding.chunk_bytes
        ]


def _too_few(n: int, distinct: int, what: str) -> str | None:
    """Why there is no entropy of so many things; None where there are enough of them."""
    if n >= _TIMES_EACH * distinct:
        return None
    return f"too few {what} to tell: {n:,}, {distinct:,} of them different"
