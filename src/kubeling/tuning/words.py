"""A search space in a few words, as people write it on a command line or in a form.

    lr=1e-4..1e-1:log       numbers between two bounds, by orders of magnitude
    layers=1..4             whole numbers, because both bounds are written as such
    dropout=0..0.5:step=0.1 numbers in steps
    units=32,64,128         one of several numbers
    opt=adam,sgd            one of several words

What it becomes is Katib's parameter; the bounds are kept as they were written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["WordsError", "in_words", "parameter", "settings"]

_NAME: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*$")
_WHOLE: Final = re.compile(r"^[+-]?\d+$")
_DISTRIBUTIONS: Final = {"log": "logUniform", "normal": "normal", "lognormal": "logNormal"}
_TYPES: Final = {"int": "int", "double": "double", "float": "double"}
_LISTS: Final = ("categorical", "discrete")
_EXAMPLES: Final = "lr=1e-4..1e-1:log, layers=1..4 or opt=adam,sgd"


class WordsError(ValueError):
    """What is wrong with the words, and how they should be."""


def parameter(text: str) -> Obj:
    """The parameter that words describe; raises :class:`WordsError`."""
    name, equals, space = text.partition("=")
    name, space = name.strip(), space.strip()
    if not equals or not name or not space:
        raise WordsError(f'"{text}": give a name and its values, as in {_EXAMPLES}')
    if not _NAME.match(name):
        raise WordsError(
            f'"{text}": the name "{name}" must begin with a letter and hold letters, digits, '
            "'_', '-' and '.' only"
        )
    if ".." in space:
        return _interval(text, name, space)
    return _choice(text, name, space)


def _interval(text: str, name: str, space: str) -> Obj:
    bounds, *options = space.split(":")
    low, high = (bound.strip() for bound in bounds.split("..", 1))
    for bound, which in ((low, "lower"), (high, "upper")):
        if not _is_number(bound):
            said = f'"{bound}" is no number' if bound else f"the {which} bound is missing"
            raise WordsError(f'"{text}": {said}; a range is written as {name}=1e-4..1e-1')
    if Decimal(low) >= Decimal(high):
        raise WordsError(f'"{text}": the lower bound {low} must be less than the upper {high}')
    whole = bool(_WHOLE.match(low) and _WHOLE.match(high))
    found: dict[str, str] = {"min": low, "max": high}
    kind = "int" if whole else "double"
    for option in options:
        word, _, value = (part.strip() for part in option.partition("="))
        if word in _DISTRIBUTIONS:
            found["distribution"] = _DISTRIBUTIONS[word]
        elif word in _TYPES:
            kind = _TYPES[word]
        elif word == "step" and _is_number(value) and Decimal(value) > 0:
            found["step"] = value
            kind = kind if _WHOLE.match(value) else "double"
        else:
            raise WordsError(
                f'"{text}": "{option}" is none of log, normal, lognormal, int, double and '
                "step=NUMBER"
            )
    if found.get("distribution") in ("logUniform", "logNormal") and Decimal(low) <= 0:
        raise WordsError(f'"{text}": a logarithmic range must begin above 0, not at {low}')
    if "step" in found and Decimal(found["step"]) > Decimal(high) - Decimal(low):
        raise WordsError(
            f'"{text}": a step of {found["step"]} leaves nothing between {low} and {high}'
        )
    if kind == "int" and not whole:
        raise WordsError(f'"{text}": whole numbers need bounds that are whole')
    return {"name": name, "parameterType": kind, "feasibleSpace": found}


def _choice(text: str, name: str, space: str) -> Obj:
    kind = ""
    head, colon, option = space.rpartition(":")
    if colon and option.strip() in _LISTS:
        space, kind = head, option.strip()
    values = [value.strip() for value in space.split(",")]
    if len(values) < 2:
        raise WordsError(
            f'"{text}": there is nothing to choose from; give a range (1..4) or several values '
            f"({name}=a,b). What stays the same goes behind --, as in: -- --{name}={space}"
        )
    if "" in values:
        raise WordsError(f'"{text}": one of the values is empty')
    if len(set(values)) != len(values):
        raise WordsError(f'"{text}": a value is there twice')
    numbers = all(_is_number(value) for value in values)
    if kind == "discrete" and not numbers:
        raise WordsError(f'"{text}": discrete values must be numbers')
    kind = kind or ("discrete" if numbers else "categorical")
    return {"name": name, "parameterType": kind, "feasibleSpace": {"list": values}}


def in_words(found: Mapping[str, Any]) -> str:
    """The words for a parameter: what :func:`parameter` reads."""
    space: Mapping[str, Any] = found.get("feasibleSpace") or {}
    name, kind = found.get("name", ""), found.get("parameterType", "")
    if values := space.get("list"):
        numbers = all(_is_number(str(value)) for value in values)
        told = ":categorical" if kind == "categorical" and numbers else ""
        return f"{name}={','.join(map(str, values))}{told}"
    low, high = str(space.get("min", "")), str(space.get("max", ""))
    text = f"{name}={low}..{high}"
    by_distribution = {long: short for short, long in _DISTRIBUTIONS.items()}
    if short := by_distribution.get(str(space.get("distribution") or "")):
        text += f":{short}"
    if kind == "double" and _WHOLE.match(low) and _WHOLE.match(high):
        text += ":double"
    if step := space.get("step"):
        text += f":step={step}"
    return text


def settings(pairs: Mapping[str, str]) -> list[Obj]:
    """Settings of an algorithm as the API has them."""
    return [{"name": name, "value": value} for name, value in pairs.items()]


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
