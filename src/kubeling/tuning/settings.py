"""Settings of algorithms: text on the wire, refused in the words of upstream's services."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Setting", "choice", "fraction", "setting_errors", "text", "whole"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a setting must be.

    ``allows`` raises :class:`ValueError` for text it cannot read; ``words`` complete a sentence
    that begins with the setting's name.
    """

    allows: Callable[[str], bool]
    words: str
    default: str = ""
    required: bool = False


def whole(default: str, least: int, words: str, *, none: bool = False) -> Setting:
    """A whole number."""
    return Setting(lambda text: (none and text == "None") or int(text) >= least, words, default)


def fraction(
    default: str,
    above: float,
    below: float | None,
    words: str,
    *,
    open: bool = False,
    none: bool = False,
) -> Setting:
    """A number within bounds, which belong to it unless ``open``."""

    def allows(text: str) -> bool:
        if none and text == "None":
            return True
        value = float(text)
        if math.isnan(value):
            return False
        over = value > above if open else value >= above
        return over and (below is None or (value < below if open else value <= below))

    return Setting(allows, words, default)


def choice(default: str, *options: str, where: str) -> Setting:
    """One of some words."""
    return Setting(lambda text: text in options, f"{{value}} is not supported in {where}", default)


def text(default: str = "", *, required: bool = False) -> Setting:
    """Any text but none."""
    return Setting(bool, "must not be empty", default, required)


def setting_errors(
    algorithm: str, known: Mapping[str, Setting], settings: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What is wrong: pairs of a setting's name and a message."""
    missing = [name for name, setting in known.items() if setting.required and name not in settings]
    if missing:
        verb = "must be set" if len(missing) == 1 else "must be set, all of them"
        yield missing[0], f"{', '.join(missing)} {verb}"
    for name, value in settings.items():
        if name not in known:
            takes = f"; it takes {', '.join(sorted(known))}" if known else "; it takes none"
            yield name, f"unknown setting {name} for algorithm {algorithm}{takes}"
            continue
        try:
            if not known[name].allows(value):
                yield name, f"{name} {known[name].words.format(value=value)}"
        except ValueError as error:
            yield name, f"failed to validate {name}({value}): {error}"
