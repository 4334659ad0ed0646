"""The folder of a dataset as an argument: a path, or a URL."""

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
        from pathlib import Path

        from audiochunk.storage.urls import is_url

        if isinstance(value, str) and is_url(value):
            from audiochunk.storage.remote import folder_at

            return folder_at(value)
        return Path(value) if isinstance(value, str) else value
