"""Parameter types: what fits, what becomes what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.pipelines.values import ValueMismatch, coerce, from_text, to_text


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3.0, "NUMBER_INTEGER", 3),
        ("3", "NUMBER_INTEGER", 3),
        (3, "NUMBER_DOUBLE", 3.0),
        ({"a": 1.0}, "STRING", '{"a":1}'),
        (True, "STRING", "true"),
        ("True", "BOOLEAN", True),
        ("[1, 2.0]", "LIST", [1, 2]),
        ({"a": [1.0]}, "STRUCT", {"a": [1]}),
    ],
)
def test_values_take_the_declared_type(value: Any, kind: str, expected: Any) -> None:
    found = coerce(value, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("x", "NUMBER_INTEGER"),
        (1.5, "NUMBER_INTEGER"),
        ("x", "BOOLEAN"),
        ("{}", "LIST"),
        (1, "STRUCT"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, kind: str) -> None:
    with pytest.raises(ValueMismatch, match="is expected, not"):
        coerce(value, kind)


def test_files_end_with_newlines() -> None:
    assert from_text("3\n", "NUMBER_INTEGER") == 3
    assert from_text("line\n", "STRING") == "line\n"


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_survive_being_doubles(number: int) -> None:
    assert coerce(float(number), "NUMBER_INTEGER") == number
    assert to_text(float(number)) == str(number)
