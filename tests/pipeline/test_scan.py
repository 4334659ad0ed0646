"""The walk: which files are recordings, in which order; and what the scan says of those it cannot use."""

import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import wave
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import example, given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.errors import InputError
from audiochunk.pipeline import scan as scan_module
from audiochunk.pipeline.executors import Workers
from audiochunk.pipeline.scan import Found, Globs, Scanned, scan, walk

# Bytes on both sides of "/" (0x2f) in order, and what else a name may hold.
NAMES = st.lists(
    st.sampled_from([b"a", b"b", b"-", b".", b"0", b" ", b"\n", b"~", b"\xff", b"A"]), min_size=1, max_size=3
)
PATHS = (
    st.lists(NAMES.map(b"".join), min_size=1, max_size=4)
    .map(lambda names: b"/".join(names) + b".wav")
    .filter(lambda path: path.rpartition(b"/")[2].strip(b".") != b"wav")  # a name of dots has no extension
)


def make_files(root: Path, paths: Iterable[bytes]) -> list[bytes]:
    """Make empty files, but where a name is taken; gives the paths of those made."""
    made = []
    for path in paths:
        if {b".", b".."} & set(path.split(b"/")):
            continue
        whole = os.path.join(os.fsencode(root), path)
        try:
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            os.close(os.open(whole, os.O_CREAT | os.O_EXCL))
        except OSError:
            continue  # a folder of that name is there, or a file in the place of a folder
        made.append(path)
    return made


def found(root: Path) -> list[bytes]:
    """Paths of a walk that comes upon nothing it cannot go into."""
    entries = list(walk(os.fsencode(root)))
    assert [entry for entry in entries if entry.error] == []
    return [entry.path for entry in entries]


def write_wav(path: Path, *, frames: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(4 * frames))


@given(st.sets(PATHS, max_size=20))
@example({b"a.wav", b"a/b.wav", b"a-b.wav", b"a.b/c.wav", b"a-b/c.wav", b"a0.wav", b"a/.wav.wav", b"a /b.wav"})
@settings(deadline=None, max_examples=150)
def test_the_order_is_that_of_the_bytes_of_whole_paths(paths: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = make_files(Path(folder), sorted(paths))
        assert found(Path(folder)) == sorted(made)


def test_the_order_worked_by_hand(tmp_path: Path) -> None:
    paths = [
        b"B.wav",
        b"a-b.wav",
        b"a.b/x.wav",
        b"a.wav",
        b"a/b.wav",
        b"a/b/c.wav",
        b"a0.wav",
        b"ab.wav",
        b"\xc3\xa4.wav",
    ]
    assert make_files(tmp_path, reversed(paths)) == paths[::-1]
    assert found(tmp_path) == paths


class Shuffled:
    """os.scandir with its entries in another order."""

    def __init__(self, path: bytes) -> None:
        with real_scandir(path) as listing:
            self._entries = list(listing)
        random.shuffle(self._entries)

    def __enter__(self) -> Iterator[os.DirEntry[bytes]]:
        return iter(self._entries)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


real_scandir = os.scandir


def test_the_order_of_a_folders_entries_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "b-c", "b", "b.d", "ä"]
    for path in [f"{one}/{other}.wav" for one in names for other in names] + [f"{one}.wav" for one in names]:
        write_wav(tmp_path / path)
    root = os.fsencode(tmp_path)
    before = list(scan(root, Globs()))
    assert len(before) == 30
    monkeypatch.setattr(os, "scandir", Shuffled)
    for _ in range(5):
        assert list(scan(root, Globs())) == before


def test_recordings_are_found_by_extension_in_any_case(tmp_path: Path) -> None:
    extensions = ["wav", "wave", "bwf", "rf64", "bw64", "w64", "flac", "aif", "aiff", "aifc", "caf", "au", "snd"]
    taken = {f"x.{extension}" for extension in extensions} | {
        "X.WAV",
        "X.Flac",
        "two.dots.wav",
        ".hidden.wav",
        "a b.wav",
    }
    ignored = {"x.mp3", "x.txt", "wav", "x.wav.bak", "x.wav~", ".wav", "x", "x.", "x.wavx"}
    make_files(tmp_path, [os.fsencode(name) for name in taken | ignored])
    assert found(tmp_path) == sorted(os.fsencode(name) for name in taken)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty" / "too").mkdir(parents=True)
    assert found(tmp_path) == []


