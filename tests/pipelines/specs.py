"""Compiled pipelines in a few lines, for tests."""

from __future__ import annotations

from typing import Any

from kubeling.kube.objects import Obj, deep_copy
from kubeling.pipelines.ir import PipelineSpec
from kubeling.pipelines.ir_reading import parse_spec


def document(tasks: Obj, components: Obj | None = None, **root: Any) -> Obj:
    """A pipeline whose root has the given tasks."""
    known = deep_copy(components or {})
    executors = {
        component["executorLabel"]: component.pop("executor")
        for component in known.values()
        if "executor" in component
    }
    return {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "p"},
        "root": {"dag": {"tasks": tasks, "outputs": root.pop("outputs", {})}, **root},
        "components": known,
        "deploymentSpec": {"executors": executors},
    }


def spec(tasks: Obj, components: Obj | None = None, **root: Any) -> PipelineSpec:
    return parse_spec(document(tasks, components, **root))


def step(label: str = "step", *, outputs: Obj | None = None, **inputs: Any) -> Obj:
    """A component of one container; ``inputs`` are parameter types or definitions."""
    return {
        "executorLabel": label,
        "executor": {"container": {"image": "busybox", "command": ["true"]}},
        "inputDefinitions": {"parameters": parameters(**inputs)},
        "outputDefinitions": {"parameters": parameters(**(outputs or {}))},
    }


def dag(
    tasks: Obj, *, outputs: Obj | None = None, declared: Obj | None = None, **inputs: Any
) -> Obj:
    """A component of tasks."""
    return {
        "dag": {"tasks": tasks, "outputs": {"parameters": outputs or {}}},
        "inputDefinitions": {"parameters": parameters(**inputs)},
        "outputDefinitions": {"parameters": parameters(**(declared or {}))},
    }


def parameters(**types: Any) -> Obj:
    return {
        name: {"parameterType": given} if isinstance(given, str) else given
        for name, given in types.items()
    }


def task(component: str = "step", *after: str, inputs: Obj | None = None, **fields: Any) -> Obj:
    """A task; ``inputs`` are sources, or constants for short."""
    given = {
        name: source if isinstance(source, dict) else {"runtimeValue": {"constant": source}}
        for name, source in (inputs or {}).items()
    }
    return {
        "componentRef": {"name": component},
        "dependentTasks": list(after),
        "inputs": {"parameters": given},
        **fields,
    }


def output_of(producer: str, key: str = "out") -> Obj:
    return {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": key}}


def selected(producer: str, key: str = "out") -> Obj:
    return {"valueFromParameter": {"producerSubtask": producer, "outputParameterKey": key}}
