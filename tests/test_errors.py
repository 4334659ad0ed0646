"""The exception tree: out of a worker and back, exit codes, and names that are safe to print."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk import errors
from audiochunk.errors import (
    AudiochunkError,
    ConfigError,
    DatasetError,
    InputError,
    MachineError,
    MissingShardsError,
    NoDatasetError,
    ObjectLostError,
    OutputDamagedError,
    OutputExistsError,
    PassingRecordingError,
    RecordingError,
    RecordingsError,
    StoreError,
    printable,
)

# One of each class, its sentence, and its exit code.
EXAMPLES: list[tuple[AudiochunkError, str, int]] = [
    (AudiochunkError("something"), "something", 1),
    (ConfigError("bits must be 8"), "bits must be 8", 2),
    (OutputDamagedError("out", "is damaged", "choose another"), "out: is damaged; choose another", 5),
    (OutputExistsError("out", "is not empty", "choose another --out"), "out: is not empty; choose another --out", 2),
    (InputError(b"in", "not a folder"), "in: not a folder", 4),
    (MissingShardsError("out", "1 of 3 shards is not there: 2", [2], 3), "out: 1 of 3 shards is not there: 2", 4),
    (RecordingError(b"kick \xff.wav", "the file is empty"), r"kick \xff.wav: the file is empty", 4),
    (PassingRecordingError(b"kick.wav", "permission denied"), "kick.wav: permission denied", 4),
    (
        RecordingsError([(b"a.wav", "holds NaN"), (b"b\n.wav", "not there")]),
        "2 recordings cannot be used:\n  a.wav: holds NaN\n  b\\n.wav: not there\n"
        "leave them out with --on-error skip or --exclude",
        4,
    ),
    (DatasetError(Path("shards/manifest.json"), "cut short"), "shards/manifest.json: cut short", 5),
    (NoDatasetError(Path("shards"), "no dataset here"), "shards: no dataset here", 4),
    (MachineError("no room"), "no room", 6),
    (StoreError("s3://b/a", "could not be read", "try again"), "s3://b/a: could not be read; try again", 6),
    (ObjectLostError("s3://b/a", "nothing is there", "try again"), "s3://b/a: nothing is there; try again", 6),
]
by_class = pytest.mark.parametrize(
    ("error", "sentence", "exit_code"), EXAMPLES, ids=[type(error).__name__ for error, _, _ in EXAMPLES]
)


@by_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(error: AudiochunkError, sentence: str, exit_code: int, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error) == sentence
    assert back.exit_code == exit_code


@by_class
def test_an_error_says_its_sentence_and_has_its_exit_code(
    error: AudiochunkError, sentence: str, exit_code: int
) -> None:
    assert str(error) == sentence
    assert error.exit_code == exit_code


def test_of_recordings_something_else_can_be_advised() -> None:
    error = RecordingsError([(b"a.wav", "changed")], 1, "build again")
    assert str(error) == "1 recording cannot be used:\n  a.wav: changed\nbuild again"


def test_every_class_has_an_example_here() -> None:
    classes = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)}
    assert classes == {type(error) for error, _, _ in EXAMPLES}
    assert all(issubclass(c, AudiochunkError) for c in classes)


def test_a_config_error_is_a_value_error() -> None:
    # So that msgspec turns it into a ValidationError that says where it was.
    assert isinstance(ConfigError("x"), ValueError)


def test_one_failed_recording_is_not_called_recordings() -> None:
    error = RecordingsError([(b"a.wav", "the file is empty")])
    assert str(error).startswith("1 recording cannot be used:\n")
    assert error.failures == [(b"a.wav", "the file is empty")]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"plain name-1.wav", "plain name-1.wav"),
        ("Käfer/naïve.wav", "Käfer/naïve.wav"),
        ("日本.wav".encode(), "日本.wav"),
        (b"line\nfeed.wav", r"line\nfeed.wav"),
        (b"tab\there\r.wav", r"tab\there\r.wav"),
        (b"\x1b[31mred\x07.wav", r"\x1b[31mred\x07.wav"),
        (b"del\x7f.wav", r"del\x7f.wav"),
        (b"caf\xe9.wav", r"caf\xe9.wav"),
        ("caf\udce9.wav", r"caf\xe9.wav"),  # the same name as os.fsdecode gives it
        ("right\u202eto left", r"right\u202eto left"),
        ("next\u2028line\u0085", r"next\u2028line\x85"),
        (b"", ""),
    ],
)
def test_printable_escapes_what_a_terminal_must_not_see(path: bytes | str, shown: str) -> None:
    assert printable(path) == shown


@given(st.binary())
@settings(deadline=None)
def test_printable_is_printable_whatever_the_bytes(path: bytes) -> None:
    assert printable(path).isprintable()
    printable(path).encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
@settings(deadline=None)
def test_printable_leaves_printable_names_alone(name: str) -> None:
    assert printable(name) == printable(name.encode()) == name
