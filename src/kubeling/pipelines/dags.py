"""DAGs: tasks begin when those before them have ended, and the DAG ends with the last of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from kubeling.pipelines.bindings import BindingError, bind_inputs
from kubeling.pipelines.expressions import ExpressionError, evaluate_condition
from kubeling.pipelines.ir import DagSpec, TaskSpec
from kubeling.pipelines.nodes import Inputs, TaskError, TaskNode, child_path
from kubeling.pipelines.outputs import OutputError, dag_outputs
from kubeling.pipelines.placeholders import PlaceholderError
from kubeling.pipelines.restarting import anew, fresh
from kubeling.pipelines.values import normalize

if TYPE_CHECKING:
    from kubeling.pipelines.execution import Execution

__all__ = ["Dags"]


class Dags:
    """The DAGs of an execution, the run itself among them."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution

    def open(self, node: TaskNode) -> None:
        """Begins the tasks of a DAG, or takes them up where they are."""
        dag = self._run.dag_of(node)
        if node.stage != "open" or node.state != "RUNNING":
            node.stage, node.state = "open", "RUNNING"
            node.started_at = node.started_at or self._run.now
            self._run.touch(node)
        children = [self._child(node, name, dag) for name in dag.order]
        self._redo_dependents(children, dag)
        self._run.frontier.unfinished[node.path] = sum(not child.final for child in children)
        for child in children:
            if child.final:
                continue
            if child.stage == "wait":
                self._consider(node, child, dag)
            else:
                self._run.enter(child)
        self._end_dag_if_done(node)

    def _child(self, parent: TaskNode, name: str, dag: DagSpec) -> TaskNode:
        path = child_path(parent.path, name)
        return self._run.nodes.get(path) or self._run.add(path, name, dag.tasks[name], parent)

    def _redo_dependents(self, children: list[TaskNode], dag: DagSpec) -> None:
        """After a retry: what ended once has to end again, if what it followed is done again."""
        again = {child.name for child in children if not child.final}
        for number, child in enumerate(children):
            if child.final and not again.isdisjoint(dag.tasks[child.name].upstream):
                self._replace([child, *self._below(child)], anew)
                children[number] = self._run.nodes[child.path]
                again.add(child.name)

    def _below(self, node: TaskNode) -> list[TaskNode]:
        return [n for path, n in self._run.nodes.items() if path.startswith(node.path + "/")]

    def _replace(self, nodes: Iterable[TaskNode], by: Callable[[TaskNode, int], TaskNode]) -> None:
        for old in nodes:
            new = by(old, self._run.epoch)
            if old.epoch == self._run.epoch:  # names of pods must not come twice
                new.attempt = new.first_attempt = old.attempt + 1
            self._run.nodes[old.path] = new
            self._run.touch(new)
        self._run.frontier.count(self._run.nodes.values())

    def _consider(self, parent: TaskNode, child: TaskNode, dag: DagSpec) -> None:
        """Starts a waiting task if its upstream has ended, or settles that it never will."""
        task = dag.tasks[child.name]
        upstream = [
            self._run.nodes[child_path(parent.path, name)] for name in sorted(task.upstream)
        ]
        if self._run.stopping and not self._run.may_yet_begin(child, task, upstream):
            self._run.end(child, "CANCELED")
            return
        if not all(before.final for before in upstream):
            return
        if not task.runs_after_failure:
            missing = next((b for b in upstream if b.state != "SUCCEEDED"), None)
            if missing is not None:
                self._run.skip(child, f"upstream task {missing.display_name} {_fate(missing)}")
                return
        component = self._run.spec.components[child.component]
        try:
            child.inputs = bind_inputs(task, component, self._run.around(child))
            if not _is_triggered(task, child.inputs):
                self._run.skip(child, f"condition is false: {task.trigger_policy.condition}")
                return
            self._run.start(child, task, component)
        except (BindingError, ExpressionError, PlaceholderError) as error:
            self._run.fail(child, str(error))

    def task_ended(self, parent: TaskNode, node: TaskNode) -> None:
        """Looks at what waited for a task, and whether it was the last."""
        self._run.frontier.unfinished[parent.path] -= 1
        dag = self._run.dag_of(parent)
        for name in dag.dependents.get(node.name, ()):
            waiting = self._run.nodes[child_path(parent.path, name)]
            if waiting.stage == "wait" and not waiting.final:
                self._consider(parent, waiting, dag)
        self._end_dag_if_done(parent)

    def _end_dag_if_done(self, node: TaskNode) -> None:
        if self._run.frontier.unfinished.get(node.path) != 0 or node.final:
            return
        del self._run.frontier.unfinished[node.path]
        dag = self._run.dag_of(node)
        children = [self._run.nodes[child_path(node.path, name)] for name in dag.order]
        failed = next((c for c in children if c.state == "FAILED"), None)
        if failed is not None:
            why = failed.error.summary if failed.error else ""
            self._fail_group(node, f"task {failed.display_name} failed: {why}".rstrip(": "))
        elif any(child.state == "CANCELED" for child in children):
            self._run.end(node, "CANCELED")
        else:
            self._succeed_dag(node, dag)

    def _succeed_dag(self, node: TaskNode, dag: DagSpec) -> None:
        try:
            node.outputs = dag_outputs(
                dag, lambda name: self._run.nodes[child_path(node.path, name)]
            )
        except OutputError as error:
            self._run.fail(node, str(error))
        else:
            self._run.end(node, "SUCCEEDED")

    def _fail_group(self, node: TaskNode, message: str) -> None:
        """A nested pipeline may be tried again, from what failed in it."""
        node.error = TaskError(message)
        if not node.is_root and not self._run.halted(node) and self._run.try_again(node):
            self._run.frontier.place(node)
        else:
            self._run.end(node, "FAILED")

    def reopen(self, node: TaskNode) -> None:
        """Tries a nested pipeline again; what succeeded in it stays."""
        self._run.frontier.due.pop(node.path, None)
        self._replace([n for n in self._below(node) if n.state != "SUCCEEDED"], fresh)
        node.error = None
        self.open(node)

    def cancel_waiting(self, node: TaskNode) -> None:
        """What waits and is not to begin any more is canceled."""
        dag = self._run.dag_of(node)
        for name in dag.order:
            child = self._run.nodes[child_path(node.path, name)]
            if child.stage == "wait" and not child.final:
                self._consider(node, child, dag)


def _is_triggered(task: TaskSpec, inputs: Inputs) -> bool:
    if not task.trigger_policy.condition:
        return True
    values = {"parameter_values": normalize(inputs.parameters)}
    return evaluate_condition(task.trigger_policy.condition, {"inputs": values})


def _fate(node: TaskNode) -> str:
    return {"FAILED": "failed", "CANCELED": "was canceled"}.get(node.state, "was skipped")
