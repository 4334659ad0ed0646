"""The house rules that no other test would notice: who may import whom, and what an import costs."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import audiochunk

PACKAGE = Path(audiochunk.__file__).parent
FACADE = "audiochunk"

_BASE = {"_version", "errors"}
_CORE = _BASE | {"config", "signal", "storage"}
# What a module or subpackage may import besides itself. Nobody may import integrations; only __main__ imports cli.
MAY_IMPORT = {
    "_version": set(),
    "errors": set(),
    "config": _BASE,
    "signal": _BASE | {"config"},
    "storage": _BASE | {"config"},
    "pipeline": _CORE,
    "reader": _CORE,
    "tools": _CORE | {"pipeline", "reader"},
    FACADE: _CORE | {"pipeline", "reader", "tools"},
    "cli": _CORE | {"pipeline", "reader", "tools", FACADE},
    "integrations": _CORE | {"pipeline", "reader", "tools", FACADE},
    "__main__": {"cli"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))
by_module = pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(PACKAGE).as_posix())


@dataclass(frozen=True)
class Import:
    """One imported thing of this package: the module it comes from, and its name there, or None for all of it."""

    module: tuple[str, ...]
    name: str | None
    known_as: str

    @property
    def layer(self) -> str:
        return layer_of(self.module)


def layer_of(module: tuple[str, ...]) -> str:
    """The first name below the package, or the package's own."""
    return module[1] if len(module) > 1 else FACADE


def name_of(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def is_module(name: tuple[str, ...]) -> bool:
    path = PACKAGE.parent.joinpath(*name)
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports_of(file: Path) -> Iterator[Import]:
    """All imports of this package's modules in a file, those within functions included."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = tuple(alias.name.split("."))
                if module[0] == FACADE:
                    yield Import(module, None, alias.asname or FACADE)
        elif isinstance(node, ast.ImportFrom):
            module = tuple((node.module or "").split(".")) if node.module else ()
            if node.level:
                here = name_of(file) if file.name == "__init__.py" else name_of(file)[:-1]
                module = here[: len(here) - node.level + 1] + module
            if module[:1] != (FACADE,):
                continue
            for alias in node.names:
                whole = (*module, alias.name)
                known_as = alias.asname or alias.name
                yield Import(whole, None, known_as) if is_module(whole) else Import(module, alias.name, known_as)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def run_python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.fspath(PACKAGE.parent)}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_every_module_has_a_layer() -> None:
    assert {layer_of(name_of(file)) for file in MODULES} <= MAY_IMPORT.keys()


@by_module
def test_imports_run_only_downwards(file: Path) -> None:
    layer = layer_of(name_of(file))
    wrong = [i for i in imports_of(file) if i.layer != layer and i.layer not in MAY_IMPORT[layer]]
    assert wrong == []


@by_module
def test_no_private_name_is_imported_from_another_module(file: Path) -> None:
    assert [i for i in imports_of(file) if i.name is not None and is_private(i.name)] == []


@by_module
def test_no_private_name_is_reached_through_a_module(file: Path) -> None:
    modules = {i.known_as for i in imports_of(file) if i.name is None}
    reached = [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
        and is_private(node.attr)
        and node.attr != "_version"
    ]
    assert reached == []


def test_the_walk_over_imports_sees_all_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / FACADE
    (package / "reader").mkdir(parents=True)
    (package / "errors.py").touch()
    (package / "reader" / "__init__.py").touch()
    file = package / "reader" / "dataset.py"
    file.write_text(
        "import os\n"
        "import audiochunk.config as c\n"
        "from audiochunk import errors\n"
        "from audiochunk.errors import _secret as s\n"
        "def f():\n"
        "    from ..pipeline import run\n"
        "    from . import sampler\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", package)
    assert list(imports_of(file)) == [
        Import((FACADE, "config"), None, "c"),
        Import((FACADE, "errors"), None, "errors"),
        Import((FACADE, "errors"), "_secret", "s"),
        Import((FACADE, "pipeline"), "run", "run"),
        Import((FACADE, "reader"), "sampler", "sampler"),
    ]


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["numpy", "soundfile", "zstandard", "torch", "jax", "dask", "distributed", "matplotlib", "jinja2", "fsspec"]
    loaded = run_python(f"import audiochunk, sys; print(*[name for name in {heavy} if name in sys.modules])")
    assert loaded.split() == []


@pytest.mark.parametrize("name", ["build", "open", "ChunkDataset", "BuildConfig", "AudiochunkError"])
def test_a_public_name_loads_when_it_is_asked_for(name: str) -> None:
    heavy = ["torch", "jax", "dask", "distributed", "matplotlib"]
    loaded = run_python(
        f"import audiochunk, sys; audiochunk.{name}; assert {name!r} in dir(audiochunk);"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    assert loaded.split() == []


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"]], ids=" ".join)
def test_no_help_loads_dask(arguments: list[str]) -> None:
    loaded = run_python(
        "import sys; from audiochunk.cli import cli\n"
        f"cli({arguments}, standalone_mode=False)\n"
        "print([name for name in ('dask', 'distributed') if name in sys.modules])"
    )
    assert loaded.splitlines()[-1] == "[]"
