"""Which algorithms there are, and which settings each takes.

Settings are text on the wire. They are checked when the Experiment is written, without loading the
algorithm.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from kubeling.tuning.algorithms.base import Algorithm, Search

__all__ = ["ALGORITHMS", "check_settings", "create"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a setting must be: a number that satisfies a condition, said in words."""

    parse: Callable[[str], float]
    allows: Callable[[float], bool]
    words: str


_NOT_NEGATIVE: Final = Setting(int, lambda n: n >= 0, "a whole number of 0 or more")
_POSITIVE: Final = Setting(float, lambda x: x > 0, "a number greater than 0")
_COUNT: Final = Setting(int, lambda n: n > 0, "a whole number greater than 0")
_FRACTION: Final = Setting(float, lambda x: 0 < x < 1, "a number between 0 and 1")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an algorithm is found and which settings it takes."""

    module: str
    name: str
    settings: Mapping[str, Setting]


_TPE_SETTINGS: Final = {
    "random_state": _NOT_NEGATIVE,
    "n_startup_trials": _NOT_NEGATIVE,
    "n_EI_candidates": _COUNT,
    "n_ei_candidates": _COUNT,
    "gamma": _FRACTION,
    "prior_weight": _POSITIVE,
}
_SEED_ONLY: Final = {"random_state": _NOT_NEGATIVE}
_PACKAGE: Final = "kubeling.tuning.algorithms"

ALGORITHMS: Final[Mapping[str, Entry]] = {
    "random": Entry(f"{_PACKAGE}.random_search", "RandomSearch", _SEED_ONLY),
    "grid": Entry(f"{_PACKAGE}.grid", "GridSearch", _SEED_ONLY),
    "tpe": Entry(f"{_PACKAGE}.tpe", "TPE", _TPE_SETTINGS),
    "multivariate-tpe": Entry(f"{_PACKAGE}.tpe", "MultivariateTPE", _TPE_SETTINGS),
}


def create(name: str, search: Search) -> Algorithm:
    """The algorithm of that name; loads what it needs."""
    entry = ALGORITHMS[name]
    module = importlib.import_module(entry.module)
    return cast("Algorithm", getattr(module, entry.name)(search))


def check_settings(name: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with an algorithm's settings: pairs of a setting's name and a message."""
    known = ALGORITHMS[name].settings
    for setting, text in settings.items():
        if setting not in known:
            yield setting, f"{name} has no such setting; it takes {', '.join(sorted(known))}"
        elif not _is_allowed(known[setting], text):
            yield setting, f"must be {known[setting].words}"


def _is_allowed(setting: Setting, text: str) -> bool:
    try:
        return setting.allows(setting.parse(text))
    except ValueError:
        return False
