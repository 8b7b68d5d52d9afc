"""What is wrong with the steps of a steps template and the tasks of a dag template."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.dag import dependency_tree
from kubeling.workflows.expressions import ExpressionError, conditions, depends, exprlang, tags
from kubeling.workflows.loops import is_loop
from kubeling.workflows.places import KINDS
from kubeling.workflows.tag_rules import Known, tag_errors

__all__ = ["Templates", "dag_errors", "hook_expression_errors", "steps_errors", "target_errors"]

_NAME: Final = re.compile(r"^[A-Za-z0-9][-A-Za-z0-9_]*$")
_NOT_ARGUMENTS: Final = ("name", "template", "templateRef", "inline", "hooks", "onExit")


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates a call may name; ``closed`` unless a WorkflowTemplate brings more."""

    by_name: Mapping[str, Obj]
    closed: bool

    def outputs(self, call: Obj) -> Obj | None:
        """The declared outputs of what a call calls; ``None`` if it cannot be seen from here."""
        template = call.get("inline") or self.by_name.get(call.get("template") or "")
        return None if template is None else template.get("outputs") or {}


def steps_errors(template: Obj, path: str, known: Known, all_: Templates) -> Iterator[FieldError]:
    """What is wrong with ``steps``."""
    seen: set[str] = set()
    calls: dict[str, Obj | None] = {}
    for number, group in enumerate(template["steps"]):
        here = replace(known, calls=dict(calls), prefix="steps")
        for place, step in enumerate(group):
            at = f"{path}.steps[{number}][{place}]"
            yield from _name_errors(step, at, seen)
            yield from _call_errors(step, at, here, all_)
        calls.update({str(step.get("name")): all_.outputs(step) for step in group})
    yield from _output_errors(template, path, replace(known, calls=calls, prefix="steps"))


def dag_errors(template: Obj, path: str, known: Known, all_: Templates) -> Iterator[FieldError]:
    """What is wrong with ``dag``."""
    listed: list[Obj] = template["dag"].get("tasks") or []
    if not listed:
        yield FieldError(f"{path}.dag.tasks", "Required value", "give at least one task")
    tasks: dict[str, Obj] = {str(task.get("name")): task for task in listed}
    needs: dict[str, set[str]] = {}
    seen: set[str] = set()
    for number, task in enumerate(listed):
        at = f"{path}.dag.tasks[{number}]"
        yield from _name_errors(task, at, seen)
        yield from _dependency_errors(task, at, tasks, needs)
    yield from _cycle_errors(path, needs)
    for number, task in enumerate(listed):
        calls = _Before(str(task.get("name")), needs, tasks, all_)
        here = replace(known, calls=calls, prefix="tasks")
        yield from _call_errors(task, f"{path}.dag.tasks[{number}]", here, all_)
    target = template["dag"].get("target") or ""
    for name in [] if tags.has_tags(target) else target.split():
        if name not in tasks:
            yield FieldError(f"{path}.dag.target", "Not found", "is not a task", name)
    outputs = {name: all_.outputs(task) for name, task in tasks.items()}
    yield from _output_errors(template, path, replace(known, calls=outputs, prefix="tasks"))


def target_errors(call: Obj, path: str, all_: Templates) -> Iterator[FieldError]:
    """What is wrong with the template a call (or a hook) names."""
    given = [key for key in ("template", "templateRef", "inline") if call.get(key)]
    if not given:
        yield FieldError(f"{path}.template", "Required value", "name the template to run")
    elif len(given) > 1:
        yield FieldError(f"{path}.{given[1]}", "Forbidden", f"{given[0]} is given already")
    elif "templateRef" in given:
        for key in ("name", "template"):
            if not call["templateRef"].get(key):
                where = f"{path}.templateRef.{key}"
                yield FieldError(where, "Required value", "name the WorkflowTemplate's template")
    elif "template" in given:
        name = call["template"]
        if all_.closed and not tags.has_tags(name) and name not in all_.by_name:
            listed = ", ".join(all_.by_name) or "none"
            message = f"no template of this name in spec.templates (there are: {listed})"
            yield FieldError(f"{path}.template", "Not found", message, name)


