"""Checks of values and of their types, for configurations."""

import types
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from audiochunk.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)

_IN_WORDS = {int: "a whole number", str: "text", type(None): "None"}


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
        if isinstance(fields, dict) and (sentence := _first_wrong(kind, fields)) is not None:
            raise ConfigError(sentence) from None
        sentence, _, field = str(error).partition(" - at `$.")
        raise ConfigError(f"{field.rstrip('`')}: {sentence}" if field else sentence) from error


def require_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError where a name is none of those known; it says which one may be meant, or which there are."""
    choices = list(known)
    for name in names:
        if name not in choices:
            near = get_close_matches(name, choices, n=1)
            advice = f"is {near[0]} meant?" if near else f"there are {', '.join(choices)}"
            raise ConfigError(f"there is no option {name}; {advice}")


def _first_wrong(kind: type[msgspec.Struct], fields: dict[str, Any]) -> str | None:
    """What is wrong with the first field whose value is of another type; None where none is."""
    for field in msgspec.structs.fields(kind):
        value = fields.get(field.name)
        try:
            if field.name in fields:
                msgspec.convert(value, field.type, strict=True)
        except msgspec.ValidationError:
            for part in _alternatives(field.type):
                if isinstance(part, type) and issubclass(part, msgspec.Struct) and isinstance(value, dict):
                    return _first_wrong(part, value)
            return f"{field.name} is {_in_words(field.type)}, not {value!r}"
    return None


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if len(parts := _alternatives(kind)) > 1:
        return ", or ".join(map(_in_words, parts))
    if get_origin(kind) is tuple:
        return f"a list of {_in_words(get_args(kind)[0])}"
    return _IN_WORDS.get(kind, "a set of options")
