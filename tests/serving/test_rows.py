"""The forms in which rows of V1 may come, as upstream's server reads them by pandas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.rows import array_of_rows, joined_rows, rows_of

COLUMNS = ["a", "b"]


@pytest.mark.parametrize(
    ("instances", "rows"),
    [
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([{"b": 2, "a": 1}], [[1, 2]]),
        ([{"a": [1, 3], "b": [2, 4]}, {"a": [5], "b": [6]}], [[1, 2], [3, 4], [5, 6]]),
        ([{"a": {"0": 1, "1": 3}, "b": {"0": 2, "1": 4}}], [[1, 2], [3, 4]]),
        ([[{"a": 1, "b": 2}, {"a": 3, "b": 4}]], [[1, 2], [3, 4]]),
        ([{"a": "x", "b": 2}], [["x", 2]]),
        ([["x", "y"]], [["x", "y"]]),
    ],
)
def test_rows_are_lists_objects_or_tables(instances: Any, rows: Any) -> None:
    assert array_of_rows(instances, COLUMNS).tolist() == rows


def test_what_a_row_of_a_table_leaves_out_is_missing() -> None:
    found = array_of_rows([[{"a": 1.5}, {"b": 2.5}]], COLUMNS).tolist()
    assert [[None if math.isnan(v) else v for v in row] for row in found] == [
        [1.5, None],
        [None, 2.5],
    ]


@pytest.mark.parametrize(
    ("instances", "dtype"),
    [
        ([[1, None], [2.5, True]], "float64"),
        ([{"a": "x", "b": None}, {"a": None, "b": 1}], "object"),
    ],
)
def test_null_is_a_missing_value(instances: Any, dtype: str) -> None:
    found = array_of_rows(instances, COLUMNS)
    assert found.dtype == dtype
    given = [list(row.values()) if isinstance(row, dict) else row for row in instances]
    missing = [[value is None for value in row] for row in given]
    assert [[value != value for value in row] for row in found.tolist()] == missing


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ([{"a": 1}], "every row needs exactly these features: a, b"),
        ([{"a": [1, 2], "b": [3]}], "the columns differ in length"),
        ([{"a": {"0": 1}, "b": {"1": 2}}], "every row needs exactly these features: a, b"),
        ([[{"c": 1}]], "every row needs some of these features: a, b"),
        ([[{"a": 1}, 2]], "every row needs some of these features: a, b"),
        ([{"a": [1], "b": 2}], "differ in length"),
        ([[1, 2], [3]], "differ in length"),
    ],
)
def test_what_is_no_row_is_refused(instances: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        array_of_rows(instances, COLUMNS)


NUMBERS = st.one_of(st.integers(-(2**65), 2**65), st.floats(), st.just(10**400), st.booleans())
CELLS = st.one_of(NUMBERS, st.none(), st.text(max_size=2))
ROWS = st.one_of(
    st.lists(st.lists(st.floats(), min_size=2, max_size=2), max_size=3),
    st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), max_size=3),
    st.lists(st.lists(NUMBERS, min_size=2, max_size=2), max_size=3),
    st.lists(st.lists(CELLS, max_size=3), max_size=2),
    st.lists(CELLS, max_size=3),
)
BODIES = st.one_of(ROWS.map(lambda rows: {"instances": rows}), ROWS, CELLS)


@given(st.lists(BODIES, min_size=1, max_size=4), st.sampled_from([None, 2, 3]))
def test_rows_read_together_are_those_that_are_read_alone(bodies: list[Any], width: Any) -> None:
    found = joined_rows(bodies, width)
    if found is None:
        return
    alone = [array_of_rows(rows_of(body)) for body in bodies]
    together, sizes = found
    assert sizes == [len(array) for array in alone]
    assert {array.dtype for array in alone} == {together.dtype}
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize(
    "instances", [[[[1.0, 2.0]], [[3, 0.5]]], [[[1, 2]], [[3, 4], [5, 6]]], [[[1, 0.5]]]]
)
def test_plain_rows_are_read_together(instances: list[Any]) -> None:
    assert joined_rows([{"instances": rows} for rows in instances], 2) is not None
