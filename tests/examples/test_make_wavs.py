"""The sample recordings: what is in them, and that every run makes the same ones."""

import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "make_wavs.py"


@dataclass(frozen=True)
class Recording:
    path: Path
    rate: int
    subtype: str
    codes: npt.NDArray[np.int32]  # (frames, channels), in the top bits


def make_wavs(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", SCRIPT, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every WAV file below `folder`, by its name there."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.wav")}


def longest_run(samples: npt.NDArray[np.int32]) -> int:
    """How often, at most, one value of a 1-D signal comes in a row.

    >>> longest_run(np.array([5, 7, 7, 7, 5, 5]))
    3
    """
    starts = np.flatnonzero(np.diff(samples)) + 1
    return int(np.max(np.diff(np.concatenate(([0], starts, [len(samples)])))))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the script has made `one` and `two`."""
    base = tmp_path_factory.mktemp("make_wavs")
    for name in ("one", "two"):
        run = make_wavs(name, cwd=base)
        assert run.returncode == 0, run.stderr
        assert run.stderr == ""
    return base


@pytest.fixture(scope="module")
def recordings(base: Path) -> list[Recording]:
    found = []
    for path in sorted((base / "one").rglob("*.wav")):
        codes, rate = sf.read(path, dtype="int32", always_2d=True)
        found.append(Recording(path, rate, sf.info(path).subtype, codes))
    return found


def test_two_runs_write_identical_bytes(base: Path) -> None:
    assert contents(base / "one") == contents(base / "two")


def test_tree_holds_40_to_60_recordings_of_about_20_mb(base: Path) -> None:
    wavs = contents(base / "one")
    assert 40 <= len(wavs) <= 60
    assert 18e6 <= sum(map(len, wavs.values())) <= 22e6


def test_every_combination_of_rate_channels_and_subtype_occurs(recordings: list[Recording]) -> None:
    found = {(r.rate, r.codes.shape[1], r.subtype) for r in recordings}
    assert found == set(product((16_000, 44_100, 48_000), (1, 2), ("PCM_16", "PCM_24")))


def test_folders_group_at_least_six_speakers_and_six_instruments(base: Path) -> None:
    groups = {name.rpartition("/")[0] for name in contents(base / "one")}
    assert len([g for g in groups if g.startswith("speech/")]) >= 6
    assert len([g for g in groups if not g.startswith("speech/")]) >= 6


def test_recordings_last_from_less_than_2048_samples_to_more_than_ten_seconds(
    recordings: list[Recording],
) -> None:
    assert min(r.codes.size for r in recordings) < 2048
    assert max(len(r.codes) / r.rate for r in recordings) > 10


def test_no_channel_holds_a_run_of_64_equal_samples(recordings: list[Recording]) -> None:
    runs = {r.path: max(longest_run(channel) for channel in r.codes.T) for r in recordings}
    assert {path: run for path, run in runs.items() if run >= 64} == {}


def test_peaks_lie_between_minus_13_and_minus_2_dbfs(recordings: list[Recording]) -> None:
    peaks = {r.path: float(np.max(np.abs(r.codes / 2**31))) for r in recordings}
    assert {p: peak for p, peak in peaks.items() if not 10 ** (-13 / 20) < peak < 10 ** (-2 / 20)} == {}


def test_channels_of_a_stereo_recording_differ_by_more_than_their_level(
    recordings: list[Recording],
) -> None:
    stereo = [r for r in recordings if r.codes.shape[1] == 2]
    assert stereo
    for recording in stereo:
        left, right = recording.codes.T / 2**31
        rest = right - left * (np.sum(left * right) / np.sum(left * left))
        assert np.sum(rest * rest) > 1e-3 * np.sum(right * right), recording.path


def test_low_bits_of_24_bit_recordings_are_in_use(recordings: list[Recording]) -> None:
    for recording in recordings:
        if recording.subtype == "PCM_24":
            assert len(np.unique(recording.codes >> 8 & 0xFF)) > 200, recording.path


def test_run_over_its_own_folder_mends_it_leaves_other_files_and_says_what_it_wrote(
    base: Path, recordings: list[Recording]
) -> None:
    (base / "two" / "speech" / "speaker-01" / "utterance-001.wav").write_bytes(b"cut short")
    (base / "two" / "notes.txt").write_text("mine")

    run = make_wavs("two", cwd=base)

    size = sum(map(len, contents(base / "one").values())) / 1e6
    minutes, seconds = divmod(round(sum(len(r.codes) / r.rate for r in recordings)), 60)
    assert run.stdout == (f"wrote {len(recordings)} recordings, {size:.1f} MB, {minutes} min {seconds} s, to two\n")
    assert contents(base / "one") == contents(base / "two")
    assert (base / "two" / "notes.txt").read_text() == "mine"


def test_file_instead_of_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "wavs").write_text("a file")
    run = make_wavs("wavs", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == "make_wavs: wavs is a file; name a folder\n"
    assert (tmp_path / "wavs").read_text() == "a file"


def test_folder_with_files_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    run = make_wavs(tmp_path, cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.endswith("has other files in it; name a new or an empty folder\n")
    assert [p.name for p in tmp_path.rglob("*")] == ["speech"]


def test_call_without_a_folder_shows_the_usage(tmp_path: Path) -> None:
    run = make_wavs(cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == "usage: python make_wavs.py FOLDER\n"
