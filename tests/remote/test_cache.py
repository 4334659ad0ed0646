import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from audiochunk.errors import ConfigError, DatasetError, MachineError
from audiochunk.storage.cache import DEFAULT_BYTES, FETCHED, Cache, default_cache

from .fetches import A, B, C, D, X, Y, read, refuses, writes


def kept(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.files.iterdir())


def fetch_long_ago(cache: Cache, size: int) -> None:
    """Fetch A, B, C, and have them opened in that order on any clock, all of them before now."""
    for opened, name in enumerate((A, B, C), 1):
        read(cache, name, writes(bytes(size)))
        os.utime(cache.files / name, (opened, opened))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a disk of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk of a given size can be mounted: this user may not")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_file_is_fetched_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "a" / "b")
    assert not cache.holds(X)
    assert read(cache, X, writes(b"hello")) == b"hello"
    assert cache.holds(X)
    assert read(cache, X, refuses) == b"hello"
    assert kept(cache) == [X]
    with pytest.raises(ValueError, match="not named after a digest"):
        read(cache, "../x", refuses)


@pytest.mark.parametrize("error", [DatasetError("x", "is damaged"), KeyboardInterrupt()])
def test_failed_fetch_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fails(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    cache = Cache(tmp_path)
    with pytest.raises(type(error)):
        read(cache, X, fails)
    assert kept(cache) == []
    assert read(cache, X, writes(b"whole")) == b"whole"


def test_file_that_somebody_has_damaged_is_fetched_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    read(cache, X, writes(b"hello"))
    (cache.files / X).write_bytes(b"hel")
    with cache.opened(X, writes(b"hello"), size=5) as file:
        assert file.read() == b"hello"
    (cache.files / X).write_bytes(b"jello")
    for fetch in (writes(b"hello"), refuses):
        with cache.opened(X, fetch, size=5, is_right=lambda file: file.read(1) == b"h") as file:
            assert file.read() == b"hello"
    assert cache.remove(X)
    assert not cache.holds(X)


def test_folder_that_is_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    cache, fetched = Cache(tmp_path / "c"), []

    def fetch(file: BinaryIO) -> None:
        fetched.append(1)
        file.write(b"hello")
        if len(fetched) == 1:
            shutil.rmtree(cache.folder)

    assert read(cache, X, fetch) == b"hello"
    assert (len(fetched), kept(cache)) == (2, [X])
    shutil.rmtree(cache.folder)
    assert read(cache, X, writes(b"hello")) == b"hello"


def test_folder_that_is_always_removed_is_the_machine(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    with pytest.raises(MachineError, match="no such file"):
        read(cache, X, lambda file: shutil.rmtree(cache.folder))


def test_full_disk_is_the_machine(tmp_path: Path) -> None:
    def fails(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MachineError, match=r"no space left on device; the cache .*: make room, .* AUDIOCHUNK_CACHE"):
        read(Cache(tmp_path), X, fails)
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="not a directory"):
        read(Cache(tmp_path / "file" / "sub"), X, writes(b""))


def test_full_disk_has_room_once_what_was_not_opened_for_longest_is_removed(small_disk: Path) -> None:
    cache = Cache(small_disk)
    fetch_long_ago(cache, 300_000)
    read(cache, A, refuses)
    with cache.opened(D, writes(bytes(300_000)), size=300_000) as file:
        assert len(file.read()) == 300_000
    assert kept(cache) == [A, C, D]


def test_file_that_the_disk_cannot_hold_leaves_nothing_behind(small_disk: Path) -> None:
    cache = Cache(small_disk)
    for name, last in ((X, 1), (Y, 4096)):  # what stays in Python's buffer cannot be written when it is closed, either
        with pytest.raises(MachineError, match="no space left on device"):
            cache.opened(name, lambda file, n=last: [file.write(bytes(2**20)), file.write(bytes(n))], size=2**20 + last)  # type: ignore[misc]
        assert kept(cache) == []
    assert read(cache, A, writes(b"small")) == b"small"


def test_room_is_made_before_a_file_of_known_size_is_fetched(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    fetch_long_ago(cache, 10)

    def fetch(file: BinaryIO) -> None:
        assert not cache.holds(A)
        file.write(bytes(10))

    cache.opened(D, fetch, size=10).close()
    assert kept(cache) == [B, C, D]


def test_what_was_not_opened_for_longest_makes_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    fetch_long_ago(cache, 10)
    read(cache, A, refuses)
    read(cache, D, writes(bytes(10)))
    assert kept(cache) == [A, C, D]


def test_file_larger_than_the_limit_is_kept_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    read(cache, A, writes(bytes(10)))
    assert len(read(cache, B, writes(bytes(100)))) == 100
    assert kept(cache) == [B]
    assert len(read(cache, B, refuses)) == 100


def test_file_that_made_room_stays_readable_for_who_has_it_open(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10)
    with cache.opened(A, writes(b"0123456789")) as file:
        read(cache, B, writes(bytes(10)))
        assert not cache.holds(A)
        assert file.read() == b"0123456789"


def test_files_of_others_stay_and_are_not_counted(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 20)
    others = [tmp_path / "thesis.docx", tmp_path / X, cache.files / "song.wav", cache.files / "draft.tmp"]
    cache.files.mkdir()
    for path in others:
        path.write_bytes(bytes(1000))
        os.utime(path, (1, 1))
    fetch_long_ago(cache, 10)
    assert kept(cache) == sorted([B, C, "song.wav", "draft.tmp"])
    assert all(path.stat().st_size == 1000 for path in others)
    assert cache.files == tmp_path / FETCHED


def test_file_from_the_future_is_the_first_to_make_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    fetch_long_ago(cache, 10)
    os.utime(cache.files / C, (time.time() + 10**8,) * 2)
    read(cache, D, writes(bytes(10)))
    assert kept(cache) == [A, B, D]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be several users")
def test_users_share_a_cache(request: pytest.FixtureRequest) -> None:
    shared = Path(tempfile.mkdtemp())  # pytest's own folders are for one user
    request.addfinalizer(lambda: shutil.rmtree(shared))
    shared.chmod(0o755)
    cache = Cache(shared / "cache", 30)
    for folder in (cache.folder, cache.files):
        folder.mkdir()
        folder.chmod(0o1777)
    read(cache, A, writes(bytes(25)))
    (cache.files / f"{B}.lock").touch(0o600)
    pid = os.fork()
    if not pid:
        try:
            os.setuid(65534)
            assert len(read(cache, A, refuses)) == 25
            assert len(read(cache, B, writes(bytes(25)))) == 25
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert kept(cache) == [A, B, f"{B}.lock"]


def test_default_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AUDIOCHUNK_CACHE", "AUDIOCHUNK_CACHE_BYTES", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == Cache(tmp_path / ".cache" / "audiochunk", DEFAULT_BYTES)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache() == Cache(tmp_path / ".cache" / "audiochunk", DEFAULT_BYTES)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache() == Cache(Path("/xdg/audiochunk"), DEFAULT_BYTES)
    monkeypatch.setenv("AUDIOCHUNK_CACHE", "/other")
    monkeypatch.setenv("AUDIOCHUNK_CACHE_BYTES", "123")
    assert default_cache() == Cache(Path("/other"), 123)
    assert default_cache("~/mine", 5) == Cache(tmp_path / "mine", 5)


@pytest.mark.parametrize(("text", "limit"), [("123", 123), ("2GiB", 2**31), ("500k", 500_000)])
def test_limit_is_a_size_as_of_shards(monkeypatch: pytest.MonkeyPatch, text: str, limit: int) -> None:
    monkeypatch.setenv("AUDIOCHUNK_CACHE_BYTES", text)
    assert default_cache().limit == limit
    monkeypatch.setenv("AUDIOCHUNK_CACHE_BYTES", "1")
    assert default_cache(None, text).limit == limit


@pytest.mark.parametrize("limit", [-1, 1.5, True])
def test_limit_is_a_number_of_bytes(limit: object) -> None:
    with pytest.raises(ConfigError, match="cache_bytes must be a number of bytes"):
        default_cache(None, limit)  # type: ignore[arg-type]


def test_limit_that_is_no_size_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^cache_bytes: size '-5' is not a number of bytes like 4096, 500k, 32MiB"):
        default_cache(None, "-5")
    monkeypatch.setenv("AUDIOCHUNK_CACHE_BYTES", "plenty")
    with pytest.raises(ConfigError, match=r"^AUDIOCHUNK_CACHE_BYTES: size 'plenty' is not a number of bytes"):
        default_cache()


def test_advice_for_a_folder_that_cannot_be_written_is_another_folder(tmp_path: Path) -> None:
    def fails(file: BinaryIO) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(MachineError, match="permission denied") as refused:
        read(Cache(tmp_path), X, fails)
    assert "make room" not in str(refused.value)
    assert str(refused.value).endswith("choose another folder (cache=, AUDIOCHUNK_CACHE)")


def test_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("AUDIOCHUNK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(ConfigError, match="cache= or AUDIOCHUNK_CACHE"):
        default_cache()
    assert default_cache("/tmp").folder == Path("/tmp")