def test_a_folder_that_is_named_like_a_recording_is_a_folder(tmp_path: Path) -> None:
    make_files(tmp_path, [b"x.wav/inside.wav", b"x.wav/notes.txt"])
    assert found(tmp_path) == [b"x.wav/inside.wav"]


def test_names_that_are_not_utf8_are_kept_as_they_are(tmp_path: Path) -> None:
    paths = [b"caf\xe9.wav", b"\xff\xfe/\x80.wav", b"new\nline.wav"]
    assert sorted(make_files(tmp_path, paths)) == found(tmp_path) == sorted(paths)


def test_what_is_neither_file_nor_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo.wav")
    monkeypatch.chdir(tmp_path)  # the names of sockets must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.wav")
        make_files(tmp_path, [b"file.wav"])
        assert sorted(os.listdir(tmp_path)) == ["fifo.wav", "file.wav", "socket.wav"]
        assert found(tmp_path) == [b"file.wav"]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    make_files(outside, [b"one.wav", b"sub/two.wav", b"no-extension"])
    root.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "again").symlink_to(outside / "sub")
    (root / "file.wav").symlink_to(outside / "one.wav")
    (root / "renamed.wav").symlink_to(outside / "no-extension")
    (root / "one").symlink_to(outside / "one.wav")  # not named like a recording
    assert found(root) == [
        b"again/two.wav",
        b"file.wav",
        b"folder/one.wav",
        b"folder/sub/two.wav",
        b"renamed.wav",
    ]


def test_a_link_is_followed_where_the_root_is_one(tmp_path: Path) -> None:
    make_files(tmp_path / "real", [b"one.wav"])
    (tmp_path / "link").symlink_to("real")
    assert found(tmp_path / "link") == [b"one.wav"]


def test_links_that_lead_upwards_end(tmp_path: Path) -> None:
    make_files(tmp_path, [b"a/one.wav", b"b/two.wav"])
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    assert found(tmp_path) == [b"a/one.wav", b"a/to_b/two.wav", b"b/to_a/one.wav", b"b/two.wav"]


@pytest.mark.parametrize("folder", ["", "sub/"])
@pytest.mark.parametrize("target", ["nowhere.wav", "broken.wav"], ids=["nowhere", "itself"])
def test_a_broken_link_is_named_and_the_rest_is_found(tmp_path: Path, folder: str, target: str) -> None:
    make_files(tmp_path, [os.fsencode(f"{folder}{name}.wav") for name in ("a", "z")])
    (tmp_path / f"{folder}broken.wav").symlink_to(target)
    (tmp_path / f"{folder}broken").symlink_to("broken")
    (tmp_path / f"{folder}nowhere").symlink_to("nobody")
    entries = list(walk(os.fsencode(tmp_path)))
    assert [entry.path for entry in entries] == [os.fsencode(f"{folder}{n}.wav") for n in ("a", "broken", "z")]
    assert [entry.error is None for entry in entries] == [True, False, True]


def test_a_broken_link_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.wav").symlink_to("nowhere")
    assert list(walk(os.fsencode(tmp_path))) == [Found(b"x.wav", "a link that leads to no file")]


def test_a_link_to_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "x.wav").symlink_to("fifo")
    (scanned,) = scan(os.fsencode(tmp_path), Globs())
    assert scanned == Scanned(b"x.wav", 0, 0, None, "a link that leads to no file")


SCAN_WITHOUT_PRIVILEGES = """
import os, sys
from audiochunk.errors import InputError
from audiochunk.pipeline.scan import Globs, scan
if os.geteuid() == 0:
    # Codecs are loaded when first needed, and nobody else may be allowed to read this Python's files.
    list(scan(b".", Globs()))
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:
        sys.exit(77)
try:
    for found in scan(os.fsencode(sys.argv[1]), Globs(exclude=sys.argv[2:])):
        print(found.path.decode(), found.error, sep=": ")
except InputError as error:
    print("refused", error, sep=": ")
"""


