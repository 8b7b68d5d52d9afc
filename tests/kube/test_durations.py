"""Durations read and are written like kubectl's."""

import pytest

from kubeling.kube.durations import human_duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (3600, "60m"),
     (3 * 3600, "3h"), (5 * 3600 + 600, "5h10m"), (90061, "25h"), (86400 * 3 + 3600, "3d1h"),
     (86400 * 400, "400d"), (86400 * 365 * 3, "3y")],
)  # fmt: skip
def test_a_duration_is_shown_with_the_precision_that_matters(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("20", 20), ("20s", 20), ("1m30s", 90), ("500ms", 0.5), (1.5, 1.5)]
)
def test_a_duration_has_units_or_is_in_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "s"])
def test_what_is_no_duration_is_answered_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match='write for example "30s"'):
        parse_duration(text)
