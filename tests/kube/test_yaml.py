"""YAML as Kubernetes reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.kube import yaml

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_dates_stay_text_and_yes_is_a_boolean() -> None:
    assert yaml.load("day: 2026-01-01\nflag: yes") == {"day": "2026-01-01", "flag": True}


def test_empty_documents_are_skipped() -> None:
    assert yaml.load_all("---\n---\na: 1\n---\n") == [{"a": 1}]


def test_an_error_names_line_and_column() -> None:
    with pytest.raises(ValueError, match="line 2, column"):
        yaml.load("a: 1\n b: [")


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert yaml.load(yaml.dump(value)) == value
