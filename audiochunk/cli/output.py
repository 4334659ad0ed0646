"""Files that commands write."""

import os
from pathlib import Path

from audiochunk.errors import ConfigError, OutputExistsError, printable


def check_file(out: Path, *, overwrite: bool = False, advice: str = "choose another name, or --overwrite") -> None:
    """See that a file can be written, before anything is done that takes long.

    Raises:
        ConfigError: it is a folder, or would lie in none.
        OutputExistsError: it is there already, and is not to be overwritten.
    """
    if out.is_dir():
        raise ConfigError(f"{printable(str(out))} is a folder; give the name of the file to write")
    if os.path.lexists(out) and not overwrite:
        raise OutputExistsError(out, "is there already", advice)
    if not out.parent.is_dir():
        raise ConfigError(f"{printable(str(out.parent))} is not a folder")
