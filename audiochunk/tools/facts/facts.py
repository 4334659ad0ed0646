"""Facts: what a survey of a dataset's chunks found."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from audiochunk.config import Encoding
from audiochunk.errors import printable
from audiochunk.reader.recordings import Recordings
from audiochunk.tools.facts.findings import sentences
from audiochunk.tools.facts.stats import columns_of


@dataclass(frozen=True, eq=False)
class Facts:
    """What a survey found: a column of values beside each row of the recordings table, and what they come to.

    Padding counts for nothing. Samples are fractions of full scale; where a linear code stands for a step of samples,
    because the source had more bits, they are the middle of the step.

    Attributes:
        dataset_id: of the dataset.
        encoding: of its chunks.
        stats: that were asked for, in the order of `audiochunk.tools.facts.ALL`.
        splits: that were surveyed, by name: the chunks of each.
        rows: of their recordings that were used, split by split, in the table's order.
        columns: by name, an array with a value for each row. Always there is
            `samples`: in chunks.
            Of "depth", for linear codes:
            `effective_bits`: bits of a code down to the lowest that is ever used; 0 where all is silence.
            `distinct`: how many different codes there are; -1 where more than 16 bits are used.
            `origin`: "mu-law" or "A-law" where all are samples that G.711 decodes to, and not by chance; "8-bit" where
            they lie on an even grid of at most 256 values; "few" where many samples have at most 256 codes far apart;
            else "".
            Of "depth" and "silence": `silent_samples`, that have exactly the code of silence, as they do wherever a
            wave crosses it.
            Of "silence":
            `silent_chunks`: that have nothing but silence. `constant_chunks`: that have one code throughout, whichever.
            `quiet_chunks`: that have only the code of silence and the one below, which is what audio of less than a
            step becomes.
            Of "dc": `dc`, the mean; of several channels, that of the one which is furthest from 0.
            Of "clipping": `clipped_runs`, of at least 3 samples of one channel at the largest or smallest code that the
            source can have, and `clipped_samples` in them.
            Of "channels": `copied_channels`, that are the same as one before them, and `constant_channels`.
            Of "loudness": `rms`, `peak`. A full-scale square wave has an rms of 1.
            Of "codes": `entropy` of single codes in bits, NaN of 24-bit ones.
            Of "duplicates", constant chunks left out:
            `duplicate_of`: number of the row of the first recording whose chunks are all the same, or -1.
            `repeated_chunks`: that are the same as one before them in the dataset.
            `leaked_chunks`: that are in another split too.
        bins: (256,) how many codes lie in each of so many equal ranges; of "codes", else empty.
        entropy: of single codes, over all; NaN unless "codes" was asked for, and of 24-bit codes.
        shared: of "duplicates": (splits, splits), how many chunks of the one are also in the other.
    """

    dataset_id: str
    encoding: Encoding
    stats: tuple[str, ...]
    splits: dict[str, int]
    rows: Recordings
    columns: dict[str, npt.NDArray[Any]]
    bins: npt.NDArray[np.int64]
    entropy: float
    shared: npt.NDArray[np.int64]

    def findings(self) -> list[str]:
        """What was found that changes a result, in plain English, the worst first; nothing that was not found."""
        return sentences(self)

    def only(self, stats: tuple[str, ...]) -> "Facts":
        """The same as if only these stats, some of its own, had been asked for."""
        counted, compared = "codes" in stats, "duplicates" in stats
        return replace(
            self,
            stats=stats,
            columns={name: self.columns[name] for name in columns_of(stats)},
            bins=self.bins if counted else self.bins[:0],
            entropy=self.entropy if counted else float("nan"),
            shared=self.shared if compared else self.shared[:0, :0],
        )

    def totals(self) -> dict[str, Any]:
        """What the columns come to, as far as sums make sense."""
        n_chunks = sum(self.splits.values())
        found: dict[str, Any] = {
            "recordings": int((self.rows.channel <= 0).sum()),
            "chunks": n_chunks,
            "samples": int(self.columns["samples"].sum()),
        }
        if "silence" in self.stats:
            for name in ("silent_samples", "silent_chunks", "constant_chunks", "quiet_chunks"):
                found[name] = int(self.columns[name].sum())
        if "clipping" in self.stats:
            for name in ("clipped_runs", "clipped_samples"):
                found[name] = int(self.columns[name].sum())
        if "codes" in self.stats:
            found |= {"entropy": _number(self.entropy), "bins": self.bins.tolist()}
        if "duplicates" in self.stats:
            names = list(self.splits)
            found["repeated_chunks"] = int(self.columns["repeated_chunks"].sum())
            found["shared_chunks"] = [
                {"split": split, "also_in": other, "chunks": int(self.shared[a, b])}
                for a, split in enumerate(names)
                for b, other in enumerate(names)
                if self.shared[a, b]
            ]
        return found

    def plain(self) -> dict[str, Any]:
        """All of it as values that JSON can hold; `recordings` are columns, of which a table can be made."""
        return {
            "dataset_id": self.dataset_id,
            "stats": list(self.stats),
            "splits": self.splits,
            "findings": self.findings(),
            "totals": self.totals(),
            "recordings": {
                "split": [row.split for row in self.rows],
                "path": [printable(row.path_bytes) for row in self.rows],
                "channel": [row.channel for row in self.rows],
                **{name: plain_column(column) for name, column in self.columns.items()},
            },
        }


def plain_column(column: npt.NDArray[Any]) -> list[Any]:
    """The values of a column, None where there are none."""
    values: list[Any] = column.tolist()
    return [_number(value) for value in values] if column.dtype.kind == "f" else values


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
