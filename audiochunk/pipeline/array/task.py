"""Which task of a job array a process is."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from audiochunk.errors import ConfigError

_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT")


@dataclass(frozen=True, slots=True)
class ArrayTask:
    """One task of a job array: `number` of `count`, counted from 0. It makes every `count`-th shard of the plan."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> "ArrayTask":
        """The task that "3/20" means, or "auto": the one that Slurm's variables name.

        Raises:
            ConfigError: it means none.

        >>> ArrayTask.parse("3/20")
        ArrayTask(number=3, count=20)
        """
        if text == "auto":
            for name in _SLURM:
                value = environment.get(name, "")
                if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
                    found = f"{value!r}, not a number" if value else "not set"
                    raise ConfigError(
                        f"task auto needs the variables of a Slurm array; {name} is {found} (without Slurm: --task I/N)"
                    )
            task, first, step, count = (int(environment[name]) for name in _SLURM)
            number, rest = divmod(task - first, step or 1)
            if rest or not 0 <= number < count:
                raise ConfigError(f"task auto: {task} is none of {count} tasks from {first} in steps of {step}")
            return cls(number, count)
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if match is None or not int(match[1]) < int(match[2]):
            raise ConfigError(f"task is auto, or I/N with I from 0 to N - 1, such as 3/20; not {text!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
