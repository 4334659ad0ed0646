"""README.md: the card that the Hugging Face Hub shows for a dataset."""

import json
import re
from collections.abc import Sequence

from audiochunk.config import Encoding
from audiochunk.errors import printable
from audiochunk.storage.manifest import Manifest
from audiochunk.storage.shard import DATA_OFFSET
from audiochunk.tools.card.about import About
from audiochunk.tools.card.holdings import Holdings
from audiochunk.tools.card.marks import mark_readme
from audiochunk.tools.summary import describe_encoding
from audiochunk.tools.text import count, duration, percent, rate, size

_MOST_KINDS = 20  # of recordings, that are listed

# huggingface_hub's DatasetCardData, `size_categories`
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)


def readme(held: Holdings, about: About, *, description: str) -> bytes:
    """README.md of a dataset: the same bytes for the same arguments, without the names of recordings.

    Args:
        held: what the dataset holds.
        about: what is said of it.
        description: of the dataset, in Markdown.
    """
    parts = [
        _front_matter(held.manifest, about),
        f"# {escape(about.name)}",
        description.strip("\n"),
        *_contents(held),
        *_encoding(held),
        *_reading(held.manifest),
        *_checking(held),
    ]
    return mark_readme("\n\n".join(parts) + "\n\n", held.manifest)


def describe(held: Holdings) -> str:
    """A dataset in one sentence."""
    total, chunk_bytes = held.summary.total, held.manifest.encoding.chunk_bytes
    return (
        f"{count(total.chunks, 'chunk')} of {count(chunk_bytes, 'byte')} each,"
        f" made of {count(total.recordings, 'recording')} ({duration(total.seconds)} of audio)"
        f" to train models on raw audio: {describe_encoding(held.manifest.encoding)}."
    )


