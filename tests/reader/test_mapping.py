import mmap
from pathlib import Path

import numpy as np
import pytest

from audiochunk.reader import mapping


def test_a_file_is_read_where_it_was_mapped_and_only_there(tmp_path: Path) -> None:
    page = mmap.PAGESIZE
    (tmp_path / "file").write_bytes(b"x" * page + b"yz")
    reserved = mapping.reserve(4 * page)
    with (tmp_path / "file").open("rb") as file:
        for _ in range(2):
            mapping.map_over(mapping.address_of(reserved) + page, file.fileno(), page + 2)
    found = np.frombuffer(reserved, np.uint8)[page : 2 * page + 2]
    assert found.tobytes() == b"x" * page + b"yz"
    assert not found.flags.writeable


@pytest.mark.parametrize("can_place", [True, False])
def test_a_mapped_file_outlives_its_descriptor_and_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_place: bool
) -> None:
    monkeypatch.setattr(mapping, "CAN_PLACE", can_place)
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"some bytes")
        file.flush()
        mapped = mapping.map_file(file.fileno(), 10)
    (tmp_path / "file").unlink()
    assert bytes(mapped) == b"some bytes"
    assert mapped.readonly


def test_what_cannot_be_mapped_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        mapping.map_file(10**6, 4096)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        mapping.reserve(2**62)
