"""Commands that encode many sounds at once, are missing, fail, or lie."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from audiochunk.errors import MachineError
from audiochunk.tools.codecs import commands
from audiochunk.tools.codecs.commands import CommandCodec, Format, raw_samples
from audiochunk.tools.codecs.registry import CODECS
from audiochunk.tools.codecs.sound import CodecError

from .sounds import Made, tone

NAMES = ["wavpack", "flac-cli-8"]
SCRIPT = "#!/bin/sh\n{}\n"


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that come before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def make_command(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(SCRIPT.format(script))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


COPIES = 'for f in "$@"; do case $f in *.raw) cp "$f" "${f%.raw}.co";; esac; done'
COPIES_BACK = 'for f in "$@"; do case $f in *.co) cp "$f" "${f%.co}.raw";; esac; done'


def copier(**changes: object) -> CommandCodec:
    """A codec of two scripts that compress nothing."""
    fields = {
        "encode": lambda form: ["encode-it"],
        "decode": lambda form: ["decode-it"],
        "suffix": ".co",
        "unsigned_8": False,
        "package": "copies",
    }
    return CommandCodec("copier", **{**fields, **changes})


@pytest.mark.parametrize(("name", "package"), [("wavpack", "wavpack"), ("flac-cli-8", "flac")])
def test_a_missing_command_is_one_to_install(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert CODECS[name].missing() == f"apt install {package}"


def test_both_commands_are_needed(bin_folder: Path) -> None:
    make_command(bin_folder, "encode-it", "true")
    assert copier().missing() == "apt install copies"
    make_command(bin_folder, "decode-it", "true")
    assert copier().missing() is None


@pytest.mark.parametrize("bits", [8, 12, 16, 24])
def test_commands_are_given_raw_samples_and_nothing_else(bits: int, bin_folder: Path) -> None:
    make_command(bin_folder, "encode-it", COPIES)
    make_command(bin_folder, "decode-it", COPIES_BACK)
    sounds = [tone(n, bits=bits, channels=2) for n in (1, 100)]
    assert [m.compressed_bytes for m in copier().measure(sounds)] == [sound.n_bytes for sound in sounds]


def test_many_sounds_share_a_process_and_its_time(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_command(bin_folder, "encode-it", COPIES)
    make_command(bin_folder, "decode-it", COPIES_BACK)
    monkeypatch.setattr(commands, "_MAX_FILES", 3)
    monkeypatch.setattr(commands, "_MAX_BYTES", 1000)
    run, n_files = subprocess.run, []

    def counted(command: list[str], **options: object) -> object:
        n_files.append(len(command) - 1)
        assert options["stdin"] == subprocess.DEVNULL
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    sounds = [tone(n, bits=8) for n in (100, 300, 100, 100, 2000, 800, 300)]
    measured = copier().measure(sounds)
    assert n_files[::2] == n_files[1::2] == [3, 1, 1, 1, 1]
    assert [m.compressed_bytes for m in measured] == [100, 300, 100, 100, 2000, 800, 300]
    assert measured[1].encode_s == pytest.approx(3 * measured[0].encode_s)


def test_a_failing_command_says_why(bin_folder: Path) -> None:
    make_command(bin_folder, "encode-it", 'echo "the disk\n is full" >&2; exit 3')
    make_command(bin_folder, "decode-it", COPIES_BACK)
    with pytest.raises(MachineError, match=r"^encode-it failed \(3\): the disk is full$"):
        copier().measure([tone(10)])


def test_a_command_that_lies_is_caught_and_one_that_asks_is_not_waited_for(bin_folder: Path) -> None:
    make_command(bin_folder, "encode-it", COPIES)
    make_command(bin_folder, "decode-it", 'printf "0123456789" > 0.raw; cat > /dev/null')
    with pytest.raises(CodecError, match=r"^copier: what it decoded differs from byte 0 on$"):
        copier().measure([tone(10)])


def test_a_command_that_writes_nothing_is_caught(bin_folder: Path) -> None:
    make_command(bin_folder, "encode-it", "true")
    make_command(bin_folder, "decode-it", "true")
    with pytest.raises(CodecError, match=r"^copier: encode-it did not write 0\.co$"):
        copier().measure([tone(10)])
    make_command(bin_folder, "encode-it", COPIES)
    with pytest.raises(CodecError, match=r"^copier: decode-it did not write 0\.raw$"):
        copier().measure([tone(10)])


def test_nothing_is_left_behind(bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_command(bin_folder, "encode-it", "exit 1")
    make_command(bin_folder, "decode-it", "true")
    with pytest.raises(MachineError):
        copier().measure([tone(10)])
    assert list(tmp_path.iterdir()) == [bin_folder]


@pytest.mark.parametrize(
    "width_and_samples", [(8, "00 7f ff"), (16, "00 80 ff 7f ff ff"), (24, "00 00 80 ff ff 7f ff ff ff")]
)
def test_raw_samples_are_little_endian(width_and_samples: tuple[int, str]) -> None:
    bits, expected = width_and_samples
    frames = np.array([[-(1 << (bits - 1))], [(1 << (bits - 1)) - 1], [-1]], np.int32)
    assert raw_samples(frames, bits=bits, unsigned_8=False).hex(" ") == expected.replace("00 7f ff", "80 7f ff")


def test_samples_of_8_bits_can_be_unsigned() -> None:
    frames = np.array([[-128, -1, 0, 127]], np.int32)
    assert raw_samples(frames, bits=8, unsigned_8=True) == bytes([0, 127, 128, 255])


@pytest.mark.skipif(shutil.which("flac") is None, reason="flac is missing: apt install flac")
def test_the_reference_encoder_writes_no_padding_and_no_seek_table() -> None:
    sound = tone(200_000)  # longer than the 10 s between two seek points
    pairs = zip(CODECS["flac-cli-8"].measure([sound]), CODECS["flac-8"].measure([sound]), strict=True)
    assert all(abs(command.compressed_bytes - library.compressed_bytes) < 50 for command, library in pairs)


@pytest.mark.skipif(shutil.which("wavpack") is None, reason="wavpack is missing: apt install wavpack")
def test_wavpack_stores_no_header_of_another_format() -> None:
    silence = Made(np.zeros((1, 1), np.int32), 16)
    # A block header of 32 bytes, and metadata of the decorrelation; a RIFF header would be 44 more.
    assert CODECS["wavpack"].measure([silence])[0].compressed_bytes < 160


def test_commands_are_told_the_format() -> None:
    assert commands.wavpack(Format(8, 22_050, 3))[-1] == "--raw-pcm=22050,8u,3,le"
    assert commands.wavpack(Format(24, 22_050, 3))[-1] == "--raw-pcm=22050,24s,3,le"
    assert commands.flac_8(Format(16, 75_264, 9))[-3:] == ["--channels=1", "--bps=16", "--sample-rate=75260"]
