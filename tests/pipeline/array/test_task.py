import pytest

from audiochunk.errors import ConfigError
from audiochunk.pipeline.array.task import ArrayTask


def slurm(task: int, first: int, step: int, count: int) -> dict[str, str]:
    names = ("ID", "MIN", "STEP", "COUNT")
    return {f"SLURM_ARRAY_TASK_{n}": str(v) for n, v in zip(names, (task, first, step, count), strict=True)}


@pytest.mark.parametrize(
    ("text", "number", "count"), [("0/1", 0, 1), ("3/20", 3, 20), ("19/20", 19, 20), ("007/10", 7, 10)]
)
def test_a_task_is_a_number_and_how_many_there_are(text: str, number: int, count: int) -> None:
    assert ArrayTask.parse(text) == ArrayTask(number, count)


@pytest.mark.parametrize("text", ["", "3", "20/20", "-1/3", "1/0", "0/0", "a/b", "1/2/3", "1 /2", "٣/20", "AUTO"])
def test_what_is_no_task_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="task is auto, or I/N"):
        ArrayTask.parse(text, {})


@pytest.mark.parametrize(
    ("variables", "number", "count"),
    [
        (slurm(0, 0, 1, 20), 0, 20),
        (slurm(19, 0, 1, 20), 19, 20),
        (slurm(1, 1, 1, 20), 0, 20),
        (slurm(20, 1, 1, 20), 19, 20),
        (slurm(13, 5, 4, 3), 2, 3),  # --array=5-13:4
    ],
)
def test_auto_counts_the_tasks_of_slurm_from_0(variables: dict[str, str], number: int, count: int) -> None:
    assert ArrayTask.parse("auto", variables) == ArrayTask(number, count)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "SLURM_ARRAY_TASK_ID is not set"),
        ({"SLURM_ARRAY_TASK_ID": ""}, "SLURM_ARRAY_TASK_ID is not set"),
        ({"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_MIN is not set"),
        (slurm(1, 0, 1, 20) | {"SLURM_ARRAY_TASK_COUNT": "many"}, "SLURM_ARRAY_TASK_COUNT is 'many', not a number"),
    ],
)
def test_auto_without_the_variables_of_slurm_names_the_one_that_is_missing(
    variables: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"; {said} \(without Slurm: --task I/N\)$"):
        ArrayTask.parse("auto", variables)


@pytest.mark.parametrize("variables", [slurm(6, 5, 4, 3), slurm(17, 5, 4, 3), slurm(4, 5, 1, 3)])
def test_auto_with_a_hole_in_the_array_is_refused(variables: dict[str, str]) -> None:
    """--array=1,5,6 has no step: which task is which cannot be told from these variables."""
    with pytest.raises(ConfigError, match="none of 3 tasks"):
        ArrayTask.parse("auto", variables)
