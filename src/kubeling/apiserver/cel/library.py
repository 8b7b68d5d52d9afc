"""Functions by their signatures.

A function is declared by what one would write in a manual::

    @library.define("string.startsWith(string) -> bool")

A name with a leading dot (``.sets.contains(…)``) belongs to a namespace rather than to a value.
Operators are functions named as in CEL's specification (``_+_``, ``!_``, ``@in``). Several
declarations of one name are its overloads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from kubeling.apiserver.cel.types import ANY, Type, parse_type
from kubeling.apiserver.cel.values import kind_of

__all__ = ["Implementation", "Library", "Overload"]

Implementation = Callable[..., Any]
_Function = TypeVar("_Function", bound=Implementation)


@dataclass(frozen=True, slots=True, eq=False)
class Overload:
    """One signature of a function, and what it does."""

    name: str
    parameters: tuple[Type, ...]
    result: Type
    implementation: Implementation
    member: bool
    linear: bool
    """Whether the work grows with the size of the arguments."""

    def takes(self, arguments: Iterable[Any]) -> bool:
        """Whether values are of the types wanted, as far as a value tells."""
        return all(map(_fits, self.parameters, arguments))


def _fits(wanted: Type, value: Any) -> bool:
    if wanted == ANY or wanted.is_parameter:
        return True
    return kind_of(value) == wanted.name


_SIGNATURE: Final = re.compile(
    r"(?:(?P<namespace>\.)|(?P<receiver>[^.]+(?:\([^)]*\))?)\.)?"
    r"(?P<name>[^()]+)\((?P<parameters>.*)\) -> (?P<result>.+)"
)


class Library:
    """A collection of functions."""

    def __init__(self, *parts: Library) -> None:
        self._overloads: dict[str, list[Overload]] = {}
        for part in parts:
            for name, overloads in part._overloads.items():
                self._overloads.setdefault(name, []).extend(overloads)

    @property
    def overloads(self) -> Mapping[str, list[Overload]]:
        """All overloads by name; names in a namespace have a dot."""
        return self._overloads

    def define(self, *signatures: str, linear: bool = False) -> Callable[[_Function], _Function]:
        """Declares a function under one or more signatures."""

        def declare(implementation: _Function) -> _Function:
            for signature in signatures:
                self._declare(signature, implementation, linear)
            return implementation

        return declare

    def _declare(self, signature: str, implementation: Implementation, linear: bool) -> None:
        match = _SIGNATURE.fullmatch(signature)
        assert match is not None, signature
        parameters = parse_type(f"signature({match['parameters']})").parameters
        receiver = match["receiver"]
        if receiver:
            parameters = (parse_type(receiver), *parameters)
        overload = Overload(
            match["name"],
            parameters,
            parse_type(match["result"]),
            implementation,
            bool(receiver),
            linear,
        )
        self._overloads.setdefault(match["name"], []).append(overload)
