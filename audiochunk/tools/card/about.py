"""What people say about a dataset, which cannot be found in it."""

import re
from dataclasses import dataclass
from datetime import date

from audiochunk.errors import ConfigError, printable

_LICENSE_ID = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_CREATIVE_COMMONS = re.compile(r"cc0-1\.0|cc-by(-nc)?(-nd|-sa)?-\d\.\d")
_URL = re.compile(r"https?://[^\s<>\"\\^`{|}]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a card says of a dataset beside what the dataset holds.

    Attributes:
        name: one line.
        description: Markdown, or None.
        license: an identifier of the Hub ("cc-by-4.0", in any case), the URL of a text, or None.
        url: of the dataset's page, or None.
        creators: names of people.
        organizations: names of organizations that are creators, too.
        published: YYYY-MM-DD, or None.

    Raises:
        ConfigError: a value is not of that kind.
    """

    name: str
    description: str | None = None
    license: str | None = None
    url: str | None = None
    creators: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    published: str | None = None

    def __post_init__(self) -> None:
        for what, names in (("name", (self.name,)), ("creator", (*self.creators, *self.organizations))):
            for name in names:
                if not name.strip() or printable(name) != name:
                    raise ConfigError(f"a {what} is one line of text, not {name!a}")
        if self.description is not None and not _is_text(self.description):
            raise ConfigError("a description is some text in UTF-8, without control characters but tabs and newlines")
        if self.url is not None and not _URL.fullmatch(self.url):
            raise ConfigError(f"the dataset's page has a URL like https://huggingface.co/datasets/…, not {self.url!a}")
        if self.license is not None and not (_URL.fullmatch(self.license) or self.license_id):
            raise ConfigError(
                f"a license is an identifier like cc-by-4.0 (https://huggingface.co/docs/hub/repositories-licenses)"
                f" or the URL of its text, not {self.license!a}"
            )
        if self.published is not None and not _is_date(self.published):
            raise ConfigError(f"the date of publication is YYYY-MM-DD, not {self.published!a}")

    @property
    def license_id(self) -> str | None:
        """The license as the Hub spells it; None where it is a URL, or not known."""
        spelt = (self.license or "").lower()
        return spelt if _LICENSE_ID.fullmatch(spelt) else None

    @property
    def license_url(self) -> str | None:
        """Where the license can be read, if that follows from what is known."""
        if self.license is None or self.license_id is None:
            return self.license
        if _CREATIVE_COMMONS.fullmatch(self.license_id):  # whose identifiers are SPDX's in lower case
            return f"https://spdx.org/licenses/{self.license_id.upper()}.html"
        return None


def _is_text(text: str) -> bool:
    lines = text.replace("\t", " ").split("\n")
    return bool(text.strip()) and all(printable(line) == line for line in lines)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return _DATE.fullmatch(text) is not None