def scan_without_privileges(folder: Path, root: str, *exclude: str) -> list[str]:
    """What a user who is not root finds below `root`, a name in `folder`, but for what globs exclude."""
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1])}
    # The folder is where the process already is: what lies above it may be closed to the user.
    command = [sys.executable, "-c", SCAN_WITHOUT_PRIVILEGES, root, *exclude]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if run.returncode == 77:
        pytest.skip("root may read everything, and may not become somebody else here")
    assert run.stderr == ""
    return run.stdout.splitlines()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may list, with one that nobody may."""
    folder = tmp_path / "guarded"
    for path in ("a.wav", "closed/b.wav", "d/e.wav", "z.wav"):
        write_wav(folder / path)
    for open_to_all in (folder, folder / "d"):
        open_to_all.chmod(0o755)
    for path in ("a.wav", "d/e.wav", "z.wav"):
        (folder / path).chmod(0o644)
    (folder / "closed").chmod(0)
    yield folder
    (folder / "closed").chmod(0o755)


def test_a_folder_that_may_not_be_listed_is_named(guarded: Path) -> None:
    assert scan_without_privileges(guarded, ".") == [
        "a.wav: None",
        "closed/: folder cannot be listed: permission denied",
        "d/e.wav: None",
        "z.wav: None",
    ]


@pytest.mark.parametrize("glob", ["closed", "closed/", "cl*"])
def test_a_folder_that_may_not_be_listed_is_passed_over_where_it_is_excluded(guarded: Path, glob: str) -> None:
    assert scan_without_privileges(guarded, ".", glob) == ["a.wav: None", "d/e.wav: None", "z.wav: None"]


def test_a_folder_that_may_not_be_listed_is_named_where_other_things_are_excluded(guarded: Path) -> None:
    assert scan_without_privileges(guarded, ".", "*.wav", "closed/b.wav", "d") == [
        "closed/: folder cannot be listed: permission denied"
    ]


def test_a_root_that_may_not_be_listed_is_refused(guarded: Path) -> None:
    assert scan_without_privileges(guarded, "closed") == ["refused: closed: permission denied"]


def test_a_file_that_may_not_be_read_is_named(guarded: Path) -> None:
    (guarded / "d" / "e.wav").chmod(0)
    assert "d/e.wav: permission denied" in scan_without_privileges(guarded, ".")


def test_a_link_into_a_closed_folder_is_named_and_the_rest_is_found(guarded: Path) -> None:
    (guarded / "link.wav").symlink_to("closed/b.wav")
    lines = scan_without_privileges(guarded, ".")
    assert [line.partition(": ")[0] for line in lines] == ["a.wav", "closed/", "d/e.wav", "link.wav", "z.wav"]
    assert not lines[3].endswith(": None")


@pytest.mark.parametrize(("name", "reason"), [("nowhere", "there is no such folder"), ("file", "not a folder")])
def test_a_root_that_is_no_folder_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"{name}: {reason}"):
        list(walk(os.fsencode(tmp_path / name)))


# Globs.


@pytest.mark.parametrize(
    ("include", "exclude", "path", "wanted"),
    [
        ((), (), b"a/b.wav", True),
        (("*.wav",), (), b"a/b.wav", True),
        (("*.wav",), (), b"a/b.WAV", False),
        (("*.flac",), (), b"a/b.wav", False),
        (("*.flac", "b*"), (), b"a/b.wav", True),
        (("a/*",), (), b"a/b/c.wav", True),
        (("a/*",), (), b"x/a/c.wav", False),
        (("*/a/*",), (), b"x/a/c.wav", True),
        (("a",), (), b"a/b.wav", True),
        (("b",), (), b"a/b.wav", False),
        (("a",), (), b"x/a/b.wav", True),
        (("*/a",), (), b"x/a/b.wav", True),
        (("a/b",), (), b"a/b/c/d.wav", True),
        (("a/b",), (), b"a/bc/d.wav", False),
        (("?.wav",), (), b"a/b.wav", True),
        (("?.wav",), (), "ä.wav".encode(), True),
        (("[ab].wav",), (), b"c.wav", False),
        ((), ("*.wav",), b"a.wav", False),
        ((), ("a/*",), b"b.wav", True),
        (("*.wav",), ("kick*",), b"drums/kick.wav", False),
        (("*.wav",), ("kick*",), b"kick/snare.wav", False),
        ((), ("kick",), b"kick/snare.wav", False),
        ((), ("kick",), b"kick/a/snare.wav", False),
        ((), ("kick",), b"kicks/snare.wav", True),
        ((), ("kick",), b"Kick/snare.wav", True),
        ((), ("kick",), b"drums/kick/snare.wav", False),
        ((), ("drums/kick",), b"drums/kick/snare.wav", False),
        ((), ("kick.wav",), b"drums/kick.wav", False),
        ((), ("*",), b"new\nline.wav", False),
        (("new?line.wav",), (), b"new\nline.wav", True),
        (("caf?.wav",), (), b"caf\xe9.wav", True),
    ],
)
def test_globs(include: tuple[str, ...], exclude: tuple[str, ...], path: bytes, wanted: bool) -> None:
    assert Globs(include, exclude).want(path) is wanted


@pytest.mark.parametrize("glob", ["kick", "drums/kick", "*", "k*", "snare.wav", "drums/kick/snare.wav", "a/b"])
@pytest.mark.parametrize("path", [b"kick/snare.wav", b"drums/kick/snare.wav", b"snare.wav", b"a/b/", b"drums/kick/"])
def test_a_slash_at_the_end_of_a_glob_changes_nothing(glob: str, path: bytes) -> None:
    assert Globs(exclude=[f"{glob}/"]).want(path) is Globs(exclude=[glob]).want(path)
    assert Globs(include=[f"{glob}/"]).want(path) is Globs(include=[glob]).want(path)


def test_globs_that_match_nothing_are_collected() -> None:
    globs = Globs(["*.wav", "*.flac", "b/"], ["kick*", "snare*", "a/"])
    assert globs.unused == {"*.wav", "*.flac", "b/", "kick*", "snare*", "a/"}
    assert globs.want(b"hat.wav")
    assert globs.unused == {"*.flac", "b/", "kick*", "snare*", "a/"}
    assert not globs.want(b"kick.wav")
    assert globs.want(b"b/hat.wav")
    assert not globs.want(b"a/hat.wav")
    assert not globs.want(b"hat.aiff")
    assert globs.unused == {"*.flac", "snare*"}
    assert Globs().unused == set()


def test_a_folder_is_wanted_unless_it_is_excluded() -> None:
    assert Globs(["*.flac", "x"]).want(b"closed/")
    assert Globs([], ["*.wav", "closed/x"]).want(b"closed/")
    assert not Globs([], ["closed"]).want(b"closed/")
    assert not Globs(["closed"], ["closed/"]).want(b"closed/")
    assert not Globs([], ["a"]).want(b"a/closed/")
    assert not Globs([], ["a/*"]).want(b"a/closed/")


def test_only_wanted_recordings_are_scanned(tmp_path: Path) -> None:
    for path in ("a.wav", "b/kick.wav", "b/snare.wav"):
        write_wav(tmp_path / path)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    scanned = scan(os.fsencode(tmp_path), Globs(["b/*", "broken.wav"], ["snare*", "broken*"]))
    assert [s.path for s in scanned] == [b"b/kick.wav"]


# What the scan says.


def test_a_scanned_recording_says_what_its_file_is(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", frames=25)
    os.utime(tmp_path / "a.wav", ns=(0, 1_700_000_000_123_456_789))
    (scanned,) = scan(os.fsencode(tmp_path), Globs())
    assert (scanned.path, scanned.bytes, scanned.error) == (b"a.wav", 44 + 100, None)
    assert scanned.mtime_ns == (tmp_path / "a.wav").stat().st_mtime_ns
    assert scanned.info is not None
    assert (scanned.info.sample_rate, scanned.info.channels, scanned.info.frames) == (8000, 2, 25)
    assert scanned.info.subtype == "PCM_16"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "this is a Git LFS pointer"),
        (b"<html>Not found</html>", "this is text, not audio: it begins '<html>Not found</html>'"),
        (b"RIFF\x24\0\0\0WAVE", "the WAV header has no 'fmt ' part"),
        (bytes(1000), "libsndfile: "),
    ],
)
def test_a_recording_that_cannot_be_used_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(content)
    write_wav(tmp_path / "c.wav")
    one, two, three = scan(os.fsencode(tmp_path), Globs())
    assert (one.error, three.error) == (None, None)
    assert (two.path, two.bytes, two.info) == (b"b.wav", len(content), None)
    assert two.error is not None
    assert two.error.startswith(reason)
    assert os.fspath(tmp_path) not in two.error


def test_a_recording_that_goes_during_the_scan_is_refused(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name)
    scanning = scan(os.fsencode(tmp_path), Globs())
    next(scanning)
    (tmp_path / "b.wav").unlink()
    assert list(scanning) == [Scanned(b"b.wav", 0, 0, None, "no such file or directory")]


# Many files are looked into by workers.


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Recordings in folders, with some that cannot be used and one that decodes only with libsndfile."""
    root = tmp_path / "many"
    for n in range(40):
        write_wav(root / f"{n % 4}" / f"{n:02}.wav", frames=n)
    (root / "1" / "13a.wav").write_bytes(b"RIFF but not for long")
    (root / "2" / "empty.flac").touch()
    (root / "3" / "link.wav").symlink_to(root / "nothing")
    sf.write(root / "2" / "x.flac", np.zeros(99), 8000)
    return root


