"""A world for executions without a cluster: pods end the way a test says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec

from kubeling.pipelines.execution import Actions, Execution
from kubeling.pipelines.ir import PipelineSpec
from kubeling.pipelines.nodes import Outputs, TaskError, TaskNode
from kubeling.pipelines.restarting import restart
from kubeling.pipelines.run_facts import RunFacts
from kubeling.pipelines.sightings import CacheSeen, PodSeen, Sighting

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
Behaviour = Callable[[TaskNode], "dict[str, Any] | str"]
"""What a step does: returns its output parameters, or the error it ends with."""


class Simulation:
    """Runs an execution, one round of pods after another."""

    def __init__(self, spec: PipelineSpec, *, deadline_seconds: int = 0, **parameters: Any) -> None:
        facts = RunFacts(
            "run-1", "p-abcde", "ns", "a run", "", "", "/store/p", parameters,
            deadline_seconds=deadline_seconds,
        )  # fmt: skip
        self._begin(spec, facts, {}, 0)
        self.launched: list[str] = []
        self.at_once = 0
        self.now = START

    def _begin(
        self, spec: PipelineSpec, facts: RunFacts, nodes: dict[str, TaskNode], epoch: int
    ) -> None:
        self.execution = Execution(spec, facts, nodes, epoch)

    def crash(self) -> None:
        """A new controller takes over, with nothing but what was stored."""
        before = self.execution
        stored = {path: msgspec.json.encode(node) for path, node in before.nodes.items()}
        nodes = {path: msgspec.json.decode(body, type=TaskNode) for path, body in stored.items()}
        self._begin(before.spec, before.facts, nodes, before.epoch)
        self.execution.terminating = before.terminating

    def retry(self) -> None:
        """The run is sent back to work."""
        before = self.execution
        epoch = before.epoch + 1
        again = {node.path: node for node in restart(before.nodes.values(), epoch)}
        self.launched.clear()
        self._begin(before.spec, before.facts, {**before.nodes, **again}, epoch)

    @property
    def nodes(self) -> dict[str, TaskNode]:
        return self.execution.nodes

    def state(self, path: str) -> str:
        return self.nodes[path].state

    def states(self) -> dict[str, str]:
        return {path: node.state for path, node in self.nodes.items() if path}

    def run(self, behaviour: Behaviour, rounds: int = 1000) -> Simulation:
        """Lets every pod end before anything else happens, until there is nothing to do."""
        actions = self.advance()
        for _ in range(rounds):
            if not actions.launch and actions.wake_at is None:
                return self
            if actions.wake_at is not None and not actions.launch:
                self.now = actions.wake_at
            self.at_once = max(self.at_once, len(actions.launch))
            actions = self.advance(*(self._end(node, behaviour) for node in actions.launch))
        raise AssertionError("the execution does not come to an end")

    def advance(self, *seen: Sighting) -> Actions:
        actions = self.execution.advance(self.now, seen)
        while actions.look_up:
            answers = [CacheSeen(node.path, "nothing cached") for node in actions.look_up]
            actions = self.execution.advance(self.now, answers)
        return actions

    def _end(self, node: TaskNode, behaviour: Behaviour) -> PodSeen:
        self.launched.append(node.path)
        did = behaviour(node)
        if isinstance(did, str):
            return PodSeen(node.path, node.attempt, node.epoch, "Failed", error=TaskError(did))
        return PodSeen(node.path, node.attempt, node.epoch, "Succeeded", outputs=Outputs(did))


def succeed(_: TaskNode) -> dict[str, Any]:
    return {}


def echo(node: TaskNode) -> dict[str, Any]:
    """Gives its parameter ``x`` as ``out``."""
    return {"out": node.inputs.parameters.get("x")}