def escape(text: str) -> str:
    """One line of text that Markdown and HTML show as it is.

    >>> escape("a_b <i>")
    'a\\\\_b \\\\<i\\\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", printable(text))


def _front_matter(manifest: Manifest, about: About) -> str:
    """What the Hub reads: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md"""
    lines = ["---"]
    if about.license_id is not None:
        lines.append(f"license: {_quoted(about.license_id)}")
    elif about.license is not None:
        lines += ["license: other", f"license_link: {_quoted(about.license)}"]
    chunks = sum(split.chunks for split in manifest.splits.values())
    category = next((name for most, name in _SIZES if chunks < most), "n>1T")
    lines += [
        f"pretty_name: {_quoted(about.name)}",
        f"size_categories:\n- {category}",
        "tags:\n- audio\n- audiochunk",
        "viewer: false",  # it would show the recordings table as if that were the dataset
        "---",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    # A JSON string is a YAML scalar, whatever it holds.
    return json.dumps(text, ensure_ascii=False)


def _contents(held: Holdings) -> list[str]:
    manifest, total = held.manifest, held.summary.total
    splits = [
        (_code(name), f"{of.chunks:,}", f"{of.recordings:,}", duration(of.seconds))
        for name, of in held.summary.splits.items()
    ]
    kinds = [
        (rate(kind.sample_rate), str(kind.channels), _code(kind.subtype), f"{of.recordings:,}", duration(of.seconds))
        for kind, of in list(held.summary.kinds.items())[:_MOST_KINDS]
    ]
    more = len(held.summary.kinds) - len(kinds)
    n_bytes = sum(shard.bytes for shard in manifest.shards)
    facts = [
        ("in all", f"{count(total.chunks, 'chunk')} in {count(len(manifest.shards), 'shard')}, {size(n_bytes)}"),
        ("tail loss", f"{percent(total.tail_loss)} of frames, in incomplete last chunks, which are not here"),
        ("too short for a chunk", f"{count(total.empty, 'recording')} of those above"),
        ("skipped", f"{count(manifest.skipped, 'recording')} left out as unusable, and not counted above"),
        ("clipped", f"{count(total.clipped, 'sample')} beyond full scale, limited to it"),
        ("dataset_id", f"{_code(manifest.dataset_id)}, a digest of the chunks and their encoding"),
        ("format", f"audiochunk, version {manifest.format_version}"),
    ]
    return [
        "## What it holds",
        _table(("split", "chunks", "recordings", "audio"), splits, right=(1, 2, 3)),
        "\n".join(f"- {what}: {fact}" for what, fact in facts),
        "Recordings by sample rate, channels, and how their samples were stored (in libsndfile's words):",
        _table(("sample rate", "channels", "subtype", "recordings", "audio"), kinds, right=(0, 1, 3, 4))
        + (f"\n\nand {count(more, 'more kind')} of them." if more else ""),
        "`recordings.jsonl` has one line for each stream of every recording: its path, split, rate, frames, and"
        " which chunks are its own. Nothing was resampled: a chunk lasts as long as its recording's rate makes it.",
    ]


def _encoding(held: Holdings) -> list[str]:
    encoding = held.manifest.encoding
    width = 16 if encoding.quantizer == "linear" and encoding.bits <= 16 else 32
    half, most = 1 << (encoding.bits - 1), (1 << encoding.bits) - 1
    if encoding.quantizer == "linear":
        forth = f"⌊s × 2^({encoding.bits} − w)⌋ + {half:,}, where s is a sample of w = 16 or 32 bits at full scale"
        shift = width - encoding.bits
        back = f"{f'(code − {half:,}) × 2^{shift}' if shift else f'code − {half:,}'}, an integer of {width} bits"
    else:
        forth = (
            f"⌊(y + 1) / 2 × {most:,} + 1/2⌋, y = sign(x) × ln(1 + {most:,} × abs(x)) / ln(1 + {most:,}), −1 ≤ x ≤ 1"
        )
        back = f"x = sign(y) × ((1 + {most:,})^abs(y) − 1) / {most:,}, y = 2 × code / {most:,} − 1"
    block = "as many as a chunk has room for" if encoding.block == "auto" else f"{encoding.block}"
    layouts = {
        "blocks": f"interleaved in blocks: samples of one channel that follow each other, {block}",
        "mono": "mixed: the mean of a frame's samples, rounded down",
        "split": "a stream of chunks each",
    }
    tails = {"drop": "dropped", "pad": f"filled with the code of silence, {half:,}"}
    rows = [
        ("code of a sample", f"{forth}; silence is {half:,}"),
        ("sample of a code", back),
        ("bits of a code", str(encoding.bits)),
        ("channels", layouts[encoding.layout]),
        ("chunk", f"{count(encoding.chunk_bytes, 'byte')}, {count(encoding.codes_per_chunk, 'code')} of one stream"),
        ("element of a chunk", f"{_element(encoding)}, {encoding.vocab_size:,} values"),
        ("incomplete last chunk", tails[encoding.tail]),
    ]
    return [
        "## Encoding",
        f"{describe_encoding(encoding, held.summary.kinds)}.",
        _table(("", ""), rows),
    ]


def _element(encoding: Encoding) -> str:
    if encoding.bytes_per_code == 1:
        return f"{encoding.stored_as}: a code"
    if encoding.stored_as == "U16":
        return f"{encoding.stored_as}: a code, little-endian"
    return f"{encoding.stored_as}: a byte; {encoding.bytes_per_code} are a code, {encoding.byte_order}-endian"


def _reading(manifest: Manifest) -> list[str]:
    parts = ["## Reading it", "With audiochunk, in this folder:"]
    full = [shard for shard in manifest.shards if shard.chunks]
    split = full[0].split if full else min(manifest.splits, default="train")
    parts.append(
        _python(
            "import audiochunk\n\n"
            f'ds = audiochunk.open(".", split="{split}")\n'
            "print(len(ds), ds.shape, ds.dtype)"
            + ("\nprint(ds[0], ds.locate(0))  # a chunk; the recording and the frames behind it" if full else "")
        )
    )
    if full:
        parts += _without(manifest, full[0].name)
    return [*parts, "`docs/format.md` in audiochunk's source says of every code which frame and channel it is of."]


def _without(manifest: Manifest, name: str) -> list[str]:
    encoding = manifest.encoding
    dtype = '"<u2"' if encoding.stored_as == "U16" else "np.uint8"
    made = [
        f"Without it: a shard is a safetensors file with one tensor, `chunks`, whose data begins at byte"
        f" {DATA_OFFSET:,}."
    ]
    if manifest.compression is None:
        code = f'import numpy as np\n\nchunks = np.memmap("{name}", {dtype}, "r", offset={DATA_OFFSET})'
    else:
        made[0] += " Here it is compressed in the zstd seekable format, from which any zstd decoder restores it."
        code = (
            "import numpy as np\nimport zstandard\n\n"
            f'with open("{name}", "rb") as file:\n'
            "    shard = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()\n"
            f"chunks = np.frombuffer(shard, {dtype}, offset={DATA_OFFSET})"
        )
    code += f".reshape(-1, {encoding.tokens_per_chunk})\nprint(chunks.shape)"
    return [*made, _python(code)]


def _checking(held: Holdings) -> list[str]:
    return [
        "## Checking it",
        "```console\n$ audiochunk verify .\n```\n\ncompares every byte with the digests in `manifest.json`, and all"
        " that follows from something else with it. `audiochunk decode . --all -o FOLDER` turns the chunks back into"
        " WAV files.",
        "## Limits",
        "The chunks are codes, not audio files: the Hub's viewer does not show or play them, and `load_dataset` does"
        " not read them." + _losses(held),
    ]


def _losses(held: Holdings) -> str:
    encoding = held.manifest.encoding
    said = (
        f" Of samples of more than {encoding.bits} bits, floats among them, only the top {encoding.bits} bits are here."
        if encoding.quantizer == "linear"
        else " Mu-law codes are not lossless."
    )
    if encoding.layout == "mono" and any(kind.channels > 1 for kind in held.summary.kinds):
        said += " Channels were mixed and cannot be told apart again."
    return said


def _code(text: str) -> str:
    """Text as inline code, which cannot end it or a table's cell."""
    shown = re.sub(r"[^\w.,:;()/+\- ]", "?", printable(text), flags=re.ASCII)
    return f"`{shown}`" if shown.strip() else ""


def _python(code: str) -> str:
    return f"```python\n{code}\n```"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, right: tuple[int, ...] = ()) -> str:
    rule = ["---:" if number in right else "---" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, tuple(rule), *rows))
