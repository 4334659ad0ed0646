"""The page about a million hours has the tables that its script computes, and what it says of limits holds."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import audiochunk
from audiochunk.storage.manifest import MAX_MANIFEST_BYTES

ROOT = Path(audiochunk.__file__).parents[1]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scale", module)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_script(scale: ModuleType) -> None:
    made = scale.tables(1_000_000, 16_000, 1)
    for table in made:
        assert f"## {table.title}\n" in PAGE
        rows = table.markdown().split("\n\n")[-1].strip()
        assert rows in PAGE, table.title
    assert PAGE.count("\n| --- |") == len(made)


def test_the_limit_of_a_manifest_is_the_one_of_the_format(scale: ModuleType) -> None:
    assert scale.MOST_MANIFEST == MAX_MANIFEST_BYTES


@pytest.mark.parametrize("option", ["--hours", "--rate", "--days"])
@pytest.mark.parametrize("value", ["-5", "0", "nan", "inf", "many"])
def test_what_is_no_size_is_refused(
    scale: ModuleType, option: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scale.py", f"{option}={value}"])
    with pytest.raises(SystemExit) as ended:
        scale.main()
    assert ended.value.code == 2
    assert f"argument {option}: a number above 0, not '{value}'" in capsys.readouterr().err
