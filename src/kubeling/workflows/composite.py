"""What steps and dag templates share: calling, looping, limits, hooks and scopes."""

from __future__ import annotations

import datetime as dt
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.expressions import ExpressionError, conditions
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.hooks import HookFrame, exit_hook, lifecycle_hooks
from kubeling.workflows.loops import Iteration, is_loop, iterations
from kubeling.workflows.nodes import is_failed, is_fulfilled, node_id
from kubeling.workflows.outputs import composite_outputs
from kubeling.workflows.resources import Node, Phase
from kubeling.workflows.scope import ABSENT, Scope, Unresolved
from kubeling.workflows.templates import Resolved, UnknownTemplate
from kubeling.workflows.variables import artifact_values, loop_values, node_values, parameter_text

if TYPE_CHECKING:
    from kubeling.workflows.execution import Execution

__all__ = ["FAIL_FAST", "CompositeFrame", "StepRun"]

FAIL_FAST: Final = "template has failed or errored children and failFast enabled"

_SCHEDULING = ("nodeSelector", "affinity", "tolerations")


@dataclass(slots=True)
class StepRun:
    """One step or task: the nodes it became, and how many of them still run."""

    raw: Obj
    parents: list[str]
    nodes: list[str] = field(default_factory=list)
    remaining: int = 0
    loop: bool = False
    group: Node | None = None

    @property
    def name(self) -> str:
        return str(self.raw.get("name") or "")

    def tolerates(self, node: Node) -> bool:
        """Whether a bad end of the node counts as good."""
        allowed = self.raw.get("continueOn") or {}
        return bool(
            (node.phase == "Failed" and allowed.get("failed"))
            or (node.phase == "Error" and allowed.get("error"))
        )


