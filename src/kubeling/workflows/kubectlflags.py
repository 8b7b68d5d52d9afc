"""The ``flags`` of ``resource`` templates: what upstream hands kubectl, where it has a meaning.

Which object is meant (``pod NAME``, ``pod/NAME``, ``--selector``), where (``--namespace``), and how
(``--validate``, ``--cascade`` …). A flag of another name is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Flags", "UnknownFlag", "parse_flags"]

_SHORT: Final = {"-n": "--namespace", "-l": "--selector"}
_VALUED: Final = (
    "--namespace", "--selector", "--field-selector", "--field-manager", "--grace-period",
)  # fmt: skip
_OPTIONAL: Final = {"--validate": "true", "--cascade": "background"}
_SWITCHES: Final = (
    "--all", "--force", "--force-conflicts", "--ignore-not-found", "--server-side",
)  # fmt: skip


class UnknownFlag(Exception):
    """A flag that means nothing here; the message names it."""


@dataclass(slots=True)
class Flags:
    """What the flags say; ``words`` are the arguments that are no flags."""

    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        """The value of an option, by its long name."""
        return self.options.get(name, default)

    def is_set(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.options.get(name, "false") != "false"


def parse_flags(given: Sequence[str]) -> Flags:
    """Reads the flags; raises :class:`UnknownFlag`."""
    flags = Flags()
    rest = iter(given)
    for word in rest:
        if not word.startswith("-"):
            flags.words += _named(word)
            continue
        name, equals, value = word.partition("=")
        name = _SHORT.get(name, name)
        if name in _VALUED:
            flags.options[name[2:]] = value if equals else next(rest, "")
        elif name in _OPTIONAL:
            flags.options[name[2:]] = value if equals else _OPTIONAL[name]
        elif name in _SWITCHES:
            flags.options[name[2:]] = value if equals else "true"
        else:
            raise UnknownFlag(f'flag "{name}" means nothing here')
    return flags


def _named(word: str) -> Iterator[str]:
    """``pod/web`` is two words."""
    yield from word.split("/", 1)
