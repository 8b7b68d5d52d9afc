"""What of a container's log is said to be why it failed."""

import pytest

from kubeling.kube.logtail import last_line

BOX = """\
--------------------------------------------------------------------------
There are not enough slots available in the system to satisfy the 4
slots that were requested by the application.
--------------------------------------------------------------------------
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("starting\nValueError: no data\n\n", "ValueError: no data"),
        (BOX, "slots that were requested by the application."),
        ("  läuft ab  \n=====\n", "läuft ab"),
        ("-----\n*****\n", "*****"),
    ],
)
def test_the_last_line_is_the_last_one_that_says_something(text: str, said: str) -> None:
    assert last_line(text) == said
