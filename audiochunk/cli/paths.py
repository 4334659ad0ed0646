"""What one types for a file, a folder or a dataset: paths, and where it may be, URLs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audiochunk.storage.remote import Folder


class DatasetFolder(click.ParamType):  # type: ignore[type-arg]  # before click 8.3 it takes none
    """What one types for a dataset: a path becomes a `Path`, a URL the folder in its store."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Folder":
        """The folder that is meant.

        Raises:
            ConfigError: a URL that is not taken.
        """
        from audiochunk.storage.urls import is_url

        if isinstance(value, str) and is_url(value):
            from audiochunk.storage.remote import folder_at

            return folder_at(value)
        return Path(value) if isinstance(value, str) else value


class OutFolder(click.Path):
    """What one types for --out: a path becomes a `Path`, a URL stays text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """The folder that is meant."""
        from audiochunk.storage.urls import is_url

        return value if is_url(value) else Path(value)


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
