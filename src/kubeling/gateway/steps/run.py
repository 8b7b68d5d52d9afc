"""The steps of a pipeline's run, from what the pipelines API says of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kubeling.gateway.steps.model import Kind, Step
from kubeling.gateway.steps.workflow import seconds

__all__ = ["RunSteps", "steps_of_run"]

_STATES = {"": "waiting", "PENDING": "waiting"}
_KINDS: dict[str, Kind] = {"dag": "dag", "loop": "loop", "iteration": "iteration"}


class RunStep(msgspec.Struct):
    """A step as ``/apis/v2beta1/runs/RUN/steps`` has it; ``after`` names paths.

    ``cache`` is there only if it was asked for.
    """

    path: str
    task_id: str
    name: str
    state: str = ""
    kind: str = ""
    cached: bool = False
    cache: str = ""
    attempts: int = 1
    after: list[str] = []
    create_time: str = ""
    start_time: str = ""
    end_time: str = ""


class RunSteps(msgspec.Struct):
    """A run, as the API's message, and its steps."""

    run: dict[str, object]
    steps: list[RunStep] = []


def steps_of_run(rows: Iterable[RunStep]) -> list[Step]:
    """The steps; groups come before what is in them."""
    rows = list(rows)
    ids = {row.path: row.task_id for row in rows}
    return [
        Step(
            row.task_id,
            row.name,
            _state(row),
            _KINDS.get(row.kind, "step"),
            ids.get(row.path.rpartition("/")[0], ""),
            tuple(ids[path] for path in row.after if path in ids),
            seconds(row.create_time),
            seconds(row.start_time),
            seconds(row.end_time),
            row.attempts,
            row.cache,
        )
        for row in rows
    ]


def _state(row: RunStep) -> str:
    if row.cached and row.state == "SUCCEEDED":
        return "cached"
    if row.state == "PENDING" and row.start_time:
        return "pending"
    return _STATES.get(row.state, row.state.lower())
