import os
import resource
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiochunk
from audiochunk.errors import DatasetError, MachineError

from .made import make


@pytest.mark.parametrize("victim", [0, 6])
def test_a_missing_or_cut_shard_is_reported_when_the_dataset_is_opened(
    tmp_path: Path, way: dict[str, Any], victim: int
) -> None:
    make(tmp_path / "made", [2] * 7, **way)
    shard = next((tmp_path / "made").glob(f"train-{victim:05d}*"))
    size = shard.stat().st_size
    for length in (size - 1, size + 1, 0):
        os.truncate(shard, length)
        with pytest.raises(DatasetError, match=f"train-0000{victim}.*: {length} bytes; the manifest says {size}"):
            audiochunk.open(tmp_path / "made")
    shard.unlink()
    with pytest.raises(DatasetError, match=f"train-0000{victim}.*cannot be read: no such file"):
        audiochunk.open(tmp_path / "made")


def test_of_more_than_a_thousand_shards_the_others_are_reported_when_they_are_wanted(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    everything = make(tmp_path / "made", [1] * 1002, chunk_bytes=16, **way)
    next((tmp_path / "made").glob("train-01000*")).unlink()
    ds = audiochunk.open(tmp_path / "made")
    np.testing.assert_array_equal(ds[[999, 1001]], everything[[999, 1001]])
    for index in (1000, [3, 1000]):
        with pytest.raises(DatasetError, match=r"train-01000.*cannot be read: no such file"):
            ds[index]


def test_a_shard_that_is_cut_after_opening_is_refused_when_it_is_wanted(tmp_path: Path, way: dict[str, Any]) -> None:
    make(tmp_path / "made", [2, 2], **way)
    ds = audiochunk.open(tmp_path / "made")
    shard = next((tmp_path / "made").glob("train-00001*"))
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(DatasetError, match=r"train-00001.* bytes; the manifest says"):
        ds[3]


def test_a_link_inside_the_folder_is_followed(tmp_path: Path, way: dict[str, Any]) -> None:
    everything = make(tmp_path / "made", [2, 2], **way)
    shard = next((tmp_path / "made").glob("train-00001*"))
    shard.rename(shard.with_name("moved"))
    shard.symlink_to("moved")
    np.testing.assert_array_equal(audiochunk.open(tmp_path / "made")[[3]], everything[[3]])


def test_a_dataset_may_be_reached_through_a_link(tmp_path: Path, way: dict[str, Any]) -> None:
    everything = make(tmp_path / "made", [2, 2], **way)
    (tmp_path / "link").symlink_to("made")
    np.testing.assert_array_equal(audiochunk.open(tmp_path / "link")[[3]], everything[[3]])


def test_limit_of_this_process_is_no_damage(tmp_path: Path) -> None:
    make(tmp_path / "made", [4, 3])
    ds = audiochunk.open(tmp_path / "made")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for use in (lambda: ds[0], lambda: ds.recordings, lambda: audiochunk.open(tmp_path / "made")):
            with pytest.raises(MachineError, match=r"cannot be read: too many open files \(ulimit -n\)"):
                use()
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(ds[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be several users")
def test_file_that_this_user_may_not_read_is_no_damage(request: pytest.FixtureRequest) -> None:
    shared = Path(tempfile.mkdtemp())  # pytest's own folders are for one user
    request.addfinalizer(lambda: shutil.rmtree(shared))
    shared.chmod(0o755)
    make(shared / "made", [4, 3])
    (shared / "made" / "train-00001.safetensors").chmod(0)
    (shared / "made" / "manifest.json").chmod(0o644)
    pid = os.fork()
    if not pid:
        try:
            os.setuid(65534)
            with pytest.raises(MachineError, match=r"train-00001.safetensors: cannot be read: permission denied$"):
                audiochunk.open(shared / "made")[5]
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
