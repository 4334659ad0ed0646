"""Files and folders that commands write on this machine, as options."""

from pathlib import Path
from typing import Any

import click


class LocalPath(click.Path):
    """A path, and no URL, which would become a folder named after its scheme."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        from audiochunk.storage.urls import is_url

        if is_url(value):
            self.fail("what is written goes into a file or folder here, not to a URL", param, ctx)
        return super().convert(value, param, ctx)
