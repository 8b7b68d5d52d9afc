"""The forms in which rows of V1 may come, as upstream's server reads them by pandas."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.rows import array_of_rows

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
