"""What a store lists, and what it had better not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiochunk.errors import InputError, StoreError
from audiochunk.pipeline.store.scan import walk_objects
from audiochunk.storage.connection import Connection
from audiochunk.storage.object_info import ObjectInfo
from audiochunk.storage.objects import Objects


class Gateway:
    """Answers with pages, whatever it is asked."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self._pages = iter(pages)

    def call_s3(self, method: str, **_: object) -> dict[str, Any]:
        assert method == "list_objects_v2"
        return next(self._pages)


def listing(monkeypatch: pytest.MonkeyPatch, *pages: dict[str, Any]) -> Iterator[str]:
    gateway = Gateway(*pages)
    monkeypatch.setattr(Connection, "filesystem", lambda _: gateway)
    return (info.name for info in Objects("s3://bucket/x").list())


def page(*names: str, **more: Any) -> dict[str, Any]:
    return {"Contents": [{"Key": f"x/{name}", "Size": 1, "ETag": '"e"'} for name in names], **more}


def test_pages_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [page("a", IsTruncated=True, NextContinuationToken="1"), page("b", IsTruncated=False)]
    assert list(listing(monkeypatch, *pages)) == ["a", "b"]


def test_what_shows_an_empty_folder_is_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(listing(monkeypatch, page("", "a", "b/", "b/c"))) == ["a", "b/c"]


@pytest.mark.parametrize("token", [{}, {"NextContinuationToken": "1"}], ids=["none", "same"])
def test_a_listing_that_does_not_go_on_is_not_taken_for_a_whole_one(
    monkeypatch: pytest.MonkeyPatch, token: dict[str, str]
) -> None:
    first = page("a", IsTruncated=True, NextContinuationToken="1")
    names = listing(monkeypatch, first, page("b", IsTruncated=True, **token), page("c"))
    with pytest.raises(StoreError, match="s3://bucket/x: lists a part, and not how to go on"):
        list(names)


def test_a_key_that_is_listed_twice_is_no_second_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [ObjectInfo(name, 1, "e") for name in ("a.wav", "a.wav")]
    monkeypatch.setattr(Objects, "list", lambda *_: iter(infos))
    with pytest.raises(InputError, match=r"each once \(a\.wav came before a\.wav\)"):
        list(walk_objects(b"memory://x"))


def test_a_url_that_is_an_object_is_no_folder_with_a_nameless_one(memory: str, tmp_path: Path) -> None:
    Objects(memory).write("a.wav", b"x")
    assert list(Objects(f"{memory}/a.wav").list()) == []
