"""How a peer's script tells its figures: the best of the rounds, as one line of JSON.

Each script runs in the peer's own environment with the sizes of chain and fan, how many steps of
the fan run at once, and the number of rounds.
"""

import json
import sys
import time


def sizes():
    """Chain, fan, at once, rounds."""
    return [int(text) for text in sys.argv[1:5]]


def best(rounds, run, *, warm=False):
    """The shortest time of ``run(round)``; unless it is ``warm``, the first only warms up."""
    if not warm:
        run(0)
    times = []
    for number in range(1, rounds + 1):
        began = time.perf_counter()
        run(number)
        times.append(time.perf_counter() - began)
    return min(times)


def tell(**seconds):
    print(json.dumps(seconds))
