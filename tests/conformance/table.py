"""The conformance table: how many of each group passed, and all that did not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tests.conformance.rows import Outcome, Row

__all__ = ["rewritten", "summary"]

OUTCOMES: Final[tuple[Outcome, ...]] = ("passed", "failed", "not runnable")
TITLES: Final[dict[Outcome, str]] = {
    "failed": "Failed",
    "not runnable": "Not runnable on one machine",
    "passed": "Passed",
}
_MARK: Final = "## Suite "
_HEAD: Final = """# Conformance: others' material, run here

Written by `make conformance`, which runs it against a real platform with the unmodified SDKs;
nothing of it is kept in this repository. Small programs and servers of ours stand in for images and
hosts that are not there and for data that would be downloaded (`tests/conformance/*_images.yaml`,
`outside.py`), and small models of the same form for those that would be (`kserve_twins.py`); what
they cannot stand in for is not runnable.

"""


def summary(rows: Sequence[Row]) -> str:
    """One line per group, for a terminal."""
    width = max((len(row.group) for row in rows), default=0)
    lines = [
        f"{group:{width}}  " + ", ".join(f"{_count(of, o)} {o}" for o in OUTCOMES)
        for group, of in _groups(rows)
    ]
    failed = [f"FAILED {row.name}: {row.reason}" for row in rows if row.outcome == "failed"]
    return "\n".join([*lines, *failed])


def rewritten(page: str, suite: str, rows: Sequence[Row]) -> str:
    """The page docs/reference/conformance.md with one suite's part anew."""
    parts = {text.partition("\n")[0]: text for text in page.split(_MARK)[1:]}
    parts[suite] = "\n".join([suite, *_part(rows)]) + "\n"
    return _HEAD + "".join(_MARK + parts[name].rstrip("\n") + "\n\n" for name in sorted(parts))


def _part(rows: Sequence[Row]) -> list[str]:
    lines = [
        "",
        "| group | " + " | ".join(OUTCOMES) + " |",
        "|---|" + "---|" * len(OUTCOMES),
    ]
    lines += [
        f"| {group} | " + " | ".join(str(_count(of, o)) for o in OUTCOMES) + " |"
        for group, of in _groups(rows)
    ]
    for outcome, title in TITLES.items():
        lines += _section(title, [row for row in rows if row.outcome == outcome])
    return lines


def _section(title: str, rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = ["", f"### {title}", "", "| case | group | |", "|---|---|---|"]
    for row in sorted(rows, key=lambda row: (row.group, row.name)):
        reason = row.reason.replace("|", "\\|")
        lines.append(f"| {row.name} | {row.group} | {reason} |")
    return lines


def _groups(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    yield from sorted(groups.items())


def _count(rows: Iterable[Row], outcome: Outcome) -> int:
    return sum(row.outcome == outcome for row in rows)
