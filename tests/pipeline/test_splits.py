"""Splits: shares by a formula that anyone can compute, folders, and tables."""

import os
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from audiochunk.config import Options
from audiochunk.errors import ConfigError, InputError
from audiochunk.pipeline.splits import (
    UnusedEntries,
    check_split_name,
    group_of,
    in_no_split,
    make_splitter,
    parse_shares,
    read_split_file,
    sum_of_shares,
    table_name,
)

PATHS = st.lists(st.sampled_from([b"a", b"b", b"c", b"\xff", b"d.wav"]), min_size=1, max_size=5).map(b"/".join)
MANY = [f"speaker{n % 40}/take {n}.wav".encode() for n in range(4000)]


def drawn(path: bytes, *, seed: int) -> Fraction:
    """Where in 0 to 1 a path falls, by the formula of the documentation."""
    return Fraction(xxhash.xxh3_64_intdigest(seed.to_bytes(8, "little") + path), 2**64)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_a_recording_goes_where_the_formula_says(seed: int) -> None:
    assign = make_splitter(Options(split="train=0.8,val=0.15,test=0.05", split_seed=seed)).assign
    for path in MANY[:500]:
        at = drawn(path, seed=seed)
        wanted = "train" if at < Fraction(80, 100) else "val" if at < Fraction(95, 100) else "test"
        assert assign(path) == wanted


def test_these_recordings_go_here_for_ever() -> None:
    # A change here moves recordings between the splits of datasets that are out there.
    assign = make_splitter(Options(split="train=1,val=1")).assign
    paths = [b"a.wav", b"b.wav", b"c/d.wav", b"caf\xe9.wav", "Käfer.wav".encode(), b""]
    assert [assign(path) for path in paths] == ["val", "val", "train", "train", "train", "val"]


@given(
    weights=st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any),
    path=PATHS,
    seed=st.integers(0, 2**64 - 1),
)
@settings(deadline=None, max_examples=200)
def test_shares_fill_the_line_from_0_to_1_in_their_order(weights: list[int], path: bytes, seed: int) -> None:
    spec = ",".join(f"s{n}={weight}" for n, weight in enumerate(weights))
    below = drawn(path, seed=seed) * sum(weights)
    wanted = next(n for n in range(len(weights)) if below < sum(weights[: n + 1]))
    assert make_splitter(Options(split=spec, split_seed=seed)).assign(path) == f"s{wanted}"


def test_the_order_of_shares_counts() -> None:
    one = make_splitter(Options(split="train=0.5,val=0.5"))
    other = make_splitter(Options(split="val=0.5,train=0.5"))
    assert list(one.shares) == ["train", "val"]
    assert list(other.shares) == ["val", "train"]
    assert all(one.assign(path) != other.assign(path) for path in MANY[:100])


def test_shares_are_about_what_was_asked_for() -> None:
    assign = make_splitter(Options(split="train=0.9,val=0.1")).assign
    counts = Counter(assign(path) for path in MANY)
    assert abs(counts["val"] - 400) < 100


def test_a_share_of_nothing_gets_nothing_and_exists() -> None:
    splitter = make_splitter(Options(split="test=0,train=1,val=0"))
    assert {splitter.assign(path) for path in MANY} == {"train"}
    assert splitter.shares == {"test": 0, "train": 1, "val": 0}


def test_more_recordings_move_none() -> None:
    options = Options(split="train=0.7,val=0.3", split_seed=7)
    few = {path: make_splitter(options).assign(path) for path in MANY[::7]}
    splitter = make_splitter(options)
    many = {path: splitter.assign(path) for path in reversed(MANY)}
    assert {path: many[path] for path in few} == few


def test_seeds_make_different_splits() -> None:
    def placed(seed: int) -> list[str | None]:
        assign = make_splitter(Options(split="train=1,val=1", split_seed=seed)).assign
        return [assign(path) for path in MANY[:200]]

    assert placed(0) == placed(0)
    assert len({tuple(placed(seed)) for seed in (0, 1, 2, 256, 2**63)}) == 5


# Groups.


