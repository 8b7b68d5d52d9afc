"""The page of the conformance table."""

from tests.conformance.rows import Row
from tests.conformance.table import rewritten, summary

ROWS = [
    Row("a", "KFP valid", "passed"),
    Row("b", "KFP valid", "failed", "FAILED instead of SUCCEEDED"),
    Row("c", "KFP valid", "not runnable", "needs a | cluster"),
]


def test_groups_are_counted_and_failures_named() -> None:
    assert summary(ROWS).splitlines() == [
        "KFP valid  1 passed, 1 failed, 1 not runnable",
        "FAILED b: FAILED instead of SUCCEEDED",
    ]


def test_a_suite_has_its_part_written_anew_and_others_keep_theirs() -> None:
    page = rewritten(rewritten("", "kfp", ROWS), "argo", ROWS[:1])
    assert page == rewritten(page, "kfp", ROWS)
    assert page.index("## Suite argo") < page.index("## Suite kfp")
    assert "| KFP valid | 1 | 1 | 1 |" in page
    assert "needs a \\| cluster" in page
    better = rewritten(page, "kfp", ROWS[:1])
    assert "FAILED instead" not in better
    assert better.count("## Suite") == 2