def _name_errors(call: Obj, path: str, seen: set[str]) -> Iterator[FieldError]:
    name = call.get("name") or ""
    if not name:
        yield FieldError(f"{path}.name", "Required value", "give it a name")
    elif not _NAME.match(name):
        message = "use letters, digits, hyphens and underscores"
        yield FieldError(f"{path}.name", "Invalid value", message, name)
    elif name in seen:
        yield FieldError(f"{path}.name", "Duplicate value", "", name)
    seen.add(name)


def _call_errors(call: Obj, path: str, known: Known, all_: Templates) -> Iterator[FieldError]:
    yield from target_errors(call, path, all_)
    yield from _condition_errors(call, path)
    yield from _loop_errors(call, path)
    yield from _argument_errors(call, path, all_)
    inside = replace(known, item=is_loop(call))
    shown = {key: value for key, value in call.items() if key not in _NOT_ARGUMENTS}
    yield from tag_errors(shown, path, inside)
    yield from _hook_errors(call, path, inside, all_)


def _hook_errors(call: Obj, path: str, known: Known, all_: Templates) -> Iterator[FieldError]:
    hooks: Obj = call.get("hooks") or {}
    own = {**known.calls, str(call.get("name")): all_.outputs(call)} if hooks else {}
    for name, hook in hooks.items():
        at = f"{path}.hooks.{name}"
        yield from target_errors(hook, at, all_)
        yield from hook_expression_errors(name, hook, at)
        yield from tag_errors(hook.get("arguments"), f"{at}.arguments", replace(known, calls=own))
    if call.get("onExit"):
        hook = {"template": call["onExit"]}
        yield from (
            replace(error, path=f"{path}.onExit") for error in target_errors(hook, path, all_)
        )


def hook_expression_errors(name: str, hook: Obj, path: str) -> Iterator[FieldError]:
    """A hook says when to run; an exit handler may."""
    expression = hook.get("expression") or ""
    if name != "exit" and not expression:
        yield FieldError(f"{path}.expression", "Required value", "say when the hook is to run")
    if expression:
        try:
            exprlang.compile_expression(expression)
        except ExpressionError as error:
            yield FieldError(f"{path}.expression", "Invalid value", str(error), expression)


def _condition_errors(call: Obj, path: str) -> Iterator[FieldError]:
    when = call.get("when")
    if not when:
        return
    try:
        conditions.check(tags.render(when, lambda _: "x"))
    except ExpressionError as error:
        yield FieldError(f"{path}.when", "Invalid value", str(error), when)


def _loop_errors(call: Obj, path: str) -> Iterator[FieldError]:
    loops = [key for key in ("withItems", "withParam", "withSequence") if call.get(key)]
    if len(loops) > 1:
        yield FieldError(f"{path}.{loops[1]}", "Forbidden", f"{loops[0]} is given already")
    sequence = call.get("withSequence")
    if sequence and (sequence.get("count") is None) == (sequence.get("end") is None):
        yield FieldError(f"{path}.withSequence", "Invalid value", "give either count or end")


def _argument_errors(call: Obj, path: str, all_: Templates) -> Iterator[FieldError]:
    template = call.get("inline") or all_.by_name.get(call.get("template") or "")
    for kind in ("parameters", "artifacts"):
        given = [str(entry.get("name")) for entry in (call.get("arguments") or {}).get(kind) or ()]
        for number, name in enumerate(given):
            if name in given[:number]:
                where = f"{path}.arguments.{kind}[{number}].name"
                yield FieldError(where, "Duplicate value", "", name)
        for wanted in ((template or {}).get("inputs") or {}).get(kind) or ():
            if wanted.get("name") not in given and _is_needed(wanted, kind):
                noun = kind.removesuffix("s")
                message = f'the template needs the input {noun} "{wanted.get("name")}"'
                yield FieldError(f"{path}.arguments.{kind}", "Required value", message)