@pytest.mark.parametrize(
    ("path", "group_by", "group"),
    [
        (b"a/b/c.wav", "recording", b"a/b/c.wav"),
        (b"a/b/c.wav", "folder", b"a/b"),
        (b"a/b/c.wav", "folder:1", b"a"),
        (b"a/b/c.wav", "folder:2", b"a/b"),
        (b"a/b/c.wav", "folder:3", b"a/b"),
        (b"c.wav", "folder", b""),
        (b"c.wav", "folder:1", b""),
        (b"\xff/c.wav", "folder:1", b"\xff"),
    ],
)
def test_a_group_is_the_folders_that_count(path: bytes, group_by: str, group: bytes) -> None:
    assert group_of(path, group_by) == group


@given(paths=st.lists(PATHS, max_size=20), depth=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=100)
def test_a_group_never_straddles_splits(paths: list[bytes], depth: int, seed: int) -> None:
    assign = make_splitter(Options(split="a=1,b=1,c=1", group_by=f"folder:{depth}", split_seed=seed)).assign
    of_group: dict[bytes, str | None] = {}
    for path in paths:
        group = b"/".join(path.split(b"/")[:-1][:depth])
        assert of_group.setdefault(group, assign(path)) == assign(path)


def test_speakers_are_spread_over_splits_and_stay_whole() -> None:
    assign = make_splitter(Options(split="train=1,val=1", group_by="folder:1")).assign
    placed = {(path.split(b"/")[0], assign(path)) for path in MANY}
    assert len(placed) == 40
    assert {split for _, split in placed} == {"train", "val"}


# The other rules.


def test_everything_is_train_where_nothing_is_asked_for() -> None:
    splitter = make_splitter(Options())
    assert splitter.assign(b"a.wav") == splitter.assign(b"val/a.wav") == "train"
    assert splitter.shares == {"train": None}


def test_folders_name_the_splits() -> None:
    splitter = make_splitter(Options(split="folders"))
    assert splitter.assign(b"val/a.wav") == "val"
    assert splitter.assign(b"val/train/a.wav") == "val"
    assert splitter.assign(b"a.wav") is None
    assert splitter.shares == {}


@pytest.mark.parametrize(
    ("spec", "shares"),
    [
        ("train=0.98,val=0.02", {"train": Fraction(49, 50), "val": Fraction(1, 50)}),
        ("train=98,val=2", {"train": Fraction(49, 50), "val": Fraction(1, 50)}),
        ("a=.5,b=.25", {"a": Fraction(2, 3), "b": Fraction(1, 3)}),
        ("all=1", {"all": 1}),
        ("a=1,b=1,c=1", dict.fromkeys("abc", Fraction(1, 3))),
        ("train=1, val=1", {"train": Fraction(1, 2), "val": Fraction(1, 2)}),
        (" train = 3 ,\tval\t= 1 ", {"train": Fraction(3, 4), "val": Fraction(1, 4)}),
    ],
)
def test_shares_are_exact_fractions_of_their_sum(spec: str, shares: dict[str, Fraction]) -> None:
    assert parse_shares(spec) == shares
    # What is written in other words is the same rule.
    assert make_splitter(Options(split=spec)).shares == shares


@pytest.mark.parametrize(
    ("spec", "total"), [("train=0.98,val=0.02", 1), ("a=.5, b = .25", Fraction(3, 4)), ("train=98,val=2", 100)]
)
def test_the_sum_of_shares_is_exact(spec: str, total: Fraction) -> None:
    assert sum_of_shares(spec) == total


