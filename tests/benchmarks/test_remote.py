import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("moto.server", reason="no moto: pip install 'audiochunk[dev]'")
pytest.importorskip("s3fs", reason="no s3fs: pip install 'audiochunk[remote]'")

import remote


def test_every_way_has_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--shards", "6", "--shard-mib", "1", "--latency", "0", "--mb-per-s", "1000", "--step", "0"]
    monkeypatch.setattr(sys, "argv", ["remote.py", *arguments, "--out", str(tmp_path)])
    for name in (*remote.environment(), "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "")  # so that it is afterwards what it was before
    remote.main()
    first, others = json.loads((tmp_path / "remote.json").read_text())["tables"]
    assert len([name for name in first if "ahead" in name]) == 4
    assert all(times["first"] > 0 for name, times in first.items() if "ahead" in name)
    assert others["opening"] > 0
    assert "| the same, with nothing fetched ahead |" in capsys.readouterr().out
