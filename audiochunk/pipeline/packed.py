"""Values that travel between processes."""

from typing import TypeVar

import msgspec


class Packed(msgspec.Struct, frozen=True):
    """A struct that is pickled as one MessagePack string: with thousands of parts, that takes an eighth of the time."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _unpack, (type(self), msgspec.msgpack.encode(self))


_P = TypeVar("_P", bound=Packed)


def _unpack(kind: type[_P], data: bytes) -> _P:
    return msgspec.msgpack.decode(data, type=kind)