@pytest.mark.parametrize(
    ("spec", "finding"),
    [
        ("", "'' is no such item"),
        ("train", "'train' is no such item"),
        ("train=", "'train=' is no such item"),
        ("train=0.9,", "'' is no such item"),
        ("train=-1", "'train=-1' is no such item"),
        ("train=1e-3", "'train=1e-3' is no such item"),
        ("train=1/3", "'train=1/3' is no such item"),
        ("train=nan", "'train=nan' is no such item"),
        ("train=0.9;val=0.1", "'train=0.9;val=0.1' is no such item"),
        ("train=1, v al=1", "split name 'v al'"),
        ("train=1 0", "'train=1 0' is no such item"),
        ("train=0.5, train =0.5", "split 'train' is given twice"),
        ("=1", "split name ''"),
        (" =1", "split name ''"),
        ("../x=1", "split name '../x'"),
        ("train=0.5,train=0.5", "split 'train' is given twice"),
        ("train=0,val=0", "the shares of the splits add up to 0"),
        ("folder", "'folder' is no such item"),
    ],
)
def test_a_split_that_is_no_list_of_shares_is_refused(spec: str, finding: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make_splitter(Options(split=spec))
    assert finding in str(refused.value)


def test_a_share_of_more_digits_than_python_reads_is_refused() -> None:
    with pytest.raises(ConfigError):
        parse_shares("train=" + "9" * 5000)


@pytest.mark.parametrize("name", ["train", "a", "_", "0", "a.b-c_D", "x" * 64])
def test_a_split_name_is_taken(name: str) -> None:
    check_split_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\n", "x" * 65, "a\0"])
def test_a_split_name_that_makes_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="split name"):
        check_split_name(name)


# Tables.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "splits.tsv"


def test_the_longest_path_that_fits_decides(file: Path) -> None:
    file.write_bytes(b"a\ttrain\na/b/\tval\na/b/c.wav\ttest\n\xff\tval\n")
    table = read_split_file(file)
    splitter = make_splitter(Options(split=table_name(table)), table)
    placed = {
        b"a/x.wav": "train",
        b"a/b/x.wav": "val",
        b"a/b/d/x.wav": "val",
        b"a/b/c.wav": "test",
        b"a/b/c.wav/x.wav": "test",
        b"a/bc/x.wav": "train",
        b"\xff/x.wav": "val",
        b"ab/x.wav": None,
        b"x.wav": None,
        b"b/a/x.wav": None,
    }
    assert {path: splitter.assign(path) for path in placed} == placed
    assert splitter.shares == {"test": None, "train": None, "val": None}


def test_a_dot_takes_all_that_no_other_line_names(file: Path) -> None:
    file.write_bytes(b".\ttrain\nb\tval\n")
    assign = make_splitter(Options(split="file:x"), read_split_file(file)).assign
    assert [assign(path) for path in (b"a.wav", b"a/b.wav", b"b/c.wav", b"bb/c.wav")] == [
        "train",
        "train",
        "val",
        "train",
    ]


def test_a_table_may_have_comments_blank_lines_tabs_in_paths_and_any_line_ends(file: Path) -> None:
    file.write_bytes(b"# path, split\n#\n\n  \na b\ttrain\r\na\tb.wav\tval \nlast\ttest")
    assert read_split_file(file) == {b"a b": "train", b"a\tb.wav": "val", b"last": "test"}


def test_a_line_with_a_tab_is_no_comment(file: Path) -> None:
    file.write_bytes(b"#1 kick.wav\ttrain\n# kicks\n#/\tval\n")
    assert read_split_file(file) == {b"#1 kick.wav": "train", b"#": "val"}


