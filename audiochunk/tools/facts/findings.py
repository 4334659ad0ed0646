"""Findings: what facts mean for a result, as sentences."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audiochunk.errors import printable
from audiochunk.signal.sndfile import bits_of
from audiochunk.tools.facts.source import FEW, is_cut, promised_bits
from audiochunk.tools.text import count, percent

if TYPE_CHECKING:
    from audiochunk.tools.facts.facts import Facts

Mask = npt.NDArray[np.bool_]

_NAMED = 3  # recordings that a sentence names
_LEAST_SAMPLES = 256  # that are not silence: fewer may have zeros in their low bits by chance
_LEAST_CODES = 16  # different ones; with fewer it is a test signal
_SHARE = 0.01  # of chunks or samples that are worth a sentence
_DC = 0.01  # of full scale
_FINE = 16  # bits whose outermost code is no wider than clipping is
_ORIGINS = {
    "mu-law": "decoded from mu-law",
    "A-law": "decoded from A-law",
    "8-bit": "rescaled, to go by the even grid,",
}


def sentences(facts: "Facts") -> list[str]:
    """What was found that changes a result, the worst first; see `Facts.findings`."""
    found: list[str] = []
    for stat, say in _SAY:
        if stat in facts.stats and facts.rows:
            found += say(facts)
    return found


def _duplicates(facts: "Facts") -> Iterator[str]:
    copies = facts.columns["duplicate_of"]
    rows = facts.rows
    again = np.flatnonzero(copies >= 0)
    elsewhere = np.zeros(len(rows), np.bool_)
    elsewhere[again] = [rows[i].split != rows[copies[i]].split for i in again]
    if elsewhere.any():
        yield (
            f"{_count(facts, elsewhere, 'is', 'are')} in another split too, chunk for chunk"
            f" ({_pairs(facts, elsewhere, splits=True)}): a leak; what is tested on was trained on."
        )
    # Those that a leaked recording is a copy of are named with it.
    known = elsewhere.copy()
    known[copies[elsewhere]] = True
    yield from _shared_chunks(facts, known)
    within = (copies >= 0) & ~elsewhere
    if within.any():
        yield (
            f"{_count(facts, within, 'repeats', 'repeat')} another of the same split, chunk for chunk"
            f" ({_pairs(facts, within, splits=False)}): counted twice in every average."
        )
    repeated = np.where(copies < 0, facts.columns["repeated_chunks"], 0)
    if repeated.any():
        n, share = int(repeated.sum()), _share(int(repeated.sum()), sum(facts.splits.values()))
        yield (
            f"{count(n, 'more chunk')} ({share}) {'repeats' if n == 1 else 'repeat'} an earlier one, most in"
            f" {_names(facts, repeated > 0, repeated)}: a loop or a test tone perhaps; a model can learn"
            f" {'it' if n == 1 else 'them'} by heart."
        )


def _shared_chunks(facts: "Facts", known: Mask) -> Iterator[str]:
    names = list(facts.splits)
    for pair in combinations(range(len(names)), 2):
        small, large = sorted(pair, key=lambda split: (facts.splits[names[split]], -split))
        n = int(facts.shared[small, large])
        if not n:
            continue
        mine = np.array([row.split == names[small] for row in facts.rows])
        leaked = np.where(mine & ~known, facts.columns["leaked_chunks"], 0)
        others = f", some in other recordings (most in {_names(facts, leaked > 0, leaked)})" if leaked.any() else ""
        yield (
            f"{count(n, 'chunk')} of {names[small]} ({_share(n, facts.splits[names[small]])})"
            f" {'is' if n == 1 else 'are'} also in {names[large]}{others}: a model may have learned"
            f" {'it' if n == 1 else 'them'} by heart."
        )


def _channels(facts: "Facts") -> Iterator[str]:
    channels, cut, bits = facts.rows.channels, _cut(facts), facts.encoding.bits
    copied, constant = (_per_recording(facts, facts.columns[f"{which}_channels"]) for which in ("copied", "constant"))
    all_same = (channels > 1) & (copied == channels - 1)
    pays = "a codec that looks across channels pays for one, a model of bytes for all"
    for same, at, what, means in (
        (all_same & ~cut, "", "samples", "mono stored more than once"),
        (all_same & cut, f"At {bits} bits, ", "codes", "no more to code than mono stored more than once"),
    ):
        if same.any():
            yield (
                f"{at}{_count(facts, same, 'has', 'have')} the same {what} in all channels ({_names(facts, same)}):"
                f" {means}; {pays}."
            )
    some = (copied > 0) & ~all_same
    for same, at, what in ((some & ~cut, "", "samples"), (some & cut, f"At {bits} bits, ", "codes")):
        if same.any():
            has = _count(facts, same, "has", "have")
            yield f"{at}{has} the same {what} in some channels ({_names(facts, same, copied)})."
    dead = (constant > 0) & (constant < channels)
    for still, at, what in (
        (dead & ~cut, "", "without any signal"),
        (dead & cut, f"At {bits} bits, ", "of one code throughout"),
    ):
        if still.any():
            has = _count(facts, still, "has", "have")
            yield f"{at}{has} a channel {what} ({_names(facts, still, constant)}): that part costs nothing."


def _depth(facts: "Facts") -> Iterator[str]:
    if facts.encoding.quantizer != "linear":
        return
    columns = facts.columns
    promised = np.array([promised_bits(row, facts.encoding) for row in facts.rows])
    sounding = columns["samples"] - columns["silent_samples"] >= _LEAST_SAMPLES
    is_log = np.array([row.subtype in ("ULAW", "ALAW") for row in facts.rows])
    wide = sounding & (promised > 8) & ~is_log
    disguised = wide & np.isin(columns["origin"], list(_ORIGINS))
    effective, distinct = columns["effective_bits"], columns["distinct"]
    varied = (distinct < 0) | (distinct >= _LEAST_CODES)
    narrow = sounding & varied & (effective > 0) & (effective < promised) & ~disguised & ~is_log
    if narrow.any():
        pairs = list(zip(promised[narrow].tolist(), effective[narrow].tolist(), strict=True))
        kinds = sorted(set(pairs), key=lambda pair: (-pairs.count(pair), pair))
        parts = []
        for could, are in kinds[:_NAMED]:
            of_kind = narrow & (promised == could) & (effective == are)
            parts.append(f"{are} of {could} in {_recordings(facts, of_kind):,} ({_names(facts, of_kind)})")
        if len(kinds) > _NAMED:
            parts.append(f"others in {sum(pairs.count(pair) for pair in kinds[_NAMED:]):,}")
        yield (
            f"{_count(facts, narrow, 'uses', 'use')} fewer bits than the format has: {', '.join(parts)}."
            " The low bits are always 0, which FLAC leaves out and gzip finds in part: compare with fewer bits raw."
        )
    bits = 8 * facts.encoding.bytes_per_code
    padded = sounding & ~is_log & (effective > 0) & (promised < facts.encoding.bits) & (8 * -(-effective // 8) < bits)
    if columns["samples"][padded].sum() >= _SHARE * columns["samples"].sum() and padded.any():
        low, high = int(effective[padded].min()), int(effective[padded].max())
        has = f"{high}" if low == high else f"{low} to {high}"
        yield (
            f"{_count(facts, padded, 'has', 'have')} {has} bits in codes of {facts.encoding.bits}"
            f" ({_names(facts, padded)}): bytes that are always 0 make every ratio better; compare at --bits"
            f" {min(b for b in (8, 16, 24) if b >= high)}."
        )
    if disguised.any():
        parts = []
        for name, words in _ORIGINS.items():
            of_kind = disguised & (columns["origin"] == name)
            if of_kind.any():
                parts.append(f"{words} in {_recordings(facts, of_kind):,} ({_names(facts, of_kind)})")
        yield (
            f"{_count(facts, disguised, 'holds', 'hold')} no more than 8 bits: {', '.join(parts)}."
            f" At most {FEW} codes occur, which a model or an entropy coder finds out."
        )
    few = wide & (columns["origin"] == "few")
    if few.any():
        yield (
            f"{_count(facts, few, 'uses', 'use')} at most {FEW} codes, far apart ({_names(facts, few)}): synthetic, or"
            " 8-bit audio that was processed; easier than a recording."
        )


def _clipping(facts: "Facts") -> Iterator[str]:
    samples = facts.columns["clipped_samples"]
    # The top of a loud sine stays for a while in a wide step, clipped or not.
    coarse = np.array([min(facts.encoding.bits, bits_of(row.subtype)) < _FINE for row in facts.rows])
    coarse |= facts.encoding.quantizer == "mulaw"
    much = samples >= _SHARE * facts.columns["samples"]
    for clipped, words in (
        (~coarse & (samples > 0), "at full scale for 3 samples or more: clipped, or a waveform with flat tops"),
        (coarse & (samples > 0) & much, "in the outermost code for 3 samples or more: loud, and perhaps clipped"),
    ):
        if clipped.any():
            runs, n = int(facts.columns["clipped_runs"][clipped].sum()), int(samples[clipped].sum())
            share = _share(n, int(facts.columns["samples"][clipped].sum()))
            yield (
                f"{_count(facts, clipped, 'stays', 'stay')} {words}; {count(runs, 'time')}, {share} of"
                f" {'its' if _recordings(facts, clipped) == 1 else 'their'} samples"
                f" (most in {_names(facts, clipped, samples)})."
            )


def _silence(facts: "Facts") -> Iterator[str]:
    columns, n_chunks = facts.columns, sum(facts.splits.values())
    samples, zeros = (_per_recording(facts, columns[f"{which}samples"]) for which in ("", "silent_"))
    silent = (samples > 0) & (zeros == samples)
    bits, cut = facts.encoding.bits, _cut(facts)
    if (silent & ~cut).any():
        yield (
            f"{_count(facts, silent & ~cut, 'is', 'are')} nothing but silence"
            f" ({_names(facts, silent & ~cut, samples)}): coded for nothing by any model."
        )
    if (silent & cut).any():
        yield (
            f"At {bits} bits, {_count(facts, silent & cut, 'has', 'have')} no code but that of silence"
            f" ({_names(facts, silent & cut, samples)}): coded for nothing by any model."
        )
    empty, constant = (int(columns[name].sum()) for name in ("silent_chunks", "constant_chunks"))
    if constant >= _SHARE * max(1, n_chunks):
        share = _share(empty, n_chunks)
        what = f"code throughout at {bits} bits, that of silence in {share}"
        if not cut.any():
            what = f"value throughout, which is digital silence in {share}"
        where = _names(facts, columns["constant_chunks"] > 0, columns["constant_chunks"])
        yield (f"{_share(constant, n_chunks)} of chunks hold one {what} (most in {where}): they flatter every average.")
    # Of 16 bits and more, a step is less than anybody hears.
    coarse = cut & (facts.encoding.quantizer == "linear" and bits < _FINE)
    quiet = np.where(coarse, columns["quiet_chunks"], 0)
    if quiet.sum() - columns["constant_chunks"][coarse].sum() >= _SHARE * n_chunks and quiet.any():
        zero = 2 ** (bits - 1)
        yield (
            f"{_share(int(quiet.sum()), n_chunks)} of chunks hold no codes but {zero - 1:,} and {zero:,} (most in"
            f" {_names(facts, quiet > 0, quiet)}): audio of less than a step of"
            f" {bits} bits; more bits would tell it from silence."
        )


def _dc(facts: "Facts") -> Iterator[str]:
    dc = np.abs(np.nan_to_num(facts.columns["dc"]))
    # A short recording need not end where its last cycle does, and then has a mean without an offset.
    seconds = facts.rows.frames / facts.rows.sample_rate
    shifted = (dc >= _DC) & (seconds >= 1)
    if shifted.any():
        worst = int(np.argmax(np.where(shifted, dc, 0)))
        yield (
            f"{_count(facts, shifted, 'has', 'have')} a DC offset of 1 % of full scale or more, up to"
            f" {100 * dc[worst]:.1f} % ({_names(facts, shifted, dc)}): codes are not centred, which a codec or model"
            " that expects silence in the middle pays for."
        )


_SAY: tuple[tuple[str, Callable[["Facts"], Iterator[str]]], ...] = (
    ("duplicates", _duplicates),
    ("channels", _channels),
    ("depth", _depth),
    ("clipping", _clipping),
    ("silence", _silence),
    ("dc", _dc),
)


def _cut(facts: "Facts") -> Mask:
    """For each row whether samples that differ may have the same code."""
    if facts.encoding.quantizer != "linear":
        return np.ones(len(facts.rows), np.bool_)
    return np.array([is_cut(row, facts.encoding) for row in facts.rows], np.bool_)


def _per_recording(facts: "Facts", column: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """For each row the sum over all rows of its recording."""
    recording = np.cumsum(facts.rows.channel <= 0) - 1
    sums = np.zeros(len(facts.rows), np.int64)
    np.add.at(sums, recording, column)
    summed: npt.NDArray[np.int64] = sums[recording]
    return summed


def _recordings(facts: "Facts", mask: Mask) -> int:
    return len({(facts.rows[i].split, facts.rows[i].path_bytes) for i in np.flatnonzero(mask)})


def _count(facts: "Facts", mask: Mask, one: str, more: str) -> str:
    n = _recordings(facts, mask)
    return f"{count(n, 'recording')} {one if n == 1 else more}"


def _names(facts: "Facts", mask: Mask, worst: npt.NDArray[np.generic] | None = None) -> str:
    """The first recordings, or those with the most of something, and how many more there are."""
    order = np.flatnonzero(mask)
    if worst is not None:
        order = order[np.argsort(-worst[order].astype(np.float64), kind="stable")]
    paths = list(dict.fromkeys(printable(facts.rows[i].path_bytes) for i in order))
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more


def _pairs(facts: "Facts", mask: Mask, *, splits: bool) -> str:
    """Which recordings are copies of which."""
    found = {}
    for i in np.flatnonzero(mask):
        row, original = facts.rows[i], facts.rows[facts.columns["duplicate_of"][i]]
        names = [printable(r.path_bytes) + (f" in {r.split}" if splits else "") for r in (row, original)]
        found[row.split, row.path_bytes] = " = ".join(names)
    more = [f"{len(found) - _NAMED:,} more"] if len(found) > _NAMED else []
    return "; ".join([*list(found.values())[:_NAMED], *more])


def _share(n: int, of: int) -> str:
    return percent(n / max(1, of))
