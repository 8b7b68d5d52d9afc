"""Amounts: read exactly, and given back as a cluster spells them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.kube.quantities import canonical_quantity, parse_quantity

SUFFIXES = ("", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "e6", "E-3")


@pytest.mark.parametrize(
    ("written", "given_back"),
    [
        (1, "1"),
        (0.5, "500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("0", "0"),
        ("0Mi", "0"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("1200e0", "1200"),
        ("12e4", "120e3"),
        ("-1500m", "-1500m"),
        ("1e99999999", "9223372036854775807"),
        ("-9" + "9" * 5000, "-9223372036854775807"),
        ("1e-99999999", "1n"),
    ],
)
def test_an_amount_is_given_back_in_its_shortest_spelling(
    written: str | float, given_back: str
) -> None:
    assert canonical_quantity(written) == given_back


@given(st.integers(-(10**9), 10**9), st.sampled_from(SUFFIXES))
def test_the_spelling_changes_nothing_and_is_final(number: int, suffix: str) -> None:
    spelled = canonical_quantity(f"{number}{suffix}")
    assert parse_quantity(spelled) == parse_quantity(f"{number}{suffix}")
    assert canonical_quantity(spelled) == spelled


def test_what_is_no_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        canonical_quantity("much")
