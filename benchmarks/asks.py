"""What a point costs when an experiment is long: CPU of an ask with 1,000 trials known.

python benchmarks/asks.py [--trials 1000] [--algorithm auto]

Every algorithm makes a history of its own, one trial after the other, so that generations, rungs
and rewards are as they would be; timed are the last asks before the size is reached. The median
counts, and its goal is met or MISSED; the slowest one shows when a model is fitted anew.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search.problems import category, double, integer

if TYPE_CHECKING:
    from kubeling.tuning.algorithms import PastTrial
    from kubeling.tuning.space import Dimension

GOAL_MS = 10.0
TIMED = 50
PARAMETERS = [
    double("rate", 1e-6, 1.0, log=True),
    double("decay", 1e-8, 1e-1, log=True),
    double("dropout", 0.0, 0.7),
    integer("layers", 1, 12),
    integer("epochs", 1, 729),
    category("optimizer", "sgd", "adam", "rmsprop"),
]
SETTINGS = {
    "hyperband": {"r_l": "729", "eta": "3", "resource_name": "epochs"},
    "asha": {"max_resource": "729", "resource_name": "epochs"},
    "pbt": {
        "suggestion_trial_dir": "/trials",
        "n_population": "20",
        "truncation_threshold": "0.2",
    },
}
ARCHITECTURES = ("enas", "darts")
NETWORK: dict[str, Any] = {
    "graphConfig": {"numLayers": 8, "inputSizes": [32, 32, 3], "outputSizes": [10]},
    "operations": [
        {
            "operationType": "convolution",
            "parameters": [category("filter_size", "3", "5", "7"), category("filters", "32", "64")],
        }
    ],
}


def loss(assignments: dict[str, str], index: int) -> float:
    """Anything that is different for every trial and better for some points than for others."""
    if "architecture" in assignments:
        layers = json.loads(assignments["architecture"].replace("'", '"'))
        return float(sum(row[0] for row in layers)) + index % 7 / 10
    if "rate" not in assignments:
        return index % 7 / 10
    return abs(float(assignments["dropout"]) - 0.3) + abs(float(assignments["rate"]) - 0.01)


def space(name: str) -> tuple[Dimension, ...]:
    """What can be searched by every algorithm alike, as far as it can be."""
    from kubeling.tuning.space import dimensions

    if name in ARCHITECTURES:
        return ()
    # A grid has steps.
    searched = [p for p in PARAMETERS if name != "grid" or p["parameterType"] != "double"]
    return tuple(dimensions(searched))


def asks(name: str, trials: int) -> list[float]:
    """Milliseconds of CPU of each ask, one trial after the other."""
    from kubeling.tuning.algorithms import Exhausted, PastTrial, Search, TrialState, create

    search = Search(space(name), True, SETTINGS.get(name, {}), "0", nas=NETWORK)
    algorithm = create(name, search)
    history: list[PastTrial] = []
    spent: list[float] = []
    while len(history) < trials:
        began = time.process_time()
        try:
            proposal = algorithm.propose(history)
        except Exhausted:
            break
        spent.append(1000 * (time.process_time() - began))
        value = loss(proposal.assignments, len(history))
        history.append(
            PastTrial(
                proposal.assignments,
                TrialState.COMPLETE,
                value,
                name=f"trial-{len(history)}",
                labels=proposal.labels,
            )
        )
    return spent


def line(name: str, spent: Sequence[float]) -> str:
    last = spent[-TIMED:]
    median = statistics.median(last)
    verdict = "met" if median <= GOAL_MS else "MISSED"
    return f"{name:22}{len(spent):7}{median:9.2f}{min(last):9.2f}{max(last):9.2f}  {verdict}"


def main() -> None:
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    from kubeling.tuning.algorithms import ALGORITHMS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithm", action="append", choices=ALGORITHMS)
    parser.add_argument("--trials", type=int, default=1000)
    chosen = parser.parse_args()
    print(f"{'CPU of an ask, ms':22}{'trials':>7}{'median':>9}{'least':>9}{'most':>9}")
    for name in chosen.algorithm or ALGORITHMS:
        print(line(name, asks(name, chosen.trials)), flush=True)


if __name__ == "__main__":
    main()
