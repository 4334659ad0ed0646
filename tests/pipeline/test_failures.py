"""What earlier builds found to be unusable: kept in the build folder, and believed only where it still holds."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audiochunk._version import __version__
from audiochunk.config import Encoding
from audiochunk.pipeline import failures as module
from audiochunk.pipeline.failures import FAILURES, Failures
from audiochunk.pipeline.scan import Scanned
from audiochunk.pipeline.versions import versions

PATHS = [b"a.wav", b"b/caf\xe9.wav", b"c\n.wav"]
RECORDINGS = [Scanned(path, 100 + n, 10**18 + n, None) for n, path in enumerate(PATHS)]
FOUND = {b"a.wav": "holds NaN or infinite samples", b"b/caf\xe9.wav": "ends early: Käfer"}
ENCODING = Encoding(bits=16)


def recalled(folder: Path, recordings: list[Scanned] = RECORDINGS, encoding: Encoding = ENCODING) -> dict[bytes, str]:
    """What a later build takes over."""
    failures = Failures(folder, recordings, encoding)
    failures.recall()
    return failures.reasons


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build folder in which an earlier build has left its findings."""
    Failures(tmp_path, RECORDINGS, ENCODING).add(FOUND.items())
    return tmp_path


def test_findings_come_back(folder: Path) -> None:
    assert recalled(folder) == FOUND


def test_nothing_is_known_before_it_is_recalled(folder: Path) -> None:
    assert Failures(folder, RECORDINGS, ENCODING).reasons == {}


def test_nothing_is_recalled_where_nothing_was_found(tmp_path: Path) -> None:
    assert recalled(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_findings_are_kept_from_each_other_on(folder: Path) -> None:
    failures = Failures(folder, RECORDINGS, ENCODING)
    failures.recall()
    failures.add([(b"c\n.wav", "third")])
    assert failures.reasons == recalled(folder) == FOUND | {b"c\n.wav": "third"}
    failures.add([(b"c\n.wav", "another reason")])
    assert recalled(folder)[b"c\n.wav"] == "another reason"


def test_findings_that_were_not_recalled_are_forgotten(folder: Path) -> None:
    Failures(folder, RECORDINGS, ENCODING).add([(b"c\n.wav", "third")])
    assert recalled(folder) == {b"c\n.wav": "third"}


def test_the_file_is_whole_or_not_there_and_alone(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == [FAILURES]
    assert json.loads((folder / FAILURES).read_bytes()) == {
        "encoding": msgspec.to_builtins(ENCODING),
        "versions": versions(),
        "failures": [
            {"path_hex": b"a.wav".hex(), "bytes": 100, "mtime_ns": 10**18, "reason": FOUND[b"a.wav"]},
            {"path_hex": "622f636166e92e776176", "bytes": 101, "mtime_ns": 10**18 + 1, "reason": "ends early: Käfer"},
        ],
    }


def test_the_order_of_findings_changes_no_byte(folder: Path) -> None:
    data = (folder / FAILURES).read_bytes()
    Failures(folder, RECORDINGS[::-1], ENCODING).add(reversed(FOUND.items()))
    assert (folder / FAILURES).read_bytes() == data


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
        "cut": data[:-1],
        "zeros": bytes(len(data)),
        "not UTF-8": data.replace(b"ends early", b"ends \xff\xfe"),
        "a path that is not hex": data.replace(b"612e776176", b"612e77617x"),
        "a path of odd length": data.replace(b"612e776176", b"612e77617"),
        "an unknown field": data.replace(b'{"path_hex"', b'{"album":1,"path_hex"', 1),
        "a missing field": data.replace(b'"bytes":100,', b""),
        "an encoding that cannot be": data.replace(b'"bits":16', b'"bits":7'),
        "the older form": json.dumps({path.hex(): why for path, why in FOUND.items()}).encode(),
        "a list": b"[]",
        "deep nesting": b"[" * 100_000,
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        "empty",
        "cut",
        "zeros",
        "not UTF-8",
        "a path that is not hex",
        "a path of odd length",
        "an unknown field",
        "a missing field",
        "an encoding that cannot be",
        "the older form",
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
