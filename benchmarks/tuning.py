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
import time
from pathlib import Path
from typing import Any

from search.problems import PROBLEMS, Problem
from search.searchers import PEERS, Point, searcher
from search.tables import standings, table

BUDGETS = (30, 60, 120)
USUAL = ("auto", "tpe", "random", *PEERS)
OURS = ("multivariate-tpe", "bayesianoptimization", "cmaes", "sobol", "nsga2")
SEARCHERS = ("auto", "tpe", *OURS, "random", *PEERS)
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
        losses = [loss_of(problem, point) for point in points]
        began = time.process_time()
        search.tell(points, losses)
        cpu += time.process_time() - began
        for loss in losses:
            done, best = done + 1, min(best, loss)
            if done in BUDGETS:
                bests.append(best)
    key = {"problem": problem.name, "batch": batch, "searcher": name, "seed": seed}
    return {**key, "best": bests, "ask_ms": 1000 * cpu / BUDGETS[-1]}


_losses: dict[tuple[Any, ...], float] = {}


def loss_of(problem: Problem, point: Point) -> float:
    """The loss, computed once: some points are the same in batches of any size."""
    key = (problem.name, *sorted(point.items()))
    if key not in _losses:
        _losses[key] = problem.loss(point)
    return _losses[key]


def key_of(record: dict[str, Any]) -> Key:
    return record["problem"], record["batch"], record["searcher"], record["seed"]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
                for name in chosen.searcher or USUAL:
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
    names = tuple(PROBLEMS)
    print("\n".join([*table(records, names, SEARCHERS), "", *standings(records, names, SEARCHERS)]))


if __name__ == "__main__":
    main()
