"""Checks of values and of their types, for configurations."""

from typing import Any, TypeVar, get_args

import msgspec

from audiochunk.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


def require(value: object, choices: Any, name: str) -> None:
    """Raise ConfigError where a value is none of the choices, or of another type."""
    if not any(type(value) is type(choice) and value == choice for choice in get_args(choices)):
        raise ConfigError(f"{name} is one of {', '.join(map(str, get_args(choices)))}, not {value!r}")


def checked(kind: type[T], fields: dict[str, Any]) -> T:
    """An instance whose field types were checked as well, which calling the class would not do."""
    try:
        return msgspec.convert(fields, kind, strict=True)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        sentence, _, field = str(error).partition(" - at `$.")
        raise ConfigError(f"{field.rstrip('`')}: {sentence}" if field else sentence) from error
