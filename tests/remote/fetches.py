"""What the cache is asked for in its tests."""

from collections.abc import Callable
from typing import BinaryIO

from audiochunk.storage.cache import Cache

X, Y = f"{'e' * 32}.x", f"{'f' * 32}.y"
A, B, C, D = (f"{letter * 32}-10.x" for letter in "abcd")


def writes(data: bytes) -> Callable[[BinaryIO], None]:
    def fetch(file: BinaryIO) -> None:
        file.write(data)

    return fetch


def refuses(file: BinaryIO) -> None:
    raise AssertionError("fetched although it is there")


def read(cache: Cache, name: str, fetch: Callable[[BinaryIO], None]) -> bytes:
    with cache.opened(name, fetch) as file:
        return file.read()
