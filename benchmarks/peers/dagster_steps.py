"""Dagster: a process per op, forked from a server that is warm."""

import logging
import tempfile

from dagster import (
    DagsterInstance,
    execute_job,
    job,
    multiprocess_executor,
    op,
    reconstructable,
)
from timing import best, sizes, tell

chain, fan, at_once, rounds = sizes()
executor = multiprocess_executor.configured(
    {"max_concurrent": at_once, "start_method": {"forkserver": {}}}
)


@op
def first():
    return 0


@op
def add(x):
    return x + 1


@job(executor_def=executor)
def chained():
    made = first()
    for _ in range(chain - 1):
        made = add(made)


@job(executor_def=executor)
def fanned():
    zero = first()
    for _ in range(fan):
        add(zero)


def run(wanted):
    with DagsterInstance.local_temp(tempfile.mkdtemp()) as instance:
        assert execute_job(reconstructable(wanted), instance).success


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    tell(
        chain=best(rounds, lambda _: run(chained)),
        fan=best(rounds, lambda _: run(fanned), warm=True),
    )
