"""Workers of Dask, real processes, that share nothing with the build but an object store."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import audiochunk
from tests.pipeline.cluster.processes import Cluster
from tests.waiting import LONG_S

from .made import built, make_recordings, objects_of, put

if find_spec("distributed") is None:
    pytest.skip("distributed is not installed: pip install 'audiochunk[dask]'", allow_module_level=True)

ROOT = Path(audiochunk.__file__).parents[1]


@pytest.fixture
def workers(s3: str, tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler whose workers reach the store."""
    there = Cluster(tmp_path)
    yield there
    there.end()


def command(source: str, out: str, address: str) -> list[str]:
    patient = f"dask._CONNECT_S = dask._ANSWER_S = {LONG_S:.0f}"
    code = f"from audiochunk.cli import main; from audiochunk.pipeline.cluster import dask; {patient}; main()"
    command = [sys.executable, "-c", code, "build", source, "--out", out, "--shard-size", "20000"]
    return [*command, "--executor", f"dask://{address}"]


def test_workers_build_from_url_to_url_with_no_folder_in_common(
    s3: str,
    workers: Cluster,
    tmp_path: Path,
) -> None:
    folder = make_recordings(tmp_path / "recordings")
    put(folder, f"{s3}/rec")
    expected = built(folder, tmp_path / "shards")
    folder.rename(tmp_path / "away")
    for _ in range(2):
        workers.worker()
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        command(f"{s3}/rec", f"{s3}/shards", workers.address),
        env=environment,
        cwd=tmp_path / "empty",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert objects_of(f"{s3}/shards") == expected
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_worker_without_credentials_says_so_before_the_build(
    s3: str,
    workers: Cluster,
    tmp_path: Path,
    environment: pytest.MonkeyPatch,
) -> None:
    put(make_recordings(tmp_path / "recordings", n=3), f"{s3}/rec")
    own = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    for name in own:
        environment.delenv(name)
    workers.worker()
    done = subprocess.run(
        command(f"{s3}/rec", f"{s3}/shards", workers.address),
        env={**os.environ, **own, "PYTHONPATH": os.fspath(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert "worker tcp://" in done.stderr
    assert "no credentials were found" in done.stderr
    for name, value in own.items():
        environment.setenv(name, value)
    assert not any(name.startswith("train") for name in objects_of(f"{s3}/shards"))
