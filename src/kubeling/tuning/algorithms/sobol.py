"""Sobol's quasi-random sequence, with the direction numbers of Joe and Kuo (2008).

Points fill the space evenly whatever their number, which neither chance nor a grid does. They are
moved by a random shift of their binary digits, different for every seed, that keeps this property.
Pure Python: a point is asked for at a time, and takes microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Final

from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search

__all__ = ["SobolSearch", "sobol_point"]

_BITS: Final = 32
_TABLE: Final = (
    "1; 1 3; 1 3 1; 1 1 1; 1 1 3 3; 1 3 5 13; 1 1 5 5 17; 1 1 5 5 5; 1 1 7 11 19; 1 1 5 1 1; "
    "1 1 1 3 11; 1 3 5 5 31; 1 3 3 9 7 49; 1 1 1 15 21 21; 1 3 1 13 27 49; 1 1 1 15 7 5; 1 3 "
    "1 15 13 25; 1 1 5 5 19 61; 1 3 7 11 23 15 103; 1 3 7 13 13 15 69; 1 1 3 13 7 35 63; 1 3 "
    "5 9 1 25 53; 1 3 1 13 9 35 107; 1 3 1 5 27 61 31; 1 1 5 11 19 41 61; 1 3 5 3 3 13 69; 1 "
    "1 7 13 1 19 1; 1 3 7 5 13 19 59; 1 1 3 9 25 29 41; 1 3 5 13 23 1 55; 1 3 7 3 13 59 17; 1 "
    "3 1 3 5 53 69; 1 1 5 5 23 33 13; 1 1 7 7 1 61 123; 1 1 7 9 13 61 49; 1 3 3 5 3 55 33; 1 "
    "3 1 15 31 13 49 245; 1 3 5 15 31 59 63 97; 1 3 1 11 11 11 77 249; 1 3 1 11 27 43 71 9; 1 "
    "1 7 15 21 11 81 45; 1 3 7 3 25 31 65 79; 1 3 1 1 19 11 3 205; 1 1 5 9 19 21 29 157; 1 3 "
    "7 11 1 33 89 185; 1 3 3 3 15 9 79 71; 1 3 7 11 15 39 119 27; 1 1 3 1 11 31 97 225; 1 1 1 "
    "3 23 43 57 177; 1 3 7 7 17 17 37 71; 1 3 1 5 27 63 123 213; 1 1 3 5 11 43 53 133; 1 3 5 "
    "5 29 17 47 173 479; 1 3 3 11 3 1 109 9 69; 1 1 1 5 17 39 23 5 343; 1 3 1 5 25 15 31 103 "
    "499; 1 1 1 11 11 17 63 105 183; 1 1 5 11 9 29 97 231 363; 1 1 5 15 19 45 41 7 383; 1 3 7 "
    "7 31 19 83 137 221; 1 1 1 3 23 15 111 223 83; 1 1 5 13 31 15 55 25 161; 1 1 3 13 25 47 "
    "39 87 257 "
)
"""The first direction numbers of dimensions 2 to 64 (new-joe-kuo-6); later ones are drawn."""


class SobolSearch:
    """The next point of the sequence."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The point that follows as many as there were."""
        space = self._search.space
        point = sobol_point(len(space), len(history), self._search.seed)
        return Proposal({d.name: d.at(share) for d, share in zip(space, point, strict=True)})


def sobol_point(size: int, index: int, seed: str) -> list[float]:
    """The point number ``index``, every coordinate at least 0 and less than 1."""
    shift = Random(f"sobol/{seed}")
    gray = index ^ (index >> 1)
    point = []
    for directions in _directions(size):
        digits = shift.getrandbits(_BITS)
        for place in range(gray.bit_length()):
            if gray >> place & 1:
                digits ^= directions[place]
        point.append(digits / (1 << _BITS))
    return point


@cache
def _directions(size: int) -> tuple[tuple[int, ...], ...]:
    """The direction numbers of each dimension."""
    first = tuple(1 << (_BITS - 1 - place) for place in range(_BITS))
    rows = [tuple(map(int, row.split())) for row in "".join(_TABLE).split(";")]
    found = [first]
    for number, polynomial in zip(range(size - 1), _primitive_polynomials(), strict=False):
        degree = polynomial.bit_length() - 1
        drawn = Random(f"direction/{number}")
        start = (
            rows[number]
            if number < len(rows)
            else tuple(drawn.getrandbits(place) << 1 | 1 for place in range(degree))
        )
        found.append(_recurrence(polynomial, degree, start))
    return tuple(found)


def _recurrence(polynomial: int, degree: int, start: Sequence[int]) -> tuple[int, ...]:
    numbers = [value << (_BITS - 1 - place) for place, value in enumerate(start)]
    for place in range(degree, _BITS):
        value = numbers[place - degree] ^ (numbers[place - degree] >> degree)
        for back in range(1, degree):
            if polynomial >> (degree - back) & 1:
                value ^= numbers[place - back]
        numbers.append(value)
    return tuple(numbers)


def _primitive_polynomials() -> Iterator[int]:
    """The primitive polynomials over the field of two elements, as the bits of a number."""
    polynomial = 3
    while True:
        if _is_primitive(polynomial):
            yield polynomial
        polynomial += 2


def _is_primitive(polynomial: int) -> bool:
    """Whether the powers of x run through everything but zero before they return to one."""
    degree = polynomial.bit_length() - 1
    value, length = 1, 0
    while True:
        value <<= 1
        if value >> degree & 1:
            value ^= polynomial
        length += 1
        if value == 1:
            return length == (1 << degree) - 1
        if value == 0 or length >= 1 << degree:
            return False