class CompositeFrame(Frame):
    """What steps and dag templates share: calling, looping, limits, hooks and scopes."""

    prefix = "steps"

    def __init__(
        self, execution: Execution, node: Node, resolved: Resolved, scope: Scope, owner: Frame
    ) -> None:
        self.execution = execution
        self.node = node
        self.resolved = resolved
        self.scope = scope
        self.exempt = owner.exempt
        self.depth = owner.depth + 1
        self.scheduling = scope.render(
            {key: resolved.raw[key] for key in _SCHEDULING if resolved.raw.get(key)}
        )
        self.deadline = _earliest(owner.deadline, _own_deadline(node, resolved))
        self._limit = resolved.template.parallelism
        self._live = 0
        self._waiting: deque[tuple[StepRun, Iteration | None]] = deque()
        self._runs: dict[str, StepRun] = {}
        self._halting = False
        self._hooks: dict[str, HookFrame] = {}
        self._exits: dict[str, Node] = {}
        self._read: set[str] | None = None

    # -- for steps and dag -------------------------------------------------------------------

    @abstractmethod
    def node_name(self, step: str) -> str:
        """The name of the node of a step."""

    @abstractmethod
    def step_done(self, run: StepRun) -> None:
        """All nodes of a step have come to their ends."""

    def run_step(self, raw: Obj, parents: list[str]) -> None:
        """Runs a step once, or once per item; ``parents`` are the nodes it hangs on."""
        run = StepRun(raw, parents)
        rounds: Sequence[Iteration | None] = [None]
        if is_loop(raw):
            try:
                rounds = iterations(raw, self.scope)
            except Unresolved as problem:
                self._fail(run, str(problem))
                return
            run.loop = True
            self.open_group(run)
        run.remaining = len(rounds)
        if not rounds:
            self._skip_empty(run)
        for item in rounds:
            self._waiting.append((run, item))
        self._launch()

    def open_group(self, run: StepRun) -> None:
        """Makes the node that holds a loop's nodes, where the template type has one."""

    def failed_node(self, run: StepRun) -> Node | None:
        """The first node of a step whose bad end counts."""
        for key in run.nodes:
            node = self.execution.nodes[key]
            if is_failed(node) and not run.tolerates(node):
                return node
        return None

    def learn(self, run: StepRun) -> None:
        """Puts what a step gave into the scope of the steps after it."""
        prefix = f"{self.prefix}.{run.name}"
        nodes = [self.execution.nodes[key] for key in run.nodes]
        if run.loop:
            self.scope.values.update(loop_values(prefix, nodes))
            if run.group is not None:
                self.scope.values.update(node_values(prefix, run.group))
        elif nodes:
            self.scope.values.update(node_values(prefix, nodes[0]))
            if nodes[0].phase in ("Skipped", "Omitted"):
                self.scope.values.update(self._absent(run, prefix))
            self.scope.artifacts.update(artifact_values(prefix, nodes[0].outputs))

    def _absent(self, run: StepRun, prefix: str) -> dict[str, Any]:
        """The outputs a skipped step would have given: their defaults, or that they are absent."""
        try:
            template = self.execution.library.resolve(run.raw, self.resolved.scope).template
        except UnknownTemplate:
            return {}
        values: dict[str, Any] = {}
        for parameter in template.outputs.parameters if template.outputs else ():
            source = parameter.value_from
            given = source.default if source is not None else None
            name = f"{prefix}.outputs.parameters.{parameter.name}"
            values[name] = ABSENT if given is None else parameter_text(given)
        return values

    def finish(self, phase: Phase, message: str = "") -> None:
        """Ends the frame's node, with the template's outputs where it succeeded."""
        node = self.node
        if is_fulfilled(node):
            return
        if phase == "Succeeded":
            try:
                node.outputs = composite_outputs(self.resolved.template.outputs, self.scope)
            except Unresolved as problem:
                phase, message = "Error", str(problem)
        self.execution.finish(node, phase, message)

    # -- ends --------------------------------------------------------------------------------

    def joined(self, node: Node) -> None:
        run = self._runs.get(node.id)
        if run is None:
            exited = self._exits.get(node.id)
            if exited is not None:
                self.execution.connect([exited.id], node.id)
            return
        parents = [run.group.id] if run.group is not None else run.parents
        self.execution.connect(parents, node.id)
        hooks = lifecycle_hooks(run.raw)
        if hooks and node.type != "Skipped":
            scope = partial(self._scope_of, run, node)
            self._hooks[node.id] = HookFrame(
                self.execution, node, hooks, scope, self, self.resolved.scope, self.node.id
            )
            self._hooks[node.id].look()

    def child_changed(self, node: Node) -> None:
        if (hooks := self._hooks.get(node.id)) is not None:
            hooks.look()

    def child_done(self, node: Node) -> None:
        exited = self._exits.pop(node.id, None)
        if exited is not None:
            self._ended(exited)
        elif (hooks := self._hooks.get(node.id)) is not None:
            hooks.look()
            hooks.then(lambda: self._exit(node))
        else:
            self._exit(node)

    def _exit(self, node: Node) -> None:
        """Calls the exit handler of a step that ran, if it has one for such an end."""
        run = self._runs[node.id]
        hook = exit_hook(run.raw, self.execution.spec.get("arguments") or {})
        terminated = self.execution.spec.get("shutdown") == "Terminate"
        if hook is None or terminated or node.daemoned or node.phase in ("Skipped", "Omitted"):
            self._ended(node)
            return
        scope = self._scope_of(run, node)
        name = f"{node.name}.onExit"
        display = f"{node.display_name}.onExit"
        place = self.resolved.scope
        call = Call(name, display, hook, scope, place, self.node.id, hooked=True)
        self._exits[node_id(self.execution.name, name)] = node
        try:
            wanted = not hook.get("expression") or scope.decide(hook["expression"])
        except Unresolved as problem:
            self.execution.refuse(call, self, str(problem))
            return
        if wanted:
            self.execution.start(call, self)
        else:
            del self._exits[node_id(self.execution.name, name)]
            self._ended(node)

    def _scope_of(self, run: StepRun, node: Node) -> Scope:
        """What a step's hooks see: its own state and outputs beside those of the steps before."""
        prefix = f"{self.prefix}.{run.name}"
        scope = self.scope.child(node_values(prefix, node))
        scope.artifacts.update(artifact_values(prefix, node.outputs))
        return scope

    def halted(self) -> None:
        """Nothing starts any more, because of ``failFast``, and nothing runs any more."""
        self.finish("Failed", FAIL_FAST)

    def _ended(self, node: Node) -> None:
        run = self._runs[node.id]
        self._live -= 1
        run.remaining -= 1
        if self.resolved.template.fail_fast and (self._halting or is_failed(node)):
            self._halting = True
            self._waiting.clear()
            if self._live == 0:
                self.halted()
            return
        if run.remaining == 0:
            self.step_done(run)
        self._launch()

    # -- calls -------------------------------------------------------------------------------

    def _launch(self) -> None:
        limit = self._limit
        while self._waiting and (limit is None or self._live < limit):
            run, item = self._waiting.popleft()
            self._live += 1
            self._start(run, item)

    def _start(self, run: StepRun, item: Iteration | None) -> None:
        suffix = item.suffix if item is not None else ""
        scope = self.scope.child({f"{self.prefix}.name": run.name})
        if item is not None:
            scope.values.update(item.values)
        name = self.node_name(run.name) + suffix
        call = Call(
            name,
            run.name + suffix,
            run.raw,
            scope,
            self.resolved.scope,
            self.node.id,
            capture_result=self._reads_result(run.name),
            extra={f"{self.prefix}.name": run.name},
        )
        self._register(run, name)
        try:
            skipped = _when_false(run.raw, scope)
        except (Unresolved, ExpressionError) as problem:
            self.execution.refuse(call, self, str(problem))
            return
        if skipped:
            self.execution.skip(call, self, "Skipped", skipped)
        else:
            self.execution.start(call, self)

    def _fail(self, run: StepRun, message: str) -> None:
        run.remaining = 1
        self._live += 1
        self.execution.refuse(self._placeholder(run), self, message)

    def _skip_empty(self, run: StepRun) -> None:
        run.remaining = 1
        self._live += 1
        self.execution.skip(self._placeholder(run), self, "Skipped", "Skipped, empty params")

    def _placeholder(self, run: StepRun) -> Call:
        """A call that only names a node."""
        name = self.node_name(run.name)
        if run.group is not None:
            name += "(none)"
        self._register(run, name)
        return Call(name, run.name, {}, self.scope, self.resolved.scope, self.node.id)

    def _register(self, run: StepRun, name: str) -> None:
        key = node_id(self.execution.name, name)
        self._runs[key] = run
        run.nodes.append(key)

    def _reads_result(self, step: str) -> bool:
        if self._read is None:
            text = msgspec.json.encode(self.resolved.raw).decode()
            pattern = (
                rf"""{self.prefix}(?:\.([\w-]+)|\[['"\\]+([\w-]+)['"\\]+\])\.outputs\.result"""
            )
            self._read = {one or other for one, other in re.findall(pattern, text)}
        return step in self._read


def _when_false(raw: Obj, scope: Scope) -> str:
    """Why a step is skipped; empty if it is not."""
    if not raw.get("when"):
        return ""
    shown = scope.render(raw["when"])
    try:
        return "" if conditions.evaluate(shown) else f"when '{shown}' evaluated false"
    except conditions.NotBoolean:
        raise
    except ExpressionError as error:
        raise ExpressionError(f"Invalid 'when' expression '{shown}': {error}") from None


def _own_deadline(node: Node, resolved: Resolved) -> dt.datetime | None:
    seconds = resolved.template.active_deadline_seconds
    if seconds is None or node.started_at is None:
        return None
    return parse_time(node.started_at) + dt.timedelta(seconds=int(seconds))


def _earliest(*moments: dt.datetime | None) -> dt.datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
