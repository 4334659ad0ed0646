"""What the page about clusters says can be typed, and its links lead somewhere (see test_training_docs.py)."""

from pathlib import Path

import pytest

import audiochunk

from .documents import blocks, calls, command

ROOT = Path(audiochunk.__file__).parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", calls(PAGE), ids=" ".join)
def test_the_commands_of_the_page_are_ones_that_the_program_takes(arguments: list[str]) -> None:
    name, *rest = arguments
    command(name).make_context(name, rest)


def test_all_ways_are_shown() -> None:
    assert {name for name, *_ in calls(PAGE)} == {"build", "plan", "seal"}
    assert any("--executor" in arguments for arguments in calls(PAGE))
    assert any("--task" in arguments for arguments in calls(PAGE))


@pytest.mark.parametrize("code", blocks(PAGE, "python"))
def test_the_python_examples_are_python(code: str) -> None:
    compile(code, "example", "exec")


def test_the_scripts_for_slurm_are_there() -> None:
    for name in ("build.sh", "task.sbatch", "seal.sbatch"):
        assert (ROOT / "examples" / "slurm" / name).exists()
    assert "examples/slurm/build.sh" in PAGE
