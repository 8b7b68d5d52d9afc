"""What ``filterQuery`` understands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.registry.errors import BadRequest
from kubeling.registry.filters import parse_filter

ENTITY = {
    "id": "12",
    "name": "Iris-v1",
    "state": "LIVE",
    "createTimeSinceEpoch": "1700000000000",
    "customProperties": {
        "accuracy": {"double_value": 0.9},
        "layers": {"int_value": "3"},
        "final": {"bool_value": True},
        "data set": {"string_value": "it's small"},
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "name = 'Iris-v1'",
        "name = \"Iris-v1\" AND state != 'ARCHIVED'",
        "name LIKE 'Iris%'",
        "name ILIKE 'iris-__'",
        "accuracy > 0.5",
        "accuracy.double_value >= 0.9",
        "layers = 3 and layers < 4",
        "layers.int_value IN (1, 3)",
        "final = true",
        "`data set` = 'it''s small'",
        "`data set`.string_value = 'it\\'s small'",
        "name = 'x' OR (state = 'LIVE' AND layers <> 2)",
        "createTimeSinceEpoch > 1600000000000",
        "id = 12",
    ],
)
def test_what_holds(text: str) -> None:
    assert parse_filter(text)(ENTITY)


@pytest.mark.parametrize(
    "text",
    [
        "name = 'iris-v1'",
        "name LIKE 'iris%'",
        "accuracy > 0.95",
        "accuracy.string_value = '0.9'",
        "absent = 1",
        "absent != 1",
        "final = 'true'",
        "state = 'LIVE' AND layers = 4",
    ],
)
def test_what_does_not_hold(text: str) -> None:
    assert not parse_filter(text)(ENTITY)


@pytest.mark.parametrize(
    "text", ["name", "name =", "= 1", "name = x", "(name = 'a'", "name = 'a' b", "a IN 1", "a ! 1"]
)
def test_what_cannot_be_read_says_why(text: str) -> None:
    with pytest.raises(BadRequest, match="filterQuery"):
        parse_filter(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_filter(text)(ENTITY)
    except BadRequest:
        return


@given(st.text(st.characters(exclude_characters="\\'", exclude_categories=["Cs"])))
def test_any_name_can_be_asked_for(name: str) -> None:
    assert parse_filter(f"name = '{name}'")({"name": name})
