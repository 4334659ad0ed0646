"""Where a dataset is made, as an option: a path, or a URL."""

from pathlib import Path
from typing import Any

import click


class OutFolder(click.Path):
    """What one types for --out: a path becomes a `Path`, a URL stays text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """The folder that is meant."""
        from audiochunk.storage.urls import is_url

        return value if is_url(value) else Path(value)
