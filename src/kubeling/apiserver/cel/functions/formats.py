"""Named formats: ``format.dns1123Label().validate(name)`` gives what is wrong, if anything."""

from __future__ import annotations

import base64
import datetime as dt
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from kubeling.apiserver.cel.functions.urls import Url
from kubeling.apiserver.cel.library import Library
from kubeling.apiserver.cel.values import NONE, Optional

__all__ = ["FORMATS"]

FORMATS: Final = Library()
define = FORMATS.define

Check = Callable[[str], object]
"""Gives ``None``, or raises :class:`ValueError`, for what does not fit."""


@dataclass(frozen=True, slots=True)
class Format:
    """A form that text may have."""

    cel_name: ClassVar[str] = "kubernetes.NamedFormat"
    name: str
    check: Check

    def validate(self, text: str) -> Optional:
        """What is wrong, or nothing."""
        try:
            if self.check(text) is not None:
                return NONE
        except ValueError:
            pass
        return Optional([f'"{text}" is not a valid {self.name}'])


def _pattern(pattern: str, limit: int, *, prefix: bool = False) -> Check:
    """Text of the pattern; a prefix may end in a dash, as ``generateName`` does."""
    compiled = re.compile(pattern)

    def check(text: str) -> object:
        tried = text[:-1] + "a" if prefix and text.endswith("-") else text
        return compiled.fullmatch(tried) if len(text) <= limit else None

    return check


_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_1035: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_WORD: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_ALL: Final[dict[str, Check]] = {
    "dns1123Label": _pattern(_LABEL, 63),
    "dns1123LabelPrefix": _pattern(_LABEL, 63, prefix=True),
    "dns1123Subdomain": _pattern(_SUBDOMAIN, 253),
    "dns1123SubdomainPrefix": _pattern(_SUBDOMAIN, 253, prefix=True),
    "dns1035Label": _pattern(_1035, 63),
    "dns1035LabelPrefix": _pattern(_1035, 63, prefix=True),
    "qualifiedName": _pattern(rf"({_SUBDOMAIN}/)?{_WORD}", 317),
    "labelValue": _pattern(rf"({_WORD})?", 63),
    "uri": Url,
    "uuid": uuid.UUID,
    "byte": lambda text: base64.b64decode(text, validate=True),
    "date": dt.date.fromisoformat,
    "datetime": lambda text: dt.datetime.fromisoformat(text) if "T" in text else None,
}


def _declare(name: str, check: Check) -> None:
    found = Format(name, check)
    define(f".format.{name}() -> Format")(lambda: found)


for _name, _check in _ALL.items():
    _declare(_name, _check)

define("Format.validate(string) -> optional_type(list(string))", linear=True)(Format.validate)


@define(".format.named(string) -> optional_type(Format)")
def _named(name: str) -> Optional:
    check = _ALL.get(name)
    return Optional(Format(name, check)) if check is not None else NONE
