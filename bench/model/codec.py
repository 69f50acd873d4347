"""
JSON of the nouns, in both directions, from their type annotations.

Strict: an unknown key, a missing one or a wrong type is refused with its place in the document. Numbers that JSON does
not know (infinity) are written as words, so that every file is JSON for every reader.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")

# In a union, bool is tried before int and int before float, so that a flag stays a flag.
_TRIED = {bool: 1, int: 2, float: 3, str: 4}

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class BadDocument(ValueError):
    """A document that is not what its type says; the message names the place."""


def to_json(value: Any) -> Any:
    """`value` as what `json.dumps` takes; the inverse of `from_json`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(item) for item in value]
    return _number_to_json(value) if isinstance(value, float) else value


def _number_to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def from_json(kind: type[T], data: Any, where: str = "$") -> T:
    """
    `data` as an instance of `kind`.

    Raises:
        BadDocument: the data does not fit; the message names the place as a path from ``$``.

    """
    return typing.cast("T", _decode(kind, data, where))


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        return _decode_union(kind, data, where)
    if origin is not None:
        return _decode_container(origin, typing.get_args(kind), data, where)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    return _decode_scalar(kind, data, where)


def _decode_union(kind: Any, data: Any, where: str) -> Any:
    options = typing.get_args(kind)
    if data is None and type(None) in options:
        return None
    reasons = []
    for option in sorted(options, key=lambda each: _TRIED.get(each, 0)):
        if option is type(None):
            continue
        try:
            return _decode(option, data, where)
        except BadDocument as error:
            reasons.append(str(error))
    raise BadDocument("; ".join(reasons) or f"{where}: null is not allowed here")


def _decode_container(origin: Any, arguments: tuple[Any, ...], data: Any, where: str) -> Any:
    if issubclass(origin, Mapping):
        if not isinstance(data, dict):
            raise BadDocument(f"{where}: an object is needed, not {type(data).__name__}")
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if not isinstance(data, list):
        raise BadDocument(f"{where}: a list is needed, not {type(data).__name__}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if len(arguments) != len(data):
        raise BadDocument(f"{where}: {len(arguments)} items are needed, not {len(data)}")
    pairs = zip(arguments, data, strict=True)
    return tuple(_decode(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(pairs))


def _decode_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise BadDocument(f"{where}: an object is needed, not {type(data).__name__}")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    if unknown := sorted(set(data) - set(fields)):
        raise BadDocument(f"{where}: unknown key {unknown[0]!r}; {kind.__name__} knows {', '.join(fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in data and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise BadDocument(f"{where}: {kind.__name__} needs {missing[0]!r}")
    values = {name: _decode(hints[name], item, f"{where}.{name}") for name, item in data.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise BadDocument(f"{where}: {error}") from error


def _float(data: Any) -> float:
    if isinstance(data, str):
        return _WORDS[data]
    if isinstance(data, bool):
        raise TypeError
    return float(data)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(data: Any) -> Any:
        if type(data) is not kind:
            raise TypeError
        return data

    return check


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    float: _float,
    int: _exactly(int),
    bool: _exactly(bool),
    str: _exactly(str),
    datetime: datetime.fromisoformat,
}


def _decode_scalar(kind: Any, data: Any, where: str) -> Any:
    try:
        return _SCALARS.get(kind, kind)(data)
    except (TypeError, ValueError, KeyError) as error:
        raise BadDocument(f"{where}: {data!r} is not {kind.__name__}") from error
