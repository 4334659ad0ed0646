"""Results as Markdown to read and JSON to count with, and what machine they come from."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from rounds import Measured, median


@dataclass
class Table:
    """Rows under columns, with a sentence or two on what they mean.

    Attributes:
        title: of the table.
        note: what was done, what stands beside what.
        columns: their headings; that of the first, the names of the rows, may be empty.
        rows: cells as text, as many as there are columns.
        data: the same and more as numbers, for the JSON.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """The table with its title and note."""
        lines = [f"## {self.title}", "", self.note, ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + " --- |" * len(self.columns))
        lines += [
            "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in row) + " |" for row in self.rows
        ]
        return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """Where this ran, and on what."""
    packages = ("audiochunk", "numpy", "soundfile", "zstandard")
    with open("/proc/cpuinfo") as cpuinfo:
        model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def write(name: str, title: str, tables: Sequence[Table], *, out: Path) -> None:
    """`out/name.md` and `out/name.json`; the Markdown goes to the standard output too."""
    where = machine()
    said = ", ".join(f"{key} {value}" for key, value in where.items())
    text = "\n".join([f"# {title}\n", f"{said}\n", *(table.markdown() for table in tables)])
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text(text)
    content = {"machine": where, "tables": [{"title": table.title, **table.data} for table in tables]}
    (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(text)


def number(value: float | None, digits: int = 2) -> str:
    """A number for a cell; a dash for none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and least to most in brackets."""
    if not values:
        return "–"
    return f"{number(median(values), digits)} ({number(min(values), digits)}–{number(max(values), digits)})"


def measured_data(measured: Measured) -> dict[str, Any]:
    """All runs of a contender as plain values."""
    return {
        "name": measured.name,
        "seconds": measured.seconds,
        "inside": measured.inside,
        "memory_mb": asdict(measured.memory) if measured.memory else None,
        "refused": measured.refused,
    }
