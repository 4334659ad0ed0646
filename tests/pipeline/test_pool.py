"""How worker processes begin where the folder for temporary files has a long path."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import audiochunk
from audiochunk.errors import MachineError
from audiochunk.pipeline import pool
from tests.waiting import LONG_S

# A second thread, as a store's library has: workers are then forked by a server, which listens at a socket.
SCRIPT = """
import threading
from audiochunk.pipeline.pool import process_pool
if __name__ == "__main__":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    with process_pool(2) as workers:
        print(sum(workers.map(abs, range(-9, 0))))
"""


@pytest.mark.parametrize("n_bytes", [60, 76, 90, 180])
def test_workers_begin_however_long_the_path_for_temporary_files_is(tmp_path: Path, n_bytes: int) -> None:
    folder = Path(f"/tmp/{'x' * 20}-{os.getpid()}-{n_bytes}-".ljust(n_bytes, "y"))
    folder.mkdir()
    try:
        (tmp_path / "script.py").write_text(SCRIPT)
        environment = {
            **os.environ,
            "PYTHONPATH": os.fspath(Path(audiochunk.__file__).parents[1]),
            "TMPDIR": os.fspath(folder),
        }
        command = [sys.executable, os.fspath(tmp_path / "script.py")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LONG_S)
        assert (done.returncode, done.stdout, done.stderr) == (0, "45\n", "")
        assert list(folder.iterdir()) == []
    finally:
        folder.rmdir()


def test_a_path_that_is_too_long_is_told_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.tempdir", os.fspath(tmp_path / ("x" * 90)))
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    monkeypatch.setattr(pool.multiprocessing.current_process(), "_config", {})
    with pytest.raises(MachineError, match=r"too long for a socket of the worker processes.*set TMPDIR to a shorter"):
        pool._keep_paths_of_sockets_short()
