"""The options: what they mean, what goes together, and what is refused in which words."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import audiochunk
from audiochunk.config import BuildConfig, Compression, Encoding, Options, parse_size
from audiochunk.config.options import size_in_words
from audiochunk.errors import ConfigError

CONFIGS = [
    {},
    {"bits": 16, "layout": "mono", "tail": "pad", "compress": "zstd:19", "chunks_per_frame": 1},
    {"bits": 24, "chunk_bytes": 2046, "byte_order": "big", "layout": "split", "on_error": "skip"},
    {"bits": 12, "quantizer": "mulaw", "block": 7, "split": "train=1,val=1", "split_seed": 2**64 - 1},
    {"group_by": "folder:2", "shard_size": "1GiB", "include": ["*.wav", "Käfer/*"], "exclude": ["a\nb"]},
]


@pytest.mark.parametrize("options", CONFIGS, ids=lambda options: ",".join(options) or "default")
def test_a_config_survives_json(options: dict[str, Any]) -> None:
    config = BuildConfig.make(**options)
    assert msgspec.json.decode(msgspec.json.encode(config), type=BuildConfig) == config


@pytest.mark.parametrize("options", CONFIGS, ids=lambda options: ",".join(options) or "default")
def test_a_config_survives_plain_values(options: dict[str, Any]) -> None:
    config = BuildConfig.make(**options)
    plain = config.to_dict()
    assert BuildConfig.from_dict(plain) == config
    assert BuildConfig.from_dict(json.loads(json.dumps(plain))) == config
    assert plain == config.to_dict()


def test_plain_values_are_these() -> None:
    config = BuildConfig.make(bits=16, include="*.wav", compress="zstd:7")
    plain = config.to_dict()
    assert set(plain) == {"encoding", "options", "compression"}
    assert plain["encoding"]["bits"] == 16
    assert plain["compression"] == {"codec": "zstd", "level": 7, "chunks_per_frame": 8}
    assert BuildConfig.from_dict({}) == BuildConfig()
    assert BuildConfig.from_dict({"encoding": {"bits": 16}}) == BuildConfig(encoding=Encoding(bits=16))


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ({"encoding": {"bits": 7}}, "bits"),
        ({"encoding": {"bits": "8"}}, "bits"),
        ({"encoding": {"bits": 24}}, "a chunk of 2048 bytes does not hold whole 24-bit codes"),
        ({"encoding": {"bitz": 8}}, "unknown field `bitz`"),
        ({"encodings": {}}, "unknown field `encodings`"),
        ({"options": {"include": "*.wav"}}, "include"),
        ({"options": {"split_seed": -1}}, "split_seed must lie in 0 to 2**64 - 1, not -1"),
        ({"compression": {"level": 23}}, "zstd levels are 1 to 22, not 23"),
        ({"compression": {"codec": "gzip"}}, "codec"),
        ([], "Expected `object`"),
        (None, "Expected `object`"),
    ],
    ids=str,
)
def test_plain_values_that_are_no_config_are_refused(plain: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        BuildConfig.from_dict(plain)
    assert sentence in str(refused.value)


def test_defaults_are_eight_bit_blocks_of_2048_bytes() -> None:
    config = BuildConfig.make()
    assert config == BuildConfig()
    assert msgspec.to_builtins(config) == {
        "encoding": {
            "bits": 8,
            "quantizer": "linear",
            "byte_order": "little",
            "chunk_bytes": 2048,
            "block": "auto",
            "layout": "blocks",
            "tail": "drop",
        },
        "options": {
            "split": None,
            "group_by": "recording",
            "split_seed": 0,
            "shard_size": 33554432,
            "include": (),
            "exclude": (),
            "on_error": "fail",
        },
        "compression": None,
    }


@pytest.mark.parametrize(
    ("bits", "byte_order", "chunk_bytes", "vocab_size", "stored_as", "tokens", "codes"),
    [
        (8, "little", 2048, 256, "U8", 2048, 2048),
        (12, "little", 2048, 4096, "U16", 1024, 1024),
        (12, "big", 2048, 256, "U8", 2048, 1024),
        (16, "little", 2048, 65536, "U16", 1024, 1024),
        (16, "big", 2048, 256, "U8", 2048, 1024),
        (24, "little", 2046, 256, "U8", 2046, 682),
        (24, "big", 2046, 256, "U8", 2046, 682),
        (8, "little", 1, 256, "U8", 1, 1),
        (16, "little", 2, 65536, "U16", 1, 1),
        (24, "little", 3, 256, "U8", 3, 1),
    ],
)
def test_bits_decide_how_codes_are_stored(
    bits: int, byte_order: str, chunk_bytes: int, vocab_size: int, stored_as: str, tokens: int, codes: int
) -> None:
    encoding = BuildConfig.make(bits=bits, byte_order=byte_order, chunk_bytes=chunk_bytes).encoding
    assert encoding.vocab_size == vocab_size
    assert encoding.stored_as == stored_as
    assert encoding.tokens_per_chunk == tokens
    assert encoding.codes_per_chunk == codes


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"bits": 24},
            "a chunk of 2048 bytes does not hold whole 24-bit codes of 3 bytes;"
            " the nearest sizes that do: 2046 or 2049",
        ),
        (
            {"bits": 16, "chunk_bytes": 2047},
            "a chunk of 2047 bytes does not hold whole 16-bit codes of 2 bytes;"
            " the nearest sizes that do: 2046 or 2048",
        ),
        (
            {"bits": 12, "chunk_bytes": 1},
            "a chunk of 1 byte does not hold whole 12-bit codes of 2 bytes; the nearest sizes that do: 2",
        ),
        ({"chunk_bytes": 0}, "chunk_bytes must be at least 1, not 0"),
        ({"chunk_bytes": -3}, "chunk_bytes must be at least 1, not -3"),
        ({"chunk_bytes": 2**30 + 1}, "chunk_bytes must be at most 1073741824, not 1073741825"),
        (
            {"compress": "zstd", "chunk_bytes": 2**20, "chunks_per_frame": 1025},
            "a zstd frame of 1,074,790,400 bytes; seekable ones have at most 1,073,741,824",
        ),
        ({"bits": 24, "chunk_bytes": 3, "quantizer": "mulaw"}, "quantizer mulaw takes 8, 12 or 16 bits, not 24"),
        ({"byte_order": "big"}, "byte order big means nothing at 8 bits: a code is one byte"),
        ({"layout": "mono", "block": 512}, "block means nothing with layout mono"),
        ({"layout": "split", "block": 512}, "block means nothing with layout split"),
        ({"block": 0}, "block must be at least 1 sample, or auto, not 0"),
        ({"block": -1}, "block must be at least 1 sample, or auto, not -1"),
        ({"block": None}, "block must be at least 1 sample, or auto, not None"),
        ({"shard_size": 0}, "shard_size must be at least 1 byte, not 0"),
        ({"shard_size": 2**63}, "shard_size must be less than 2**63 bytes, not 9223372036854775808"),
        ({"shard_size": "0MiB"}, "shard_size must be at least 1 byte, not 0"),
        ({"split_seed": -1}, "split_seed must lie in 0 to 2**64 - 1, not -1"),
        ({"split_seed": 2**64}, "split_seed must lie in 0 to 2**64 - 1, not 18446744073709551616"),
        ({"chunks_per_frame": 4}, "chunks_per_frame means nothing without compression"),
    ],
)
def test_a_senseless_option_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        BuildConfig.make(**options)
    assert str(refused.value) == sentence


@given(bits=st.sampled_from([12, 16, 24]), chunk_bytes=st.integers(1, 10**6))
@settings(deadline=None)
def test_the_sizes_named_are_the_nearest_that_do(bits: Any, chunk_bytes: int) -> None:
    width = 3 if bits == 24 else 2
    if chunk_bytes % width == 0:
        assert Encoding(bits=bits, chunk_bytes=chunk_bytes).codes_per_chunk == chunk_bytes // width
        return
    with pytest.raises(ConfigError) as refused:
        Encoding(bits=bits, chunk_bytes=chunk_bytes)
    named = [int(size) for size in str(refused.value).rpartition(": ")[2].split(" or ")]
    good = [size for size in range(max(1, chunk_bytes - 2), chunk_bytes + 3) if size % width == 0]
    below = [size for size in good if size < chunk_bytes][-1:]
    assert named == below + [size for size in good if size > chunk_bytes][:1]


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 9},
        {"bits": "8"},
        {"bits": 8.0},
        {"chunk_bytes": 2048.0},
        {"chunk_bytes": True},
        {"block": "512"},
        {"block": 1.5},
        {"layout": "stereo"},
        {"layout": None},
        {"quantizer": "alaw"},
        {"byte_order": "middle"},
        {"tail": "keep"},
        {"on_error": "warn"},
        {"split": 0.5},
        {"split_seed": "0"},
        {"shard_size": None},
        {"shard_size": 1.5},
        {"include": b"*.wav"},
        {"include": 1},
        {"include": [["*.wav"]]},
        {"exclude": [b"*.wav"]},
        {"group_by": 1},
        {"compress": None},
        {"compress": 3},
        {"compress": "zstd", "chunks_per_frame": "16"},
        {"compress": "zstd", "chunks_per_frame": 2.5},
        {"compress": "zstd", "chunks_per_frame": True},
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        BuildConfig.make(**options)


@pytest.mark.parametrize("option", ["include", "exclude"])
@pytest.mark.parametrize("glob", ["*.wav", "", "a, b"])
def test_a_single_glob_needs_no_list(option: str, glob: str) -> None:
    assert getattr(BuildConfig.make(**{option: glob}).options, option) == (glob,)
    assert BuildConfig.make(**{option: glob}) == BuildConfig.make(**{option: [glob]})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"bits": 7}, "bits is one of 8, 12, 16, 24, not 7"),
        ({"bits": "8"}, "bits is one of 8, 12, 16, 24, not '8'"),
        ({"bits": None}, "bits"),
        ({"bits": 8.0}, "bits"),
        ({"quantizer": "alaw"}, "quantizer is one of linear, mulaw, not 'alaw'"),
        ({"byte_order": "middle"}, "byte_order is one of little, big, not 'middle'"),
        ({"layout": "stereo"}, "layout is one of blocks, mono, split, not 'stereo'"),
        ({"tail": "keep"}, "tail is one of drop, pad, not 'keep'"),
        ({"chunk_bytes": "2048"}, "chunk_bytes"),
        ({"chunk_bytes": 2048.0}, "chunk_bytes"),
        ({"chunk_bytes": None}, "chunk_bytes"),
        ({"chunk_bytes": True}, "chunk_bytes"),
        ({"block": 1.5}, "block"),
        ({"block": "512"}, "block must be at least 1 sample, or auto, not 512"),
        ({"block": True}, "block"),
    ],
    ids=str,
)
def test_an_encoding_checks_itself_when_made(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Encoding(**fields)
    assert named in str(refused.value)


def test_on_error_is_checked_when_made() -> None:
    with pytest.raises(ConfigError, match="on_error is one of fail, skip, not 'warn'"):
        Options(on_error="warn")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bits": 10}, "bits is one of 8, 12, 16, 24, not 10"),
        ({"bits": "8"}, "bits is one of 8, 12, 16, 24, not '8'"),
        ({"on_error": "ignore"}, "on_error is one of fail, skip, not 'ignore'"),
        ({"layout": "stereo"}, "layout is one of blocks, mono, split, not 'stereo'"),
        ({"chunk_bytes": 2048.0}, "chunk_bytes is a whole number, not 2048.0"),
        ({"block": 1.5}, "block is a whole number, or auto, or None, not 1.5"),
        ({"split": 0.5}, "split is text, or None, not 0.5"),
        ({"include": 1}, "include is a list of text, not 1"),
        ({"compress": "zstd", "chunks_per_frame": "16"}, "chunks_per_frame is a whole number, not '16'"),
    ],
    ids=str,
)
def test_what_is_refused_is_told_in_our_words(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        BuildConfig.make(**options)
    assert str(refused.value) == sentence


def test_what_is_refused_in_a_whole_config_is_told_in_the_same_words() -> None:
    with pytest.raises(ConfigError, match=r"^bits is one of 8, 12, 16, 24, not 7$"):
        BuildConfig.from_dict({"encoding": {"bits": 7}})


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("bit", "is bits meant?"),
        ("chunk_size", "is chunk_bytes meant?"),
        ("on_errors", "is on_error meant?"),
        ("dry_run", "there are bits, quantizer, byte_order, chunk_bytes, block, layout, tail, split, "),
        ("task", "there are bits, "),
    ],
)
def test_an_unknown_option_is_refused_by_name(option: str, advice: str) -> None:
    with pytest.raises(ConfigError) as refused:
        BuildConfig.make(**{option: 1})
    assert str(refused.value).startswith(f"there is no option {option}; {advice}")


@pytest.mark.parametrize("append", [False, True])
def test_a_build_knows_the_options_that_are_no_part_of_a_config(append: bool) -> None:
    with pytest.raises(ConfigError, match=r"^there is no option worker; is workers meant\?$"):
        audiochunk.build("wavs", "shards", append=append, worker=2)
    with pytest.raises(ConfigError, match=r"^there is no option task; there are bits, .*, overwrite, append$"):
        audiochunk.build("wavs", "shards", append=append, task="0/2")


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_glob_that_a_manifest_cannot_hold_is_refused(option: str) -> None:
    # os.fsdecode gives such text for bytes that are not UTF-8, and so does the command line.
    with pytest.raises(ConfigError):
        BuildConfig.make(**{option: ["caf\udce9*"]})


def test_a_block_that_no_array_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="block"):
        BuildConfig.make(block=2**64)


def test_the_largest_sizes_are_taken() -> None:
    assert BuildConfig.make(chunk_bytes=2**30).encoding.chunk_bytes == 2**30
    config = BuildConfig.make(compress="zstd", chunk_bytes=2**20, chunks_per_frame=2**10)
    assert config.compression == Compression(chunks_per_frame=2**10)


@pytest.mark.parametrize("layout", ["mono", "split"])
@pytest.mark.parametrize("given_block", [{}, {"block": "auto"}, {"block": None}])
def test_auto_becomes_none_where_blocks_mean_nothing(layout: str, given_block: dict[str, Any]) -> None:
    assert BuildConfig.make(layout=layout, **given_block).encoding.block is None


def test_auto_stays_auto_with_blocks() -> None:
    assert BuildConfig.make(block="auto").encoding.block == "auto"
    assert BuildConfig.make(layout="blocks").encoding.block == "auto"


@pytest.mark.parametrize("layout", ["mono", "split"])
def test_an_encoding_without_blocks_takes_no_auto(layout: Any) -> None:
    # Else one meaning would have two canonical forms.
    with pytest.raises(ConfigError, match=f"block means nothing with layout {layout}"):
        Encoding(layout=layout, block="auto")


@pytest.mark.parametrize("group_by", ["recording", "folder", "folder:1", "folder:12", "folder:9999"])
def test_group_by_takes(group_by: str) -> None:
    assert Options(group_by=group_by).group_by == group_by


@pytest.mark.parametrize(
    "group_by", ["", "folders", "folder:", "folder:0", "folder:01", "folder:-1", "folder:10000", "folder:1\n", "Folder"]
)
def test_group_by_refuses(group_by: str) -> None:
    with pytest.raises(ConfigError, match="group_by is recording, folder or folder:N"):
        Options(group_by=group_by)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("5k", 5_000),
        ("5K", 5_000),
        ("5kB", 5_000),
        ("5Ki", 5_120),
        ("5kib", 5_120),
        ("5M", 5_000_000),
        ("32MiB", 33_554_432),
        ("1G", 1_000_000_000),
        ("1GiB", 1_073_741_824),
        (" 7 MiB ", 7_340_032),
        ("007", 7),
    ],
)
def test_parse_size_takes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", " ", "MiB", "-1", "+1", "1.5M", "1e6", "0x10", "5T", "5 M B x", "1_000", "5i", "KiB5"]
)
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a number of bytes like 4096"):
        parse_size(text)


def test_parse_size_refuses_more_digits_than_python_reads() -> None:
    with pytest.raises(ConfigError):
        parse_size("9" * 5000)


@given(n=st.integers(0, 10**14))
def test_a_size_in_words_is_one_that_is_taken(n: int) -> None:
    assert parse_size(size_in_words(n)) == n


@pytest.mark.parametrize(("n", "text"), [(0, "0"), (999, "999"), (5000, "5kB"), (1024, "1KiB"), (2**34, "16GiB")])
def test_a_size_in_words_has_the_largest_unit_that_fits(n: int, text: str) -> None:
    assert size_in_words(n) == text


def test_shard_size_is_taken_as_text_and_as_a_number() -> None:
    assert BuildConfig.make(shard_size="5k").options.shard_size == 5000
    assert BuildConfig.make(shard_size=5000).options.shard_size == 5000


@pytest.mark.parametrize(
    ("text", "chunks_per_frame", "meant"),
    [
        ("none", None, None),
        ("zstd", None, Compression(level=3, chunks_per_frame=8)),
        ("zstd:1", None, Compression(level=1, chunks_per_frame=8)),
        ("zstd:22", 1, Compression(level=22, chunks_per_frame=1)),
        ("zstd", 65536, Compression(level=3, chunks_per_frame=65536)),
    ],
)
def test_compression_takes(text: str, chunks_per_frame: int | None, meant: Compression | None) -> None:
    assert Compression.parse(text, chunks_per_frame=chunks_per_frame) == meant


@pytest.mark.parametrize(
    ("text", "chunks_per_frame"),
    [
        ("", None),
        ("gzip", None),
        ("zstd:", None),
        ("zstd:0", None),
        ("zstd:23", None),
        ("zstd:-1", None),
        ("zstd:9.5", None),
        ("zstd:3\n", None),
        ("ZSTD", None),
        ("zstd", 0),
        ("zstd", 65537),
        ("none", 16),
    ],
)
def test_compression_refuses(text: str, chunks_per_frame: int | None) -> None:
    with pytest.raises(ConfigError):
        Compression.parse(text, chunks_per_frame=chunks_per_frame)


@pytest.mark.parametrize(
    ("bits", "chunk_bytes", "channels", "block", "is_aligned", "aligned_block"),
    [
        (8, 2048, 1, 2048, True, 2048),
        (8, 2048, 2, 1024, True, 1024),
        (8, 2048, 3, 682, False, None),
        (8, 2048, 6, 341, False, None),
        (16, 2048, 1, 1024, True, 1024),
        (16, 2048, 2, 512, True, 512),
        (16, 2048, 3, 341, False, None),
        (16, 2048, 6, 170, False, None),
        (24, 2046, 2, 341, True, 341),
        (24, 2046, 3, 227, False, None),
        (8, 6144, 1, 6144, True, 6144),
        (8, 6144, 2, 3072, True, 3072),
        (8, 6144, 3, 2048, True, 2048),
        (8, 6144, 6, 1024, True, 1024),
        (8, 4, 6, 1, False, None),
    ],
)
def test_auto_is_the_block_with_which_a_chunk_holds_one_of_every_channel(
    bits: Any, chunk_bytes: int, channels: int, block: int, is_aligned: bool, aligned_block: int | None
) -> None:
    encoding = Encoding(bits=bits, chunk_bytes=chunk_bytes)
    assert encoding.block_for(channels) == block
    assert encoding.is_aligned(channels) is is_aligned
    assert encoding.aligned_block(channels) == aligned_block


def test_an_explicit_block_counts_from_two_channels_on() -> None:
    encoding = Encoding(block=1000)
    assert [encoding.block_for(channels) for channels in (1, 2, 3)] == [2048, 1000, 1000]
    assert [encoding.is_aligned(channels) for channels in (1, 2, 3)] == [True, False, False]
    assert Encoding(block=256).is_aligned(2)


@pytest.mark.parametrize("layout", ["mono", "split"])
def test_chunks_of_single_channels_are_always_aligned(layout: Any) -> None:
    encoding = Encoding(layout=layout, block=None)
    assert [encoding.block_for(channels) for channels in (1, 2, 3, 6)] == [2048] * 4
    assert all(encoding.is_aligned(channels) for channels in (1, 2, 3, 6))


@given(codes=st.integers(1, 24), channels=st.integers(1, 4), block=st.integers(1, 12))
@settings(deadline=None, max_examples=200)
def test_aligned_chunks_hold_equally_many_whole_blocks_of_every_channel(codes: int, channels: int, block: int) -> None:
    encoding = Encoding(chunk_bytes=codes, block=block)
    if channels == 1:
        assert encoding.is_aligned(channels)
        return
    stream = [(group, channel) for group in range(codes) for channel in range(channels) for _ in range(block)]
    chunks = [Counter(stream[at : at + codes]) for at in range(0, len(stream) - codes + 1, codes)]
    aligned = all(
        set(chunk.values()) == {block} and len({sum(c == k for _, c in chunk) for k in range(channels)}) == 1
        for chunk in chunks
    )
    assert encoding.is_aligned(channels) is aligned


@given(codes=st.integers(1, 60), channels=st.integers(2, 7))
@settings(deadline=None)
def test_aligned_block_is_the_largest_there_is(codes: int, channels: int) -> None:
    aligned = [b for b in range(1, codes + 1) if Encoding(chunk_bytes=codes, block=b).is_aligned(channels)]
    assert Encoding(chunk_bytes=codes).aligned_block(channels) == max(aligned, default=None)


def test_only_split_has_a_stream_for_every_channel() -> None:
    assert Encoding(layout="split", block=None).streams(3) == (0, 1, 2)
    assert Encoding(layout="mono", block=None).streams(3) == (None,)
    assert Encoding().streams(3) == (None,)


def test_options_are_checked_when_decoded() -> None:
    with pytest.raises(msgspec.ValidationError, match="quantizer mulaw takes 8, 12 or 16 bits"):
        msgspec.json.decode(b'{"bits": 24, "chunk_bytes": 3, "quantizer": "mulaw"}', type=Encoding)
    with pytest.raises(msgspec.ValidationError, match="unknown field `bitz`"):
        msgspec.json.decode(b'{"bitz": 8}', type=Encoding)


def test_options_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Encoding().bits = 16  # type: ignore[misc]