def _is_needed(wanted: Obj, kind: str) -> bool:
    sources: tuple[str, ...] = ("value", "default", "valueFrom")
    if kind == "artifacts":
        sources = ("optional", *KINDS)
    return all(wanted.get(source) is None for source in sources)


def _output_errors(template: Obj, path: str, known: Known) -> Iterator[FieldError]:
    yield from tag_errors(template.get("outputs"), f"{path}.outputs", known)


def _dependency_errors(
    task: Obj, path: str, tasks: dict[str, Obj], needs: dict[str, set[str]]
) -> Iterator[FieldError]:
    name = str(task.get("name"))
    needs[name] = set()
    if task.get("depends") and task.get("dependencies"):
        yield FieldError(f"{path}.depends", "Forbidden", "dependencies are given already")
        return
    field = "depends" if task.get("depends") else "dependencies"
    if field == "depends" and task.get("continueOn"):
        message = "has no effect beside depends; write for example A.Succeeded || A.Failed"
        yield FieldError(f"{path}.continueOn", "Forbidden", message)
    try:
        tree = dependency_tree(task, tasks)
    except ExpressionError as error:
        yield FieldError(f"{path}.depends", "Invalid value", str(error), task["depends"])
        return
    for wanted in dict.fromkeys(r.task for r in depends.tasks_of(tree)) if tree else ():
        if wanted in tasks:
            needs[name].add(wanted)
        else:
            yield FieldError(f"{path}.{field}", "Not found", "is not a task of this dag", wanted)


def _cycle_errors(path: str, needs: Mapping[str, set[str]]) -> Iterator[FieldError]:
    """Removes tasks that wait for nothing until none is left, or only circles are."""
    waiting = {name: set(names) for name, names in needs.items()}
    dependents: dict[str, list[str]] = {}
    for name, names in needs.items():
        for need in names:
            dependents.setdefault(need, []).append(name)
    free = [name for name, names in waiting.items() if not names]
    while free:
        name = free.pop()
        del waiting[name]
        for dependent in dependents.get(name, ()):
            waiting[dependent].discard(name)
            if not waiting[dependent]:
                free.append(dependent)
    if waiting:
        circle = _circle(waiting)
        message = f"tasks wait for each other: {' -> '.join(circle)}"
        yield FieldError(f"{path}.dag.tasks", "Invalid value", message)


def _circle(waiting: Mapping[str, set[str]]) -> list[str]:
    walk = [min(waiting)]
    while True:
        following = min(waiting[walk[-1]])
        if following in walk:
            return [*walk[walk.index(following) :], following]
        walk.append(following)


class _Before(Mapping[str, Obj | None]):
    """The outputs of the tasks that a task waits for, directly or not.

    Looked for when a tag names one, from the nearest on: most tags name a direct dependency, and
    collecting all of them for every task would take quadratic time.
    """

    def __init__(
        self, task: str, needs: Mapping[str, set[str]], tasks: Mapping[str, Obj], all_: Templates
    ) -> None:
        self._task = task
        self._needs = needs
        self._tasks = tasks
        self._all = all_

    def __getitem__(self, name: str) -> Obj | None:
        if name not in self:
            raise KeyError(name)
        return self._all.outputs(self._tasks[name])

    def __contains__(self, name: object) -> bool:
        return any(found == name for found in self)

    def __iter__(self) -> Iterator[str]:
        found: set[str] = set()
        todo = deque(self._needs.get(self._task) or ())
        while todo:
            name = todo.popleft()
            if name not in found:
                found.add(name)
                yield name
                todo += self._needs.get(name) or ()

    def __len__(self) -> int:
        return sum(1 for _ in self)
