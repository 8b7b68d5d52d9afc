"""``dag`` templates: tasks in the order of their dependencies.

A task is looked at when the last task it depends on has ended. Whether the whole failed is decided
as upstream decides it: every target task (one nothing depends on) has the phase of its branch, its
own if it ran and otherwise that of what kept it from running.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj
from kubeling.workflows.composite import CompositeFrame, StepRun
from kubeling.workflows.expressions import depends
from kubeling.workflows.expressions.depends import And, Depends, Or, TaskResult
from kubeling.workflows.frames import MAX_DEPTH
from kubeling.workflows.nodes import is_failed
from kubeling.workflows.resources import Node, Phase

__all__ = ["DagFrame", "dependency_tree"]

_RESULT_PHASES: Final[dict[str, tuple[Phase, ...]]] = {
    "": ("Succeeded", "Skipped"),
    "Succeeded": ("Succeeded",),
    "Failed": ("Failed",),
    "Errored": ("Error",),
    "Skipped": ("Skipped",),
    "Omitted": ("Omitted",),
    "Daemoned": (),
}


def dependency_tree(task: Obj, tasks: dict[str, Obj]) -> Depends | None:
    """What a task waits for, from ``depends`` or ``dependencies``; ``None`` if for nothing."""
    if text := task.get("depends"):
        return depends.parse(text)
    tree: Depends | None = None
    for name in task.get("dependencies") or ():
        wanted: Depends = TaskResult(name, "")
        allowed = (tasks.get(name) or {}).get("continueOn") or {}
        if allowed.get("failed"):
            wanted = Or(wanted, TaskResult(name, "Failed"))
        if allowed.get("error"):
            wanted = Or(wanted, TaskResult(name, "Errored"))
        tree = wanted if tree is None else And(tree, wanted)
    return tree


class DagFrame(CompositeFrame):
    """Runs the tasks of a dag template."""

    prefix = "tasks"

    def open(self) -> None:
        """Starts the tasks that depend on nothing."""
        dag = self.resolved.raw["dag"]
        tasks: dict[str, Obj] = {task["name"]: task for task in dag.get("tasks") or ()}
        self._fail_fast = dag.get("failFast") is not False
        self._trees = {name: dependency_tree(task, tasks) for name, task in tasks.items()}
        needs = {
            name: list(dict.fromkeys(result.task for result in depends.tasks_of(tree)))
            if tree is not None
            else []
            for name, tree in self._trees.items()
        }
        depended = {need for names in needs.values() for need in names}
        targets = str(self.scope.render(dag.get("target") or "")).split()
        self._targets = targets or [name for name in tasks if name not in depended]
        wanted = _closure(self._targets, needs)
        self._tasks = {name: tasks[name] for name in tasks if name in wanted}
        self._needs = {name: needs[name] for name in self._tasks}
        self._missing = {name: len(needs[name]) for name in self._tasks}
        self._dependents: dict[str, list[str]] = {name: [] for name in self._tasks}
        for name, names in self._needs.items():
            for need in names:
                self._dependents[need].append(name)
        self._ended_runs: dict[str, StepRun] = {}
        self._branch: dict[str, Phase] = {}
        self._doomed: Node | None = None
        self._running = 0
        for name in [name for name, count in self._missing.items() if count == 0]:
            self._begin(name)
        self._check_end()

    def node_name(self, step: str) -> str:
        return f"{self.node.name}.{step}"

    def explain(self, name: str, problem: str) -> str:
        return problem if problem == MAX_DEPTH else f"task '{name}' errored: {problem}"

    def open_group(self, run: StepRun) -> None:
        run.group = self.execution.ensure(
            self.node_name(run.name), run.name, "TaskGroup", self.node.id,
            template_scope=self.node.template_scope,
        )  # fmt: skip
        self.execution.connect(run.parents, run.group.id)

    def step_done(self, run: StepRun) -> None:
        self._running -= 1
        if run.group is not None:
            self._close_group(run, run.group)
        self.learn(run)
        self._ended_runs[run.name] = run
        self._branch[run.name] = self._branch_phase(run)
        skip_new = self._doomed is not None and self._fail_fast
        if run.name in self._targets and self._doomed is None:
            self._doomed = self._bad_end(run)
        for dependent in self._dependents[run.name]:
            self._missing[dependent] -= 1
            if self._missing[dependent] == 0 and not skip_new:
                self._begin(dependent)
        self._check_end()

    def daemon_lost(self, node: Node) -> None:
        run = self._runs[node.id]
        if self._doomed is None and not run.tolerates(node):
            self._doomed = node

    def _begin(self, name: str) -> None:
        self._running += 1
        parents = [
            leaf
            for need in self._needs[name]
            for leaf in self.execution.outbound(self._end_node(self._ended_runs[need]).id)
        ] or [self.node.id]
        tree = self._trees[name]
        if tree is not None and not depends.evaluate(tree, self._holds):
            self._omit(name, parents)
        else:
            self.run_step(self._tasks[name], parents)

    def _omit(self, name: str, parents: list[str]) -> None:
        run = StepRun(self._tasks[name], parents, remaining=1)
        self._live += 1
        call = self._placeholder(run)
        self.execution.skip(call, self, "Omitted", "omitted: depends condition not met")

    def _holds(self, wanted: TaskResult) -> bool:
        run = self._ended_runs[wanted.task]
        phases = [self.execution.nodes[key].phase for key in run.nodes]
        match wanted.result:
            case "AnySucceeded":
                return "Succeeded" in phases
            case "AllFailed":
                return bool(phases) and all(phase == "Failed" for phase in phases)
        end = self._end_node(run)
        if end.daemoned:
            return wanted.result in ("", "Daemoned")
        return end.phase in _RESULT_PHASES[wanted.result]

    def _close_group(self, run: StepRun, group: Node) -> None:
        nodes = [self.execution.nodes[key] for key in run.nodes]
        bad = next(filter(is_failed, nodes), None)
        if bad is not None:
            self.execution.finish(group, bad.phase, f"child '{bad.id}' failed")
        else:
            skipped = all(node.phase == "Skipped" for node in nodes)
            self.execution.finish(group, "Skipped" if skipped else "Succeeded")

    def _end_node(self, run: StepRun) -> Node:
        return run.group if run.group is not None else self.execution.nodes[run.nodes[0]]

    def _branch_phase(self, run: StepRun) -> Phase:
        phase = self._end_node(run).phase
        if phase not in ("Skipped", "Omitted"):
            return phase
        inherited = [self._branch[need] for need in self._needs[run.name]]
        return next((p for p in inherited if p in ("Failed", "Error")), phase)

    def _bad_end(self, run: StepRun) -> Node | None:
        """The node a target's branch failed at."""
        if self._branch[run.name] not in ("Failed", "Error"):
            return None
        node = self._end_node(run)
        if is_failed(node):
            return None if run.tolerates(node) else self.failed_node(run) or node
        for need in self._needs[run.name]:
            found = self._bad_end(self._ended_runs[need])
            if found is not None:
                return found
        return None

    def _check_end(self) -> None:
        if self._running:
            return
        ended = [self._ended_runs[name] for name in self._targets if name in self._ended_runs]
        outbound = [
            leaf for run in ended for leaf in self.execution.outbound(self._end_node(run).id)
        ]
        if self.node.outbound_nodes != outbound:
            self.node.outbound_nodes = outbound
            self.execution.changed.add(self.node.id)
        bad = self._doomed
        if bad is not None:
            phase: Phase = bad.phase if is_failed(bad) else "Failed"
            self.finish(phase, f"child '{bad.id}' failed")
        else:
            self.finish("Succeeded")


def _closure(targets: list[str], needs: dict[str, list[str]]) -> set[str]:
    """The targets and everything they depend on."""
    found: set[str] = set()
    todo = list(targets)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += needs.get(name, [])
    return found
