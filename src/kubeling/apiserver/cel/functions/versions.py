"""Semantic versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.library import Library

__all__ = ["VERSIONS"]

VERSIONS: Final = Library()
define = VERSIONS.define

_NUMBER: Final = r"(0|[1-9]\d*)"
_WORDS: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-(?P<pre>{_WORDS}))?(?:\+{_WORDS})?"
)


@dataclass(frozen=True, slots=True)
class Semver:
    """A version; what comes after ``+`` does not count."""

    cel_name: ClassVar[str] = "kubernetes.Semver"
    numbers: tuple[int, int, int]
    pre_release: tuple[str, ...]

    @property
    def order(self) -> tuple[tuple[int, int, int], bool, list[tuple[bool, int, str]]]:
        """Sorts as precedence is defined: a pre-release comes before its release."""
        parts = [
            (not part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in self.pre_release
        ]
        return self.numbers, not self.pre_release, parts


def _parse(text: str) -> Semver | None:
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch = (int(number) for number in match.group(1, 2, 3))
    return Semver((major, minor, patch), tuple(match["pre"].split(".")) if match["pre"] else ())


_LOOSE: Final = re.compile(r"v?([\d.]*)(.*)", re.DOTALL)


def _normalized(text: str) -> str:
    """Without a leading ``v`` or leading zeros, and with all three numbers."""
    match = _LOOSE.fullmatch(text)
    assert match is not None
    parts = [part.lstrip("0") or "0" for part in match[1].split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))) + match[2]


@define("semver(string) -> Semver")
def _semver(text: str) -> Semver:
    found = _parse(text)
    if found is None:
        raise EvalError(f'Invalid Semver "{text}"')
    return found


define("isSemver(string) -> bool")(lambda text: _parse(text) is not None)
define("semver(string, bool) -> Semver")(
    lambda text, normalize: _semver(_normalized(text) if normalize else text)
)
define("isSemver(string, bool) -> bool")(
    lambda text, normalize: _parse(_normalized(text) if normalize else text) is not None
)
define("Semver.major() -> int")(lambda version: version.numbers[0])
define("Semver.minor() -> int")(lambda version: version.numbers[1])
define("Semver.patch() -> int")(lambda version: version.numbers[2])
define("Semver.isLessThan(Semver) -> bool")(lambda left, right: left.order < right.order)
define("Semver.isGreaterThan(Semver) -> bool")(lambda left, right: left.order > right.order)
define("Semver.compareTo(Semver) -> int")(
    lambda left, right: (left.order > right.order) - (left.order < right.order)
)