def test_a_byte_order_mark_is_no_part_of_the_first_path(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfa.wav\ttrain\n\xef\xbb\xbfb.wav\tval\n")
    assert read_split_file(file) == {b"a.wav": "train", b"\xef\xbb\xbfb.wav": "val"}
    file.write_bytes(b"\xef\xbb\xbf# comment\na.wav\ttrain\n")
    assert read_split_file(file) == {b"a.wav": "train"}


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
def test_a_table_may_come_through_a_pipe(begin: bytes) -> None:
    """As of the shell's <(…), which can be read once."""
    read_end, write_end = os.pipe()
    os.write(write_end, begin + b"a.wav\ttrain\r\nb.wav\tval\rc.wav\ttrain")
    os.close(write_end)
    try:
        table = read_split_file(Path(f"/dev/fd/{read_end}"))
    finally:
        os.close(read_end)
    assert table == {b"a.wav": "train", b"b.wav": "val", b"c.wav": "train"}


def test_paths_as_find_prints_them_are_taken(file: Path) -> None:
    file.write_bytes(b"./a.wav\ttrain\n./b/\tval\n.hidden.wav\ttest\n.\ttrain\n")
    assert read_split_file(file) == {b"a.wav": "train", b"b": "val", b".hidden.wav": "test", b".": "train"}


def unused(table: dict[bytes, str], paths: list[bytes]) -> list[bytes]:
    """The entries that are the longest of all that fit for no path; a dot is never among them."""
    used = set()
    for path in paths:
        used.add(max((at for at in table if path == at or path.startswith(at + b"/")), key=len, default=b"."))
    return sorted(table.keys() - used - {b"."})


@given(st.sets(PATHS | st.just(b"."), max_size=6), st.lists(PATHS, max_size=6))
@settings(deadline=None)
def test_unused_entries_are_those_that_decide_nothing(entries: set[bytes], paths: list[bytes]) -> None:
    table = dict.fromkeys(entries, "train")
    assert unused_entries(table, paths) == unused(table, paths)


def unused_entries(table: dict[bytes, str], paths: list[bytes]) -> list[bytes]:
    entries = UnusedEntries(table)
    for path in paths:
        entries.use(path)
    return sorted(entries.paths)


def test_unused_entries_worked_by_hand() -> None:
    table = dict.fromkeys([b".", b"a", b"a/b", b"c.wav", b"kick.wav", b"snare"], "train")
    assert unused_entries(table, [b"a/b/x.wav", b"c.wav", b"other.wav", b"snares/1.wav"]) == [
        b"a",
        b"kick.wav",
        b"snare",
    ]
    assert unused_entries(table, []) == [b"a", b"a/b", b"c.wav", b"kick.wav", b"snare"]
    assert unused_entries({}, [b"a.wav"]) == []


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (b"a train", "expected a path, a tab and the name of a split: a train"),
        (b"\ttrain", "expected a path, a tab and the name of a split"),
        (b"/\ttrain", "expected a path, a tab and the name of a split"),
        (b" # a", "expected a path, a tab and the name of a split:  # a"),
        (b"first\tval", "path given twice"),
        (b"./first\tval", "path given twice"),
        (b"first/\ttrain", "path given twice"),
        (b"a\t", "split name ''"),
        (b"a\t../b", "split name '../b'"),
        (b"a\t\xff", "split name"),
        (b"a\x1b[31m", r"expected a path, a tab and the name of a split: a\x1b[31m"),
    ],
)
def test_a_bad_line_is_named(file: Path, line: bytes, finding: str) -> None:
    file.write_bytes(b"# comment\nfirst\ttrain\n" + line + b"\nnext\ttrain\n")
    with pytest.raises(InputError) as refused:
        read_split_file(file)
    assert f"splits.tsv: line 3: {finding}" in str(refused.value)


def test_a_table_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match="no such file or directory"):
        read_split_file(file)
    with pytest.raises(InputError, match="is a directory"):
        read_split_file(file.parent)


def test_a_table_is_named_by_what_it_says(file: Path) -> None:
    table = {b"b": "val", b"a": "train"}
    digest = xxhash.xxh3_128_hexdigest(b"a\ttrain\nb\tval\n")
    assert table_name(table) == f"file:{digest}"
    file.write_bytes(b"# other words\nb/\tval\n\na\ttrain\r\n")
    assert table_name(read_split_file(file)) == table_name(table)
    assert table_name({b"b": "val"}) != table_name(table)


@pytest.mark.parametrize(
    ("split", "paths", "sentence"),
    [
        (
            "folders",
            [b"a\n.wav"],
            r"in no split: a\n.wav; with --split folders every recording lies in a folder named after its split",
        ),
        (
            "file:0",
            [b"a", b"b", b"c", b"d", b"e"],
            "in no split: a, b, c and 2 more; a line with '.' as its path takes all that no other line names",
        ),
    ],
)
def test_recordings_in_no_split_are_named(split: str, paths: list[bytes], sentence: str) -> None:
    assert in_no_split(paths[:3], len(paths), Options(split=split)) == sentence
