"""A small dataset with something of everything that a report tells."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import xxhash

import audiochunk
from audiochunk.config import BuildConfig
from audiochunk.storage.manifest import Manifest, RecordingsEntry, SplitTotals, dataset_id

pytest.importorskip("matplotlib", reason="pip install 'audiochunk[report]'")
pytest.importorskip("jinja2", reason="pip install 'audiochunk[report]'")

HOSTILE = '<img src=x onerror="alert(1)">&\u202egnp$x$.wav'


def write_recordings(folder: Path) -> None:
    """Tones of two rates, a leak, a name to be afraid of, silence, and what is refused or too short."""
    rng = np.random.Generator(np.random.PCG64(4))
    folder.mkdir()
    tone = np.sin(np.arange(44_100) / 20) * 12_000
    sf.write(folder / "stereo.wav", np.stack([tone, tone / 2], 1).astype(np.int16), 44_100)
    noise = rng.integers(-9000, 9000, 20_000).astype(np.int16)
    sf.write(folder / "copy a.wav", noise, 16_000)
    sf.write(folder / "copy b.wav", noise, 16_000)
    sf.write(folder / "plain.wav", rng.integers(-90, 90, 9000).astype(np.int16), 8000)
    (folder / "plain.wav").rename(folder / HOSTILE.replace("/", ""))
    sf.write(folder / "bat.wav", rng.integers(-900, 900, 250_000).astype(np.int16), 384_000)
    sf.write(folder / "slow.wav", rng.integers(-900, 900, 5000).astype(np.int16), 100)
    sf.write(folder / "six.wav", rng.integers(-900, 900, (9000, 6)).astype(np.int16), 48_000)
    sf.write(folder / "silence.wav", np.zeros(9000, np.int16), 8000)
    sf.write(folder / "click.wav", np.ones(100, np.int16), 8000)
    for number in range(12):
        (folder / f"empty {number:02}.wav").write_bytes(b"")


@pytest.fixture(scope="session")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "wavs"
    write_recordings(folder)
    return folder


@pytest.fixture(scope="session")
def dataset(wavs: Path) -> Path:
    folder = wavs.parent / "shards"
    audiochunk.build(wavs, folder, on_error="skip", split="train=0.6,val=0.4", workers=1)
    return folder


@pytest.fixture
def empty_dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    config = BuildConfig.make()
    (folder / "recordings.jsonl").touch()
    manifest = Manifest(
        encoding=config.encoding,
        options=config.options,
        compression=None,
        splits={"train": SplitTotals(chunks=0, recordings=0, frames=0, seconds=0)},
        shards=(),
        recordings=RecordingsEntry(name="recordings.jsonl", rows=0, digest=xxhash.xxh3_128_hexdigest(b"")),
        skipped=0,
        dataset_id=dataset_id(config.encoding, ()),
    )
    (folder / "manifest.json").write_bytes(manifest.encode())
    return folder
