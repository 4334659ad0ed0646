"""Who builds: the limit, what researchers write themselves, audiochunk and its peers; and whether they build right."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from corpora import Corpus, paths
from digests import Digest, difference, digest
from processes import Command, CommandError, run
from rounds import Contender, WrongOutputError
from scripts.reference import patches

import audiochunk

HERE = Path(__file__).parent
CHUNK = 2048
LIMIT = "limit"


@dataclass(frozen=True)
class Peer:
    """Another package that does the work: `module` in peers/ knows how.

    Attributes:
        distribution: what pip installs.
        ordered: whether its chunks come in the order of the recordings.
    """

    module: str
    distribution: str
    ordered: bool


PEERS = (
    Peer("arrayrecord", "array_record", ordered=False),
    Peer("hf", "datasets", ordered=True),
    Peer("mds", "mosaicml-streaming", ordered=False),
    Peer("lit", "litdata", ordered=False),
    Peer("wds", "webdataset", ordered=False),
)


@dataclass(frozen=True)
class Job:
    """A folder of recordings to build from.

    Attributes:
        corpus: what they are.
        source: the folder.
        recordings: how many.
        out: a folder for what contenders write.
    """

    corpus: Corpus
    source: Path
    recordings: int
    out: Path

    @property
    def chunks(self) -> int:
        return self.recordings * self.corpus.chunks

    @property
    def source_bytes(self) -> int:
        return sum(path.stat().st_size for path in paths(self.source))


@cache
def expected(source: Path) -> Digest:
    """The chunks that the reference loop makes of a folder of recordings."""
    return digest(patch for path in paths(source) for patch in patches(path))


def in_files(out: Path) -> Iterator[bytes]:
    """Chunks that lie one after the other in a file, or in the files of a folder."""
    for file in paths(out) if out.is_dir() else [out]:
        with open(file, "rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk


def in_dataset(out: Path) -> Iterator[memoryview]:
    """Chunks of a dataset of audiochunk."""
    with audiochunk.open(out) as dataset:
        for chunk in dataset:
            yield memoryview(chunk)


def in_peer(python: str, peer: Peer) -> Callable[[Path], Iterator[bytes]]:
    """A reader of the chunks of a peer's output, which the peer lays out in a file."""

    def read(out: Path) -> Iterator[bytes]:
        flat = out.with_name(f"{out.name}.flat")
        try:
            run([python, HERE / "peers/run.py", peer.module, "dump", out, flat])
            yield from in_files(flat)
        except CommandError as error:
            raise WrongOutputError(f"its output cannot be read: {error}") from error
        finally:
            flat.unlink(missing_ok=True)

    return read


def checker(
    want: Digest, read: Callable[[Path], Iterable[bytes | memoryview]], *, ordered: bool = True
) -> Callable[[Path], None]:
    """A check that an output holds the wanted chunks."""

    def check(out: Path) -> None:
        if wrong := difference(want, digest(read(out)), ordered=ordered):
            raise WrongOutputError(f"wrong output: {wrong}")

    return check


def check_size(want: int) -> Callable[[Path], None]:
    """A check that as many bytes were written."""

    def check(out: Path) -> None:
        if (found := sum(path.stat().st_size for path in paths(out))) != want:
            raise WrongOutputError(f"wrote {found:,} bytes; expected {want:,}")

    return check


def limit(job: Job, *, fsync: bool) -> Contender:
    """Read and write the same bytes."""
    n_bytes = job.chunks * CHUNK
    flags = ["--fsync"] if fsync else []
    out = job.out / "limit"
    command: Command = [sys.executable, HERE / "scripts/limit.py", job.source, out, str(n_bytes), *flags]
    return Contender(LIMIT, command, out, check_size(n_bytes))


def own_scripts(job: Job, want: Digest) -> list[Contender]:
    """What researchers write themselves."""
    which = run([sys.executable, HERE / "scripts/reference.py", "--which"]).said["converter"]
    scripts = {f"reference loop ({which})": "reference", "np.memmap script": "memmap"}
    return [
        Contender(
            name,
            [sys.executable, HERE / f"scripts/{script}.py", job.source, job.out / script],
            job.out / script,
            checker(want, in_files),
        )
        for name, script in scripts.items()
    ]


def ours(job: Job, want: Digest, *, workers: Sequence[int], compress: Sequence[str], fsync: bool) -> list[Contender]:
    """audiochunk, once for each number of workers and each compression."""
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "audiochunk",
        "build",
        job.source,
        "--out",
        job.out / "dataset",
        "--json",
    ]
    build.append("--fsync" if fsync else "--no-fsync")
    return [
        Contender(
            f"audiochunk, {n} worker{'s' * (n > 1)}" + (f", {how}" if how != "none" else ""),
            [*build, "--workers", str(n), "--compress", how],
            job.out / "dataset",
            checker(want, in_dataset),
        )
        for how in compress
        for n in workers
    ]


@cache
def version_of(python: str, peer: Peer) -> tuple[str, str]:
    """The version of a peer that an interpreter has, or empty and why it has none."""
    try:
        version = run([python, HERE / "peers/run.py", peer.module, "version"]).said["version"]
    except CommandError as error:
        absent = f"not installed: pip install {peer.distribution}"
        return "", absent if "PackageNotFoundError" in str(error) else f"cannot be imported: {error}"
    except OSError as error:
        return "", f"{python} cannot be run: {error.strerror}"
    return str(version), ""


def peers(job: Job, want: Digest, *, python: str, workers: int, max_rounds: int) -> list[Contender]:
    """All peers; those that are not installed say so."""
    found = []
    for peer in PEERS:
        out = job.out / peer.module
        version, missing = version_of(python, peer)
        found.append(
            Contender(
                f"{peer.distribution} {version}, {workers} workers" if version else peer.distribution,
                [python, HERE / "peers/run.py", peer.module, "convert", job.source, out, str(workers)],
                out,
                checker(want, in_peer(python, peer), ordered=peer.ordered),
                missing=missing,
                max_rounds=max_rounds,
            )
        )
    return found


def decoders(job: Job, *, workers: Sequence[int]) -> list[Contender]:
    """libsndfile alone, with as many processes."""
    return [
        Contender(
            f"libsndfile decodes, {n} process{'es' * (n > 1)}",
            [sys.executable, HERE / "scripts/decode.py", job.source, str(n)],
        )
        for n in workers
    ]
