"""The steps of a compiled pipeline before it runs: what may happen, once for each loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.gateway.steps.model import Kind, Step
from kubeling.kube.objects import Obj

__all__ = ["steps_of_pipeline"]

_DEPTH: Final = 12


def steps_of_pipeline(package: Obj) -> list[Step]:
    """The steps of a package as the API shows it; groups come before what is in them."""
    spec = package.get("pipeline_spec", package)
    return list(_steps(spec, spec.get("root") or {}, ""))


def _steps(spec: Obj, component: Obj, group: str) -> Iterator[Step]:
    if group.count("/") > _DEPTH:
        return
    tasks: Obj = (component.get("dag") or {}).get("tasks") or {}
    components: Obj = spec.get("components") or {}
    for name, task in tasks.items():
        key = f"{group}/{name}" if group else name
        inner = components.get((task.get("componentRef") or {}).get("name", "")) or {}
        label = (task.get("taskInfo") or {}).get("name") or name
        after = tuple(f"{group}/{b}" if group else b for b in sorted(_before(task)))
        yield Step(key, str(label), "waiting", _kind(task, inner), group, after)
        yield from _steps(spec, inner, key)


def _kind(task: Obj, component: Obj) -> Kind:
    if "parameterIterator" in task or "artifactIterator" in task:
        return "loop"
    return "dag" if "dag" in component else "step"


def _before(task: Obj) -> set[str]:
    """The tasks of the same group that a task waits for."""
    found = set(task.get("dependentTasks") or ())
    inputs: Obj = task.get("inputs") or {}
    for source in (
        *(inputs.get("parameters") or {}).values(),
        *(inputs.get("artifacts") or {}).values(),
    ):
        for kind in ("taskOutputParameter", "taskOutputArtifact", "taskFinalStatus"):
            if producer := (source.get(kind) or {}).get("producerTask"):
                found.add(producer)
    return found
