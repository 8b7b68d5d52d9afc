"""Durations read like kubectl's."""

import pytest

from kubeling.kube.durations import human_duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (3600, "60m"),
     (3 * 3600, "3h"), (5 * 3600 + 600, "5h10m"), (90061, "25h"), (86400 * 3 + 3600, "3d1h"),
     (86400 * 400, "400d"), (86400 * 365 * 3, "3y")],
)  # fmt: skip
def test_a_duration_is_shown_with_the_precision_that_matters(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown
