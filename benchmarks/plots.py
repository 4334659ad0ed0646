"""Pictures of the tables: bars of the fraction of the limit for every corpus, and lines of seconds against size.

A stroke on a bar is the marginal fraction, without start-up.

    python benchmarks/plots.py benchmarks/results
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"audiochunk": "#1b6ca8", "limit": "#999999"}
OTHERS = "#d9a441"


def _colour(name: str) -> str:
    return next((colour for start, colour in COLOURS.items() if name.startswith(start)), OTHERS)


def bars(content: dict[str, Any], file: Path) -> None:
    """One panel a table of builds: the fraction of the limit that every contender reaches."""
    found = content["tables"]
    tall = max(len(table["rows"]) for table in found)
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(7 * columns, 0.9 + rows * (0.6 + 0.24 * tall)), squeeze=False, layout="constrained"
    )
    for axis, table in zip(axes.flat, found, strict=False):
        some = [row for row in table["rows"] if row["of_limit"] is not None][::-1]
        # The figures stand with the names: beside the bars, strokes would hide them.
        names = [f"{row['name']}  {row['of_limit']:.2f}" for row in some]
        axis.barh(names, [row["of_limit"] for row in some], color=[_colour(name) for name in names])
        strokes = zip(some, names, strict=True)
        marginal = [(row["marginal"], name) for row, name in strokes if row["marginal"] is not None]
        if marginal:
            axis.scatter(*zip(*marginal, strict=True), marker="|", s=90, color="black", label="marginal", zorder=3)
            axis.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
        axis.set_title(table["title"], fontsize=10)
        axis.tick_params(labelsize=8)
        axis.set_xlim(0, 1.15 * max([1.0, *(row["of_limit"] for row in some), *(value for value, _ in marginal)]))
        axis.axvline(1, color="#555555", linewidth=0.8)
    for axis in axes.flat[len(found) :]:
        axis.remove()
    figure.suptitle("Builds: fraction of the speed of reading and writing the same bytes")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def lines(content: dict[str, Any], file: Path) -> None:
    """One panel a corpus: median seconds at every size, with their range, and the line through them."""
    sizes = [table for table in content["tables"] if "builds" in table]
    fits = {table["corpus"]: table["lines"] for table in content["tables"] if "lines" in table}
    figure, axes = plt.subplots(1, len(sizes), figsize=(6 * len(sizes), 4), squeeze=False, layout="constrained")
    for axis, table in zip(axes.flat, sizes, strict=True):
        x = table["recordings"]
        for number, (name, runs) in enumerate(table["builds"].items()):
            line = fits[table["corpus"]].get(name)
            if line is None:
                continue
            y = [statistics.median(run["seconds"]) for run in runs]
            low = [middle - min(run["seconds"]) for middle, run in zip(y, runs, strict=True)]
            high = [max(run["seconds"]) - middle for middle, run in zip(y, runs, strict=True)]
            colour = COLOURS["limit"] if name == "limit" else f"C{number}"
            axis.errorbar(x, y, (low, high), fmt="o", color=colour, label=name, capsize=3)
            ends = (0, x[-1])
            axis.plot(ends, [line["intercept_s"] + line["s_per_recording"] * end for end in ends], color=colour)
        axis.set_title(f"{table['corpus']}, up to {table['source_bytes'][-1] / 1e6:,.0f} MB", fontsize=10)
        axis.set_xlabel("recordings")
        axis.set_ylabel("seconds")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def draw(folder: Path) -> list[Path]:
    """A picture beside each of the folder's results that there is one for."""
    drawn = []
    for name, picture in (("build", bars), ("scaling", lines)):
        results = folder / f"{name}.json"
        if results.exists():
            picture(json.loads(results.read_text()), folder / f"{name}.png")
            drawn.append(folder / f"{name}.png")
    return drawn


if __name__ == "__main__":
    print(*draw(Path(sys.argv[1])), sep="\n")
