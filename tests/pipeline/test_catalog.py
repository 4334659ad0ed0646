"""The recordings of a scan: the same ones whether they are in memory or in a file."""

import errno
import os
import tempfile
import weakref
from array import array
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.errors import MachineError
from audiochunk.pipeline import catalog as module
from audiochunk.pipeline.catalog import Catalog
from audiochunk.pipeline.pages import pack_numbers
from audiochunk.pipeline.scan import Scanned
from audiochunk.signal.audio import AudioInfo
from audiochunk.signal.wav import WavForm

FORM = WavForm("int", 2, False, 44)


def recording(number: int) -> Scanned:
    if number % 5 == 3:
        return Scanned(b"%05d \xff.wav" % number, number, -number, None, "no audio: Käfer")
    info = AudioInfo(8000, 1, number, "PCM_16", FORM, number % 2 == 0, (f"note {number}",))
    return Scanned(b"%05d.wav" % number, number, 2**62 + number, info)


def filled(splits: list[str]) -> Catalog:
    catalog = Catalog()
    for number, split in enumerate(splits):
        catalog.add(recording(number), split)
    return catalog


@pytest.fixture(params=[(4, 2), (4, 0), (1, 3), (512, 128)], ids=str)
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings in a page, and pages in memory; the last are those of a build."""
    page, in_memory = request.param
    monkeypatch.setattr(module, "_PAGE", page)
    monkeypatch.setattr(module, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(module, "_READ", 2)


def through_file(catalog: Catalog) -> Catalog:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # open as long as the catalog
    file.write(b"before")
    index, end = catalog.write(file, 6)
    assert file.seek(0, 2) == end
    read = Catalog.read(file, index, recordings=len(catalog), names=catalog.names)
    weakref.finalize(read, file.close)
    return read


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("kept", [lambda catalog: catalog, through_file, lambda c: through_file(through_file(c))])
@given(splits=st.lists(st.sampled_from(["train", "val", "test"]), max_size=40), first=st.integers(0, 40))
@settings(deadline=None, max_examples=40)
def test_recordings_are_as_they_came(kept: Callable[[Catalog], Catalog], splits: list[str], first: int) -> None:
    catalog = kept(filled(splits))
    wanted = [recording(number) for number in range(len(splits))]
    assert len(catalog) == len(wanted)
    assert list(catalog) == wanted
    assert list(catalog.placed()) == list(zip(wanted, splits, strict=True))
    assert [catalog[number] for number in range(-len(wanted), len(wanted))] == wanted + wanted
    assert catalog[1:30:3] == wanted[1:30:3]
    for name in ("train", "val", "test", "none"):
        expected = [r for n, (r, split) in enumerate(zip(wanted, splits, strict=True)) if split == name and n >= first]
        assert list(catalog.of_split(name, first)) == expected
    assert catalog.names == list(dict.fromkeys(splits))
    with pytest.raises(IndexError):
        catalog[len(wanted)]


@pytest.mark.usefixtures("sizes")
def test_readers_that_take_turns_do_not_disturb_each_other() -> None:
    catalog = filled(["train"] * 50)
    readers = [iter(catalog), catalog.of_split("train", 17), iter(catalog), catalog.of_split("train", 33)]
    found: list[list[Scanned]] = [[] for _ in readers]
    for _ in range(50):
        for into, reader in zip(found, readers, strict=True):
            into += [one for one in [next(reader, None)] if one is not None]
    assert [len(each) for each in found] == [50, 33, 50, 17]
    assert all(each == [recording(number) for number in range(50 - len(each), 50)] for each in found)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("n", [1, 3, 16, 100])
def test_samples_are_usable_recordings_from_all_over(n: int) -> None:
    found = filled(["train"] * 50).samples(n)
    assert all(one.info is not None for one in found)
    assert len({one.path for one in found}) == len(found) == min(n, 40)
    numbers = [one.bytes for one in found]
    assert numbers == sorted(numbers)
    assert n == 100 or all(50 * i // n <= number < 50 * (i + 1) // n for i, number in enumerate(numbers))
    assert Catalog().samples(n) == []


def test_a_file_that_was_changed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 4)
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        index, end = filled(["train"] * 10).write(file, 0)
        file.seek(end - 1)
        last = file.read(1)
        file.seek(end - 1)
        file.write(bytes([last[0] ^ 1]))
        catalog = Catalog.read(file, index, recordings=10, names=["train"])
        assert catalog[7] == recording(7)
        with pytest.raises(MachineError, match="is damaged; plan again"):
            catalog[8]
        for recordings in (8, 13):
            with pytest.raises(ValueError, match="3 pages of"):
                Catalog.read(file, index, recordings=recordings, names=["train"])


def test_who_wants_one_split_unpacks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 32)
    monkeypatch.setattr(module, "_IN_MEMORY", 0)
    unpacked: list[bytes] = []
    unpack = module._unpack
    monkeypatch.setattr(module, "_unpack", lambda data: unpacked.append(bytes(data)) or unpack(data))  # type: ignore[func-returns-value]
    catalog = filled([f"s{number % 8}" for number in range(320)])
    for split in catalog.names:
        assert len(list(catalog.of_split(split))) == 40
    assert len(unpacked) == 320


def test_pages_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        index, _ = filled(["train"] * 10).write(file, 0)
        for field, value in (("starts", 2**63), ("sizes", 2**62)):
            wrong = msgspec.structs.replace(index, **{field: pack_numbers(array("Q", [value]))})
            with pytest.raises(ValueError, match="behind the end"):
                Catalog.read(file, wrong, recordings=10, names=["train"])
        with pytest.raises(ValueError, match="more places than sizes"):
            Catalog.read(file, msgspec.structs.replace(index, sizes=b""), recordings=10, names=["train"])
        garbage = xxhash.xxh3_64_intdigest(os.pread(file.fileno(), 8, 0))
        wrong = msgspec.structs.replace(
            index, sizes=pack_numbers(array("Q", [8])), digests=pack_numbers(array("Q", [garbage]))
        )
        with pytest.raises(MachineError, match="is damaged; plan again"):
            Catalog.read(file, wrong, recordings=10, names=["train"])[0]


def test_a_full_disk_is_told_of_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_PAGE", 4)
    monkeypatch.setattr(module, "_IN_MEMORY", 1)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(MachineError, match=r"temporary files \(no space left on device\); set TMPDIR"):
        filled(["train"] * 8)


def test_twice_as_many_recordings_take_no_more_memory() -> None:
    import tracemalloc

    peaks = []
    for n in (80_000, 160_000):
        tracemalloc.start()
        catalog = Catalog()
        for number in range(n):
            catalog.add(Scanned(b"%07d.wav" % number, number, number, None, "no audio"), "train")
        assert sum(1 for _ in catalog) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]
