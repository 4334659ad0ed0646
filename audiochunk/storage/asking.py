"""What a library is asked of a store, now. The Hub's keeps listings, also where none are wanted, and believes them."""

from typing import Any


def info(fs: Any, path: str) -> Any:
    """What the store says of an object.

    Raises:
        FileNotFoundError: there is no such object.
    """
    if not _is_hub(fs):
        return fs.info(path)
    # Only expanded does it say more than a size.
    try:
        return fs.info(path, refresh=True, expand_info=True)
    except FileNotFoundError as error:
        if error.__cause__ is not None:  # not the file, but its repository is missing
            raise
    # What has come since its folder was listed is not asked for.
    fs.invalidate_cache()
    return fs.info(path, refresh=True, expand_info=True)


def find(fs: Any, path: str) -> Any:
    """What the store says of all objects below a path, by theirs."""
    return fs.find(path, detail=True, refresh=True) if _is_hub(fs) else fs.find(path, detail=True)


def read(fs: Any, path: str, *, start: int, end: int) -> Any:
    """The bytes of an object from one to before another."""
    # Where no size is given, the Hub's library takes that of its listing, and reads ahead up to it.
    return fs.cat_file(path, start=start, end=end, **({"size": end} if _is_hub(fs) else {}))


def _is_hub(fs: Any) -> bool:
    return "hf" in (fs.protocol, *fs.protocol)
