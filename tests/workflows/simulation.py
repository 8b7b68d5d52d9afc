"""A world for executions without a cluster: pods end the way a test says they do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from kubeling.kube import yaml
from kubeling.kube.objects import Obj, deep_copy
from kubeling.workflows.execution import Execution
from kubeling.workflows.handover import Store
from kubeling.workflows.leaves import Actions
from kubeling.workflows.locks import LockTable, holder_key
from kubeling.workflows.meters import Sample
from kubeling.workflows.observation import PodObservation, observe_pod
from kubeling.workflows.resources import Node, Outputs
from kubeling.workflows.synchronization import serve_locks
from kubeling.workflows.templates import Library, Missing

STORE = Store("/store")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass
class Ending:
    """How a pod ends: its exit code, and what its container left in the termination message."""

    exit_code: int = 0
    message: str = ""


def report(result: str | None = None, **parameters: str) -> str:
    """A termination message with a result and parameters."""
    text = "".join(
        f"parameter {name} {len(value.encode())}\n{value}\n" for name, value in parameters.items()
    )
    if result is not None:
        text += f"result - {len(result.encode())}\n{result}\n"
    return text


def argv(pod: Obj) -> list[str]:
    """The user's command and arguments in a pod, without the wrapper."""
    container = pod["spec"]["containers"][0]
    command = [*(container.get("command") or ()), *(container.get("args") or ())]
    return command[4:] if command[:2] == ["/bin/sh", "-c"] and command[3:4] == ["sh"] else command


def parse(text: str) -> Obj:
    """A workflow document as the API server would hand it out."""
    workflow: Obj = yaml.load(text)
    metadata = workflow.setdefault("metadata", {})
    metadata.setdefault("name", "wf")
    metadata.update(namespace="ns", uid="u1", creationTimestamp="2026-01-01T00:00:00Z")
    workflow.setdefault("apiVersion", "argoproj.io/v1alpha1")
    workflow.setdefault("kind", "Workflow")
    return workflow


def ended(pod: Obj, ending: Ending) -> Obj:
    """The pod as it looks when its container has ended."""
    terminated: Obj = {"exitCode": ending.exit_code, "message": ending.message}
    if ending.exit_code:
        terminated["reason"] = "Error"
    return {
        **pod,
        "status": {
            "phase": "Failed" if ending.exit_code else "Succeeded",
            "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}],
        },
    }


