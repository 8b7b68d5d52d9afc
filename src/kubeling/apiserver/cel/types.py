"""The types that expressions are checked with, and how one fits another.

``dyn`` fits everything: what it stands for is only known when the expression runs. Type
parameters (``A``, ``B``) occur in the signatures of functions and are bound while a call is
checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

__all__ = [
    "ANY",
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "INT",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "UINT",
    "Field",
    "ObjectType",
    "Type",
    "bind",
    "joined",
    "list_of",
    "map_of",
    "optional_of",
    "parse_type",
    "substitute",
    "type_of",
]


@dataclass(frozen=True)
class Type:
    """``int``, ``list(int)``, ``map(string, A)``, ``type(int)`` …"""

    name: str
    parameters: tuple[Type, ...] = ()

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.parameters))
        name = _SHOWN.get(self.name, self.name)
        return f"{name}({inner})" if inner else name

    @property
    def is_parameter(self) -> bool:
        """Whether it stands for any type, the same one throughout a signature."""
        return self.name in ("A", "B", "C")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object: its name in the object, and its type."""

    name: str
    type: Type


class ObjectType(Type):
    """An object with known fields. ``fields`` is called when a field is first asked for."""

    _fields: Callable[[], Mapping[str, Field]]

    def __init__(self, name: str, fields: Callable[[], Mapping[str, Field]]) -> None:
        super().__init__(name)
        object.__setattr__(self, "_fields", fields)

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """The fields by the names that expressions use for them."""
        return self._fields()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


ANY: Final = Type("dyn")
BOOL: Final = Type("bool")
BYTES: Final = Type("bytes")
DOUBLE: Final = Type("double")
DURATION: Final = Type("google.protobuf.Duration")
INT: Final = Type("int")
NULL: Final = Type("null")
STRING: Final = Type("string")
TIMESTAMP: Final = Type("google.protobuf.Timestamp")
UINT: Final = Type("uint")

_AUTHORIZATION: Final = "kubernetes.authorization."
_SHORT: Final = {
    **{
        name: Type(_AUTHORIZATION + name)
        for name in ("Authorizer", "Decision", "GroupCheck", "PathCheck", "ResourceCheck")
    },
    "CIDR": Type("net.CIDR"),
    "Format": Type("kubernetes.NamedFormat"),
    "IP": Type("net.IP"),
    "Quantity": Type("kubernetes.Quantity"),
    "Semver": Type("kubernetes.Semver"),
    "URL": Type("kubernetes.URL"),
    "duration": DURATION,
    "timestamp": TIMESTAMP,
}
"""What signatures call types that have long names."""
_SHOWN: Final = {"google.protobuf.Duration": "duration", "google.protobuf.Timestamp": "timestamp"}
_NEVER_NULL: Final = frozenset({"bool", "bytes", "double", "int", "string", "uint", "list", "map"})


def list_of(item: Type) -> Type:
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", (key, value))


def optional_of(inner: Type) -> Type:
    return Type("optional_type", (inner,))


def type_of(inner: Type) -> Type:
    return Type("type", (inner,))


_WORD: Final = re.compile(r"\s*([\w.]+|[(),])")


def parse_type(text: str) -> Type:
    """Reads ``map(string, list(A))``."""
    words = _WORD.findall(text)

    def read() -> Type:
        name = words.pop(0)
        parameters = []
        if words and words[0] == "(":
            words.pop(0)
            while words[0] != ")":
                parameters.append(read())
                if words[0] == ",":
                    words.pop(0)
            words.pop(0)
        return _SHORT.get(name) or Type(name, tuple(parameters))

    return read()


Bindings = dict[str, Type]


def bind(wanted: Type, given: Type, bindings: Bindings) -> bool:
    """Whether a value of one type can be given where the other is wanted; binds parameters."""
    if wanted.is_parameter:
        bound = bindings.get(wanted.name)
        if bound is None or (bound == NULL and _nullable(given)):
            bindings[wanted.name] = given
            return True
        if bound == ANY:
            return True
        if given == ANY or (_mixes(given) and bind(given, bound, {})):
            bindings[wanted.name] = given
            return True
        return bind(bound, given, {})
    if ANY in (wanted, given):
        for parameter in wanted.parameters if given == ANY else ():
            bind(parameter, ANY, bindings)
        return True
    if NULL in (wanted, given):
        return wanted == given or _nullable(given if wanted == NULL else wanted)
    if isinstance(wanted, ObjectType) or isinstance(given, ObjectType):
        return wanted is given
    return (
        wanted.name == given.name
        and len(wanted.parameters) == len(given.parameters)
        and all(
            bind(mine, other, bindings)
            for mine, other in zip(wanted.parameters, given.parameters, strict=True)
        )
    )


def _nullable(given: Type) -> bool:
    return given.name not in _NEVER_NULL


def _mixes(given: Type) -> bool:
    return any(inner == ANY or _mixes(inner) for inner in given.parameters)


def substitute(wanted: Type, bindings: Bindings) -> Type:
    """A type with its parameters replaced; those never bound can be anything."""
    if wanted.is_parameter:
        return bindings.get(wanted.name, ANY)
    if not wanted.parameters:
        return wanted
    return Type(wanted.name, tuple(substitute(inner, bindings) for inner in wanted.parameters))


def joined(types: list[Type]) -> Type:
    """The type of what may be any of these: theirs where they agree."""
    distinct = set(types)
    return types[0] if len(distinct) == 1 else ANY