@pytest.mark.parametrize("at_once", [1, 3, 22])
@pytest.mark.parametrize("globs", [Globs(), Globs(include=["*3*"], exclude=["2"])], ids=["all", "some"])
def test_workers_scan_as_one_process_does(
    many: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, globs: Globs
) -> None:
    monkeypatch.setattr(scan_module, "_AT_ONCE", at_once)
    alone = list(scan(os.fsencode(many), globs))
    assert len(alone) > 10
    with Workers(2) as workers:
        assert list(scan(os.fsencode(many), globs, workers)) == alone
        # The folder may be named from where this process is, which need not be where the workers are.
        monkeypatch.chdir(many.parent)
        assert list(scan(b"many", globs, workers)) == alone


def test_little_is_looked_into_while_one_file_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of 400 files hangs until no more of the others are handed out."""
    for number in range(400):
        (tmp_path / f"{number:03}.wav").touch()
    probed: list[int] = []
    probe, beyond = scan_module._probe, threading.Event()

    def hangs(batch: Any) -> Any:
        if batch.number == 0:
            while len(probed) < 10:  # which the others come to in any case
                beyond.wait(0.001)
            beyond.wait(0.5)  # set only where something is wrong
            probed.append(0)
            return probe(batch)
        probed.append(batch.number)
        if len(probed) > 10 + 2 * 3 and 0 not in probed:
            beyond.set()
        return probe(batch)

    monkeypatch.setattr(scan_module, "_AT_ONCE", 1)
    monkeypatch.setattr(scan_module, "_MOST_HELD", 10)
    monkeypatch.setattr(scan_module, "_probe", hangs)
    monkeypatch.setattr(Workers, "are_processes", True)
    with ThreadPoolExecutor(3) as executor, Workers(3, executor) as workers:
        found = list(scan(os.fsencode(tmp_path), Globs(), workers))
    assert [recording.path for recording in found] == [b"%03d.wav" % number for number in range(400)]
    assert not beyond.is_set()


def test_an_executor_that_is_given_is_not_asked_to_scan(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "_AT_ONCE", 1)
    with ThreadPoolExecutor(1) as executor:
        monkeypatch.setattr(executor, "submit", None)
        with Workers(2, executor) as workers:
            assert len(list(scan(os.fsencode(many), Globs(), workers))) == 44


def test_a_batch_is_named_in_a_few_words() -> None:
    found = tuple(Found(b"%d.wav" % n) for n in range(512))
    assert scan_module._describe(scan_module._Batch(0, b"", found)) == "the headers of 0.wav and 511 more"
    assert scan_module._describe(scan_module._Batch(0, b"", found[:1])) == "the headers of 0.wav"
