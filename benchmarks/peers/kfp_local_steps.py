"""kfp.local without virtual environments: a process per step, one after another."""

import logging
import tempfile

from kfp import dsl, local
from timing import best, sizes, tell

chain, fan, _, rounds = sizes()


@dsl.component
def add(x: int) -> int:
    return x + 1


@dsl.pipeline
def chained(first: int) -> int:
    made = add(x=first)
    for _ in range(chain - 1):
        made = add(x=made.output)
    return made.output


def run(number):
    assert chained(first=number).output == number + chain


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=tempfile.mkdtemp())
    tell(chain=best(rounds, run))
