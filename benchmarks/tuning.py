"""How good the points are: our algorithms beside Optuna, hyperopt and Ax, on the same problems.

python benchmarks/tuning.py [--problem branin] [--searcher auto] [--batch 1] [--seeds 20]

Every searcher gets the same budget of trials in the same batches; what counts is the best loss
after 30, 60 and 120 trials, as a median over the seeds with the middle 95% of its bootstrap
distribution, and the CPU it takes to propose a point. Runs are kept in a file of one JSON object a
line (--results), and those there are not run again: a long benchmark can be run in pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from search.problems import PROBLEMS, Problem
from search.searchers import PEERS, searcher

BUDGETS = (30, 60, 120)
SEARCHERS = ("auto", "tpe", "random", *PEERS)
BATCHES = (1, 4, 16)
Key = tuple[str, int, str, int]


def run(problem: Problem, batch: int, name: str, seed: int) -> dict[str, Any]:
    """One search to the largest budget."""
    search = searcher(name, problem, seed)
    best, bests, done, cpu = float("inf"), [], 0, 0.0
    while done < BUDGETS[-1]:
        count = min(batch, BUDGETS[-1] - done)
        began = time.process_time()
        points = search.ask(count)
        cpu += time.process_time() - began
        losses = [problem.loss(point) for point in points]
        began = time.process_time()
        search.tell(points, losses)
        cpu += time.process_time() - began
        for loss in losses:
            done, best = done + 1, min(best, loss)
            if done in BUDGETS:
                bests.append(best)
    key = {"problem": problem.name, "batch": batch, "searcher": name, "seed": seed}
    return {**key, "best": bests, "ask_ms": 1000 * cpu / BUDGETS[-1]}


def key_of(record: dict[str, Any]) -> Key:
    return record["problem"], record["batch"], record["searcher"], record["seed"]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the middle 95% of the medians of resamples."""
    source = random.Random(0)
    medians = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(500))
    return statistics.median(values), medians[12], medians[487]


def table(records: Iterable[dict[str, Any]]) -> list[str]:
    """A line for each problem, batch and searcher; the best and those tied with it are marked."""
    groups: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for record in records:
        group = groups.setdefault((record["problem"], record["batch"]), {})
        group.setdefault(record["searcher"], []).append(record)
    lines = [
        "| problem | batch | searcher | seeds | after 30 | after 60 | after 120 | ms a point |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = {name: place for place, name in enumerate(PROBLEMS)}
    for (problem, batch), group in sorted(groups.items(), key=lambda g: (order[g[0][0]], g[0][1])):
        columns = {
            name: [interval([r["best"][place] for r in found]) for place in range(len(BUDGETS))]
            for name, found in group.items()
        }
        for name in sorted(group, key=SEARCHERS.index):
            cells = [
                _cell(columns[name][place], [other[place] for other in columns.values()])
                for place in range(len(BUDGETS))
            ]
            cpu = statistics.median(r["ask_ms"] for r in group[name])
            count = len(group[name])
            lines.append(
                f"| {problem} | {batch} | {name} | {count} | {' | '.join(cells)} | {cpu:.1f} |"
            )
    return lines


def _cell(own: tuple[float, float, float], others: Sequence[tuple[float, float, float]]) -> str:
    """Tied with the best: its interval reaches to the best one's."""
    best = min(others)
    text = f"{own[0]:.3g} ({own[1]:.3g} to {own[2]:.3g})"
    return f"**{text}**" if own[1] <= best[2] else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", action="append", choices=PROBLEMS)
    parser.add_argument("--searcher", action="append", choices=SEARCHERS)
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--results", type=Path, default=Path("tuning-results.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print what is there")
    chosen = parser.parse_args()
    for library in ("OMP", "OPENBLAS", "MKL"):
        # One thread each, before a searcher loads numpy: the timing is CPU time.
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    records = read(chosen.results)
    known = {key_of(record) for record in records}
    missing: set[str] = set()
    for seed in range(0 if chosen.table else chosen.seeds):
        for problem in chosen.problem or PROBLEMS:
            for batch in chosen.batch or BATCHES:
                for name in chosen.searcher or SEARCHERS:
                    if name in missing or (problem, batch, name, seed) in known:
                        continue
                    try:
                        record = run(PROBLEMS[problem], batch, name, seed)
                    except ImportError as error:
                        missing.add(name)
                        print(f"without {name}: {error}")
                        continue
                    records.append(record)
                    with chosen.results.open("a") as out:
                        out.write(json.dumps(record) + "\n")
    print("\n".join(table(records)))


if __name__ == "__main__":
    main()
