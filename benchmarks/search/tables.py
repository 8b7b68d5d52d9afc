"""What many searches come to: medians with intervals, and how often a searcher is the best."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = dict[str, Any]
Interval = tuple[float, float, float]
Columns = Mapping[str, Sequence[Interval]]
"""For each searcher an interval for each budget."""

CHANCE = "random"


def interval(values: Sequence[float]) -> Interval:
    """The median, and the middle 95% of the medians of resamples."""
    source = random.Random(0)
    medians = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(500))
    return statistics.median(values), medians[12], medians[487]


def grouped(
    records: Iterable[Record], problems: Sequence[str]
) -> dict[tuple[str, int], dict[str, list[Record]]]:
    """The records of each problem and batch by searcher, in the order of the problems."""
    groups: dict[tuple[str, int], dict[str, list[Record]]] = {}
    for record in records:
        group = groups.setdefault((record["problem"], record["batch"]), {})
        group.setdefault(record["searcher"], []).append(record)
    return dict(sorted(groups.items(), key=lambda g: (problems.index(g[0][0]), g[0][1])))


def columns(group: Mapping[str, Sequence[Record]]) -> Columns:
    return {
        name: [interval(values) for values in zip(*(r["best"] for r in found), strict=True)]
        for name, found in group.items()
    }


def table(
    records: Iterable[Record], problems: Sequence[str], searchers: Sequence[str]
) -> list[str]:
    """A line for each problem, batch and searcher; the best and those tied with it are marked."""
    lines = [
        "| problem | batch | searcher | seeds | after 30 | after 60 | after 120 | ms a point |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (problem, batch), group in grouped(records, problems).items():
        found = columns(group)
        for name in sorted(group, key=searchers.index):
            cells = [_cell(own, _at(found, place)) for place, own in enumerate(found[name])]
            cpu = statistics.median(r["ask_ms"] for r in group[name])
            lines.append(
                f"| {problem} | {batch} | {name} | {len(group[name])} | {' | '.join(cells)} "
                f"| {cpu:.1f} |"
            )
    return lines


def standings(
    records: Iterable[Record], problems: Sequence[str], searchers: Sequence[str]
) -> list[str]:
    """For each searcher, of how many figures (problem, batch, budget) it has the best or is tied.

    Worse than chance is said by the medians, and surely so where the intervals are apart.
    """
    counts: dict[str, list[int]] = {}
    for group in grouped(records, problems).values():
        found = columns(group)
        for name, own in found.items():
            tally = counts.setdefault(name, [0] * 6)
            for place, mine in enumerate(own):
                others = _at(found, place)
                best, chance = min(others.values()), others.get(CHANCE, mine)
                tied = mine[1] <= best[2]
                verdicts = (True, mine == best, tied, not tied, mine[0] > chance[0])
                for column, verdict in enumerate((*verdicts, mine[1] > chance[2])):
                    tally[column] += verdict
    lines = [
        "| searcher | figures | best median | best or tied | behind | worse than chance | surely |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(counts, key=searchers.index):
        lines.append(f"| {name} | {' | '.join(map(str, counts[name]))} |")
    return lines


def _at(found: Columns, place: int) -> dict[str, Interval]:
    return {name: intervals[place] for name, intervals in found.items()}


def _cell(own: Interval, others: Mapping[str, Interval]) -> str:
    """Tied with the best: its interval reaches to the best one's."""
    text = f"{own[0]:.3g} ({own[1]:.3g} to {own[2]:.3g})"
    return f"**{text}**" if own[1] <= min(others.values())[2] else text
