"""Runs a graph: which steps are asked, with what, and what becomes of their answers.

Pure but for ``call``, which asks a service. The rules are those of upstream's router
(``cmd/router/main.go``); one is stricter: what an ensemble cannot merge names the step.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kubeling.kube.objects import Obj
from kubeling.serving.graph.conditions import exists
from kubeling.serving.graph.resources import ROOT

__all__ = ["Answer", "Call", "GraphFailure", "run"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step answered; its ``rest`` is still to come if it goes to the client as it is.

    One that failed tells which ``step`` it was.
    """

    status: int
    body: bytes
    content_type: str = ""
    rest: AsyncIterator[bytes] | None = None
    step: str = ""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class GraphFailure(Exception):
    """The graph has no answer; ``status`` is to be told."""

    def __init__(self, status: int, cause: str) -> None:
        super().__init__(cause)
        self.status = status


class Call(Protocol):
    """Asks the service of a step; raises :class:`GraphFailure` if it cannot be reached.

    ``path`` names the step. The answer of a ``last`` step is the graph's, unread: it may stream.
    """

    def __call__(self, step: Obj, body: bytes, path: str, last: bool) -> Awaitable[Answer]: ...


Ask = Callable[[int, bytes, bool], Coroutine[Any, Any, Answer]]
"""Asks the step of an index with a body; says whether what it answers is the graph's answer."""
Choose = Callable[[Sequence[int]], int]
"""Draws an index by weights."""


def _draw(weights: Sequence[int]) -> int:
    return random.choices(range(len(weights)), weights)[0]


async def run(
    nodes: Mapping[str, Obj],
    body: bytes,
    call: Call,
    choose: Choose = _draw,
    at: str = ROOT,
    *,
    last: bool = True,
) -> Answer:
    """The answer of a node; raises :class:`GraphFailure`."""
    node = nodes[at]
    steps: list[Obj] = node.get("steps") or []

    async def ask(index: int, content: bytes, ends: bool) -> Answer:
        step = steps[index]
        if step.get("nodeName"):
            try:
                return await run(nodes, content, call, choose, step["nodeName"], last=ends)
            except GraphFailure as failure:
                # Only of the first node upstream tells that none of its routes fits.
                raise GraphFailure(500, str(failure)) from failure
        path = f"{at}/{step.get('name') or index}"
        answer = await call(step, content, path, ends)
        if answer.succeeded:
            return answer
        # Not where it is named by its address, which may hold a password.
        service = f" ({step['serviceName']})" if step.get("serviceName") else ""
        return replace(answer, step=path + service)

    match node["routerType"]:
        case "Sequence":
            return await _sequence(steps, body, ask, last)
        case "Ensemble":
            return await _ensemble(steps, body, ask)
        case "Switch":
            return await ask(_switched(steps, body), body, last)
        case _:
            return await ask(choose([int(step["weight"]) for step in steps]), body, last)


async def _sequence(steps: Sequence[Obj], body: bytes, ask: Ask, last: bool) -> Answer:
    answer = Answer(200, body)
    for index, step in enumerate(steps):
        condition = step.get("condition")
        if condition and not index:
            raise GraphFailure(500, f"{condition} is for an answer, and the first step has none")
        if condition and not exists(_document(answer.body, 500), condition):
            return Answer(200, answer.body)
        content = answer.body if index and step.get("data") == "$response" else body
        if step.get("mapPredictionsToInstances"):
            content = _as_instances(content)
        answer = await ask(index, content, last and index == len(steps) - 1)
        if step.get("dependency") == "Hard" and not answer.succeeded:
            return answer
    return answer


def _switched(steps: Sequence[Obj], body: bytes) -> int:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    for index, step in enumerate(steps):
        if document is not None and exists(document, step.get("condition") or ""):
            return index
    raise GraphFailure(404, "None of the routes matched with the switch condition")


async def _ensemble(steps: Sequence[Obj], body: bytes, ask: Ask) -> Answer:
    """All at once, merged by name; the first hard step that fails decides alone.

    Once a step cannot be reached there is no answer to merge, and the others are asked no more.
    """
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(index, body, False)) for index in range(len(steps))]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    answers = [task.result() for task in asked]
    merged: dict[str, Any] = {}
    for index, (step, answer) in enumerate(zip(steps, answers, strict=True)):
        title = step.get("name") or str(index)
        if step.get("dependency") == "Hard" and not answer.succeeded:
            return answer
        document = _document(answer.body, 500, f"step {title}: ")
        if not isinstance(document, dict):
            raise GraphFailure(500, f"step {title}: the answer is not a JSON object")
        merged[title] = document
    return Answer(200, json.dumps(merged).encode())


def _document(body: bytes, status: int, prefix: str = "") -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise GraphFailure(status, f"{prefix}the answer is not JSON: {error}") from None


def _as_instances(body: bytes) -> bytes:
    """Predictions as the instances of a request; what has none stays as it is."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list) or not predictions:
        return body
    return json.dumps({"instances": predictions}).encode()
