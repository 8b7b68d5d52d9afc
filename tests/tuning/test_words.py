"""Search spaces in words, and what is said of words that make none."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.tuning.space import dimension
from kubeling.tuning.words import WordsError, in_words, parameter


@pytest.mark.parametrize(
    ("text", "kind", "space"),
    [
        ("lr=1e-4..1e-1:log", "double",
         {"min": "1e-4", "max": "1e-1", "distribution": "logUniform"}),
        ("layers=1..4", "int", {"min": "1", "max": "4"}),
        ("x=-5..5", "int", {"min": "-5", "max": "5"}),
        ("x=-.5..0.5", "double", {"min": "-.5", "max": "0.5"}),
        ("x=0..1:double", "double", {"min": "0", "max": "1"}),
        ("x=0..1:step=0.25", "double", {"min": "0", "max": "1", "step": "0.25"}),
        ("n=8..512:log:step=8", "int",
         {"min": "8", "max": "512", "distribution": "logUniform", "step": "8"}),
        ("x=-1..1:normal:double", "double", {"min": "-1", "max": "1", "distribution": "normal"}),
        ("units=32,64,128", "discrete", {"list": ["32", "64", "128"]}),
        ("opt=adam, sgd", "categorical", {"list": ["adam", "sgd"]}),
        ("kind=1,2:categorical", "categorical", {"list": ["1", "2"]}),
        ("image=a:1,b:2", "categorical", {"list": ["a:1", "b:2"]}),
    ],
)  # fmt: skip
def test_words_become_katibs_parameters(text: str, kind: str, space: dict[str, Any]) -> None:
    found = parameter(text)
    assert (found["parameterType"], found["feasibleSpace"]) == (kind, space)
    assert dimension(found).name == text.partition("=")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr", "give a name and its values"),
        ("=1..2", "give a name and its values"),
        ("2x=1..2", "must begin with a letter"),
        ("lr=1e-4..", "the upper bound is missing"),
        ("lr=..1", "the lower bound is missing"),
        ("lr=a..1", '"a" is no number'),
        ("lr=1..1", "must be less than the upper"),
        ("lr=1e-1..1e-4", "must be less than the upper"),
        ("lr=0..1:log", "must begin above 0"),
        ("lr=1..2:exp", '"exp" is none of log'),
        ("lr=1..2:step=0", '"step=0" is none of'),
        ("lr=0..1:step=5", "a step of 5 leaves nothing between 0 and 1"),
        ("n=0.5..2:int", "bounds that are whole"),
        ("opt=adam", "nothing to choose from"),
        ("opt=adam,", "one of the values is empty"),
        ("opt=adam,adam", "a value is there twice"),
        ("opt=a,b:discrete", "must be numbers"),
        ("lr=nan..1", '"nan" is no number'),
    ],
)
def test_wrong_words_are_refused_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(WordsError, match=re.escape(said)) as refused:
        parameter(text)
    assert text in str(refused.value)


names = st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z")
numbers = st.integers(-1000, 1000)
spaces = st.one_of(
    st.tuples(numbers, numbers).filter(lambda p: p[0] < p[1]).map(lambda p: f"{p[0]}..{p[1]}"),
    st.tuples(st.floats(1e-6, 1), st.floats(1.5, 1e6)).map(lambda p: f"{p[0]}..{p[1]}:log"),
    st.lists(names, min_size=2, max_size=5, unique=True).map(",".join),
    st.lists(numbers, min_size=2, max_size=5, unique=True).map(lambda v: ",".join(map(str, v))),
)


@given(names, spaces)
def test_a_parameter_in_words_is_the_same_parameter(name: str, space: str) -> None:
    found = parameter(f"{name}={space}")
    assert parameter(in_words(found)) == found


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(WordsError):
        parameter(text)
