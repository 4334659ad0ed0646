"""What earlier builds found to be unusable: kept in the build folder, and believed only where it still holds."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audiochunk._version import __version__
from audiochunk.config import Encoding
from audiochunk.pipeline import failures as module
from audiochunk.pipeline.failures import FAILURES, Failure, Failures
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.versions import versions

PATHS = [b"a.wav", b"b/caf\xe9.wav", b"c\n.wav"]
RECORDINGS = [Scanned(path, 100 + n, 10**18 + n, None) for n, path in enumerate(PATHS)]
FOUND = {b"a.wav": "holds NaN or infinite samples", b"b/caf\xe9.wav": "ends early: Käfer"}
ENCODING = Encoding(bits=16)


def failures_of(found: dict[bytes, str], *, passing: bool = False) -> list[Failure]:
    recordings = {recording.path: recording for recording in RECORDINGS}
    return [
        Failure(path, recordings[path].bytes, recordings[path].mtime_ns, reason, passing)
        for path, reason in found.items()
    ]


def recalled(folder: Path, recordings: list[Scanned] = RECORDINGS, encoding: Encoding = ENCODING) -> dict[bytes, str]:
    """What a later build takes over."""
    failures = Failures(folder, encoding)
    failures.recall(recordings)
    return failures.reasons


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build folder in which an earlier build has left its findings."""
    Failures(tmp_path, ENCODING).add(failures_of(FOUND))
    return tmp_path


def test_findings_come_back(folder: Path) -> None:
    assert recalled(folder) == FOUND
    assert recalled(folder) == FOUND


def test_nothing_is_known_before_it_is_recalled(folder: Path) -> None:
    assert Failures(folder, ENCODING).reasons == {}


def test_nothing_is_recalled_where_nothing_was_found(tmp_path: Path) -> None:
    assert recalled(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_findings_are_kept_from_each_other_on(folder: Path) -> None:
    failures = Failures(folder, ENCODING)
    failures.recall(RECORDINGS)
    failures.add(failures_of({b"c\n.wav": "third"}))
    assert failures.reasons == recalled(folder) == FOUND | {b"c\n.wav": "third"}
    failures.add(failures_of({b"c\n.wav": "another reason"}))
    assert recalled(folder)[b"c\n.wav"] == "another reason"


def test_each_finding_is_written_once(tmp_path: Path) -> None:
    failures = Failures(tmp_path, ENCODING)
    sizes = []
    for path, reason in (FOUND | {b"c\n.wav": "third"}).items():
        failures.add(failures_of({path: reason}))
        sizes.append((tmp_path / FAILURES).stat().st_size)
    lines = (tmp_path / FAILURES).read_bytes().splitlines(keepends=True)
    assert sizes == [sum(map(len, lines[: n + 2])) for n in range(3)]


def test_what_may_pass_is_known_to_this_build_only(folder: Path) -> None:
    failures = Failures(folder, ENCODING)
    failures.recall(RECORDINGS)
    failures.add(failures_of({b"c\n.wav": "no such file"}, passing=True))
    assert failures.reasons == FOUND | {b"c\n.wav": "no such file"}
    assert recalled(folder) == FOUND


def test_findings_that_were_not_recalled_are_forgotten(folder: Path) -> None:
    Failures(folder, ENCODING).add(failures_of({b"c\n.wav": "third"}))
    assert recalled(folder) == {b"c\n.wav": "third"}


def test_the_first_line_says_what_findings_were_made_with(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == [FAILURES]
    first, *others = (folder / FAILURES).read_bytes().splitlines()
    assert json.loads(first) == {"encoding": msgspec.to_builtins(ENCODING), "versions": versions()}
    assert [msgspec.json.decode(line, type=Failure) for line in others] == failures_of(FOUND)


def test_a_line_that_was_cut_is_no_finding_and_spoils_no_later_one(folder: Path) -> None:
    file = folder / FAILURES
    file.write_bytes(file.read_bytes()[:-20])
    assert recalled(folder) == {b"a.wav": FOUND[b"a.wav"]}
    failures = Failures(folder, ENCODING)
    failures.recall(RECORDINGS)
    failures.add(failures_of({b"c\n.wav": "third"}))
    assert recalled(folder) == {b"a.wav": FOUND[b"a.wav"], b"c\n.wav": "third"}


# What decided a finding.


@pytest.mark.parametrize(
    "encoding",
    [Encoding(), Encoding(bits=16, chunk_bytes=4096), Encoding(bits=16, tail="pad"), Encoding(bits=16, block=7)],
)
def test_findings_of_another_encoding_are_not_believed(folder: Path, encoding: Encoding) -> None:
    assert recalled(folder, encoding=encoding) == {}
    assert recalled(folder) == FOUND


@pytest.mark.parametrize("library", ["audiochunk", "libsndfile", "numpy", "zstd"])
def test_findings_of_another_version_are_not_believed(
    folder: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = versions() | {library: "0"}
    monkeypatch.setattr(module, "versions", lambda: now)
    assert recalled(folder) == {}


def test_versions_name_all_that_decides_bytes() -> None:
    assert sorted(versions()) == ["audiochunk", "libsndfile", "numpy", "zstd"]
    assert versions()["audiochunk"] == __version__
    assert all(version[0].isdigit() for version in versions().values())


@pytest.mark.parametrize("changes", [{"bytes": 99}, {"mtime_ns": 1}, {"bytes": 101, "mtime_ns": 10**18 + 1}], ids=str)
def test_a_recording_that_has_changed_is_tried_again(folder: Path, changes: dict[str, Any]) -> None:
    changed = [msgspec.structs.replace(RECORDINGS[0], **changes), *RECORDINGS[1:]]
    assert recalled(folder, changed) == {b"b/caf\xe9.wav": FOUND[b"b/caf\xe9.wav"]}


def test_a_recording_that_has_gone_is_forgotten(folder: Path) -> None:
    assert recalled(folder, RECORDINGS[1:]) == {b"b/caf\xe9.wav": FOUND[b"b/caf\xe9.wav"]}
    assert recalled(folder, []) == {}


# Damage.


def spoil(data: bytes, what: str) -> bytes:
    return {
        "empty": b"",
        "zeros": bytes(len(data)),
        "not UTF-8": data.replace(b"holds NaN", b"holds \xff\xfe"),
        "an unknown field": data.replace(b'{"path"', b'{"album":1,"path"', 1),
        "a missing field": data.replace(b'"bytes":100,', b""),
        "an encoding that cannot be": data.replace(b'"bits":16', b'"bits":7'),
        "another form": json.dumps({path.hex(): why for path, why in FOUND.items()}).encode(),
        "a list": b"[]",
        "deep nesting": b"[" * 100_000,
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        "empty",
        "zeros",
        "not UTF-8",
        "an unknown field",
        "a missing field",
        "an encoding that cannot be",
        "another form",
        "a list",
        "deep nesting",
    ],
)
def test_damaged_findings_are_not_believed(folder: Path, what: str) -> None:
    file = folder / FAILURES
    data = file.read_bytes()
    file.write_bytes(spoil(data, what))
    assert file.read_bytes() != data
    assert recalled(folder) == {}
