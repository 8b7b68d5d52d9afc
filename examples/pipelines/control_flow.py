"""Loops, branches, an exit handler, retries and a pipeline within a pipeline.

python control_flow.py   compiles it to control_flow.yaml
"""

from kfp import compiler, dsl


@dsl.component(base_image="python:3.11")
def flip(side: str) -> str:
    return side


@dsl.component(base_image="python:3.11")
def square(number: int) -> int:
    return number * number


@dsl.component(base_image="python:3.11")
def total(numbers: list) -> int:
    return sum(numbers)


@dsl.component(base_image="python:3.11")
def say(text: str) -> str:
    print(text)
    return text


@dsl.component(base_image="python:3.11")
def fail_at_first(marker: str) -> str:
    """Fails once, to show that a task is tried again."""
    import os

    if not os.path.exists(marker):
        open(marker, "w").close()
        raise RuntimeError("not yet")
    os.remove(marker)
    return "second attempt"


@dsl.component(base_image="python:3.11")
def clean_up(status: dsl.PipelineTaskFinalStatus):
    print(f"{status.pipeline_task_name} ended {status.state}")


@dsl.pipeline(name="sum-of-squares")
def sum_of_squares(numbers: list) -> int:
    with dsl.ParallelFor(numbers, parallelism=2) as number:
        squared = square(number=number)
    return total(numbers=dsl.Collected(squared.output)).output


@dsl.pipeline(name="control-flow")
def control_flow(
    marker: str,
    side: str = "heads",
    numbers: list = [1, 2, 3],  # noqa: B006
) -> str:
    with dsl.ExitHandler(clean_up(), name="guarded"):
        fail_at_first(marker=marker).set_retry(2, backoff_duration="0s").set_caching_options(False)
    inner = sum_of_squares(numbers=numbers)
    flipped = flip(side=side)
    with dsl.If(flipped.output == "heads", name="heads"):
        won = say(text=f"won {inner.output}")
    with dsl.Else(name="tails"):
        lost = say(text="lost")
    return dsl.OneOf(won.output, lost.output)


if __name__ == "__main__":
    compiler.Compiler().compile(control_flow, "control_flow.yaml")