@dataclass
class World:
    """One Workflow, its pods, and a clock that only moves when told."""

    workflow: Obj
    behave: Callable[[Obj], Ending] = lambda pod: Ending()
    objects: dict[tuple[str, str], Obj | None] = field(default_factory=dict)
    now: dt.datetime = START
    store: Store = STORE
    created: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    pods: dict[str, Obj] = field(default_factory=dict)
    measured: dict[str, list[Sample]] = field(default_factory=dict)
    locks: LockTable = field(default_factory=lambda: LockTable(lambda _: None))
    caches: dict[tuple[str, str], Outputs] = field(default_factory=dict)
    written: Obj = field(default_factory=dict)
    most: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, written: Obj | None = None) -> None:
        """As after a crash: nothing is left but what was written and the pods."""
        if hasattr(self, "execution"):
            self.workflow["status"] = self.status() if written is None else deep_copy(written)
        self.locks = LockTable(lambda _: None)
        spec = self.workflow["spec"]
        library = Library(self.workflow["metadata"]["name"], spec, {})
        self.execution = Execution(self.workflow, spec, self.store, library)
        for node_id, locks in self.execution.gates.holding.items():
            for lock in locks:
                self.locks.restore(holder_key(self.workflow, node_id), lock)

    def status(self) -> Obj:
        """The status as it would be written."""
        running = self.execution
        return {
            "phase": running.phase,
            "message": running.message,
            "startedAt": running.started_at,
            "finishedAt": running.finished_at,
            "outputs": msgspec.to_builtins(running.outputs),
            "synchronization": running.gates.status(),
            "nodes": {key: msgspec.to_builtins(node) for key, node in running.nodes.items()},
        }

    def advance(self, *pods: Obj) -> None:
        """One reconciliation, with news of the given pods."""
        self.take(s for pod in (pods or self.pods.values()) if (s := observe_pod(pod)) is not None)

    def lose(self, pod: Obj) -> None:
        """Somebody deletes a pod."""
        del self.pods[pod["metadata"]["name"]]
        self.take(s for s in [observe_pod(pod, deleted=True)] if s is not None)

    def take(self, news: Iterable[PodObservation]) -> None:
        """Hands over news and does what the execution asks for."""
        actions = self._decide(list(news))
        while self._open_gates(actions):
            actions.add(self._decide([]))
        for node in actions.remember.values():
            status = node.memoization_status
            if status is not None and not status.hit:
                self.caches[status.cache_name, status.key] = node.outputs or Outputs()
        for moment, samples in actions.measured.items():
            self.measured.setdefault(moment, samples)
        for name, pod in actions.create.items():
            if name not in self.pods:
                self.created.append(name)
                self.pods[name] = pod
        for name in actions.stop:
            self.stopped.append(name)
            self.pods.pop(name, None)
        self.ended += actions.end
        self.most = max(self.most, len(self.running()))

    def _decide(self, seen: list[PodObservation]) -> Actions:
        while True:
            try:
                return self.execution.advance(self.now, seen)
            except Missing as missing:
                key = (missing.kind, missing.name)
                self.execution.library.objects[key] = self.objects.get(key)

    def _open_gates(self, actions: Actions) -> bool:
        """Locks what is free, looks into caches; whether that is news for the execution."""
        if serve_locks(self.locks, self.execution):
            actions.add(self._decide([]))
            self.written = self.status()
            return True
        gates = self.execution.gates
        for node_id, asked in gates.lookups.items():
            found = self.caches.get((asked.cache, asked.key))
            self.execution.answers.append(partial(gates.cached, node_id, found))
        return bool(gates.lookups)

    def running(self) -> list[Obj]:
        """Pods that have not ended."""
        open_ = (None, "Pending", "Running")
        return [p for p in self.pods.values() if (p.get("status") or {}).get("phase") in open_]

    def end(self, pod: Obj, ending: Ending | None = None) -> None:
        """Ends one pod and tells the execution."""
        done = ended(pod, ending or self.behave(pod))
        self.pods[pod["metadata"]["name"]] = done
        self.advance(done)

    def run(self, *, limit: int = 10_000) -> World:
        """Runs to the end; time jumps to whatever is due next."""
        self.advance()
        for _ in range(limit):
            if self.execution.finished:
                return self
            if running := self.running():
                self.end(running[0])
            elif (due := self.execution.wake_at) is not None:
                self.now = max(self.now, due)
                self.advance()
            else:
                raise AssertionError(f"stuck: {self.phases()}")
        raise AssertionError("too many steps")

    def node(self, display: str) -> Node:
        """The node shown under that name."""
        return next(n for n in self.execution.nodes.values() if n.display_name == display)

    def phases(self) -> dict[str, str]:
        """Phases by displayed name."""
        return {n.display_name: n.phase for n in self.execution.nodes.values()}


def world(text: str, behave: Callable[[Obj], Ending] | None = None, **more: Any) -> World:
    """A world with the given workflow document."""
    return World(parse(text), behave or (lambda pod: Ending()), **more)


ECHO = """
  - name: echo
    inputs: {parameters: [{name: text}]}
    outputs: {parameters: [{name: said, valueFrom: {path: /said}}]}
    container: {image: busybox, command: [echo, "{{inputs.parameters.text}}"]}
"""


def echo(pod: Obj) -> Ending:
    """Says its last argument as its result and its parameter."""
    text = argv(pod)[-1]
    return Ending(0, report(text, said=text))
