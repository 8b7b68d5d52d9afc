"""Prefect with its own temporary server: tasks in processes."""

import logging
import os

os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from timing import best, sizes, tell

chain, fan, at_once, rounds = sizes()
runner = ProcessPoolTaskRunner(max_workers=at_once)


@task
def add(x):
    return x + 1


@flow(task_runner=runner)
def chained(first):
    made = add.submit(first)
    for _ in range(chain - 1):
        made = add.submit(made)
    return made.result()


@flow(task_runner=runner)
def fanned(first):
    return [one.result() for one in [add.submit(first + n) for n in range(fan)]]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    tell(chain=best(rounds, chained), fan=best(rounds, fanned))
