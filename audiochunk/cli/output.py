"""Files that commands write."""

import os
from pathlib import Path

from audiochunk.errors import ConfigError, MachineError, OutputExistsError, printable


def check_file(
    out: Path, *, suffix: str, overwrite: bool = False, advice: str = "choose another name, or --overwrite"
) -> None:
    """See that a file can be written, before anything is done that takes long.

    Args:
        out: the file.
        suffix: that its name must have, whatever the case, since that is what is written.
        overwrite: whether it may be there already.
        advice: what to do where it may not.

    Raises:
        ConfigError: it is a folder, would lie in none, has another suffix, or is no regular file.
        OutputExistsError: it is there already, and is not to be overwritten.
        MachineError: the folder that it would lie in cannot be written.
    """
    name = printable(str(out))
    if out.is_dir():
        raise ConfigError(f"{name} is a folder; give the name of the file to write")
    if out.suffix.lower() != suffix:
        raise ConfigError(f"{name}: what is written is a {suffix} file; name it so")
    if os.path.lexists(out) and not out.is_file():
        raise ConfigError(f"{name} is no regular file; give another name")
    if os.path.lexists(out) and not overwrite:
        raise OutputExistsError(out, "is there already", advice)
    if not out.parent.is_dir():
        raise ConfigError(f"{printable(str(out.parent))} is not a folder; make it first")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise MachineError(f"{printable(str(out.parent))}: permission denied; choose another folder")
