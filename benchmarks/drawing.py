"""The dashboard's graph of large runs: CPU time to read and draw them, and what is sent.

A loop of iterations with three steps each, as the pipelines API and as a Workflow's status have
it. Shut is how the page opens; open has every iteration as a frame around its steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from kubeling.gateway.drawing.graph import draw_graph
from kubeling.gateway.drawing.picture import Picture, differences
from kubeling.gateway.steps.model import StepTree
from kubeling.gateway.steps.run import RunSteps, steps_of_run
from kubeling.gateway.steps.visible import View, shown
from kubeling.gateway.steps.workflow import steps_of_workflow

T = TypeVar("T")

WHEN = "2026-01-01T00:00:00.123456Z"
OPEN = View(open=frozenset({"loop", "loop+0", "w-l", "w-l+0"}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[2000, 10000])
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts")
    options = parser.parse_args()
    table = Table(
        "steps", "of", "answer", "read", "draw", "picture", "draw open", "open", "a change"
    )
    for count in options.steps:
        body = run(count)
        nodes = workflow(count)
        for kind, size, read in (
            ("run", len(body), lambda body=body: of_run(body)),
            ("workflow", 0, lambda nodes=nodes: StepTree(steps_of_workflow("w", nodes))),
        ):
            table.add_row(str(count), kind, kilobytes(size), *measured(read, options.rounds))
    Console(width=110).print(table)


def measured(read: Callable[[], StepTree], rounds: int) -> list[str]:
    reading, tree = best(read, rounds)
    drawing, picture = best(lambda: draw(tree, View()), rounds)
    opening, opened = best(lambda: draw(tree, OPEN), rounds)
    return [
        milliseconds(reading),
        milliseconds(drawing),
        kilobytes(len(picture.draw("", ""))),
        milliseconds(opening),
        kilobytes(len(opened.draw("", ""))),
        kilobytes(len(msgspec.json.encode(differences(opened, changed(opened))))),
    ]


def draw(tree: StepTree, view: View) -> Picture:
    fresh = StepTree(tree.by_id.values())
    return draw_graph(shown(fresh, view), fresh.critical, "/steps/{}".format, "?open={}".format)


def changed(picture: Picture) -> Picture:
    """The same with another state in one box."""
    pieces = dict(picture.pieces)
    key = next(key for key in pieces if key.startswith("b"))
    pieces[key] = pieces[key].replace("succeeded", "failed")
    return Picture(picture.width, picture.height, pieces)


def of_run(body: bytes) -> StepTree:
    return StepTree(steps_of_run(msgspec.json.decode(body, type=RunSteps).steps))


def run(count: int) -> bytes:
    """The answer of ``/apis/v2beta1/runs/RUN/steps``."""
    steps: list[Any] = [step("load", "load"), step("loop", "loop", kind="loop", after=["load"])]
    for i in range(count // 4):
        steps.append(step(f"loop/{i}", f"loop({i})", kind="iteration"))
        for before, name in zip(("", "a", "b"), "abc", strict=True):
            after = [f"loop/{i}/{before}"] if before else []
            steps.append(step(f"loop/{i}/{name}", name, kind="container", after=after))
    return msgspec.json.encode({"run": {}, "steps": steps})


def step(path: str, name: str, **more: Any) -> dict[str, Any]:
    own = path if path == "loop" else f"{path}-5f0c2f5a-39d5-4f3c-8a0f"
    times = dict.fromkeys(("create_time", "start_time", "end_time"), WHEN)
    return {"path": path, "task_id": own, "name": name, "state": "SUCCEEDED", **times, **more}


def workflow(count: int) -> dict[str, Any]:
    """The nodes of a Workflow's status."""
    iterations = [f"w-{i}" for i in range(count // 4)]
    nodes = [node("w", "w", "DAG", "", ["w-load"]), node("w-load", "w.load", "Pod", "w", ["w-l"])]
    nodes.append(node("w-l", "w.loop", "TaskGroup", "w", iterations))
    for i, key in enumerate(iterations):
        nodes.append(node(key, f"w.loop({i}:{i})", "DAG", "w", [f"{key}a"]))
        for name, then in zip("abc", ("b", "c", ""), strict=True):
            after = [key + then] if then else []
            nodes.append(node(key + name, f"w.loop({i}:{i}).{name}", "Pod", key, after))
    return {entry["id"]: entry for entry in nodes}


def node(key: str, name: str, kind: str, boundary: str, children: list[str]) -> dict[str, Any]:
    shown_as = {"id": key, "name": name, "displayName": name.rpartition(".")[2], "type": kind}
    times = {"startedAt": WHEN, "finishedAt": WHEN, "phase": "Succeeded"}
    return {**shown_as, **times, "boundaryID": boundary, "children": children}


def best(work: Callable[[], T], rounds: int) -> tuple[float, T]:
    found = []
    for _ in range(rounds):
        began = time.process_time()
        result = work()
        found.append(time.process_time() - began)
    return min(found), result


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def kilobytes(size: int) -> str:
    return f"{size / 1000:.1f} kB" if size else ""


if __name__ == "__main__":
    main()
