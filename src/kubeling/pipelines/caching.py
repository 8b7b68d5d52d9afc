"""When a task may take the outputs of an earlier one instead of running.

The key is the content that decides a task's outputs: image, command, environment, parameter values,
what the input artifacts hold, and the declared outputs. Upstream's key leaves out the environment
and the artifacts' content, which surprises its users. Settings that cannot change a result, such as
resource limits, are not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from kubeling.pipelines.ir import ComponentSpec, ContainerSpec, TaskSpec
from kubeling.pipelines.nodes import Inputs
from kubeling.pipelines.values import normalize

__all__ = ["fingerprint", "may_cache"]


def may_cache(task: TaskSpec, component: ComponentSpec) -> bool:
    """Whether the author allows it; what is told how other tasks ended depends on more."""
    kinds = {p.kind for p in component.input_definitions.parameters.values()}
    return task.caching_options.enable_cache and "TASK_FINAL_STATUS" not in kinds


def fingerprint(
    pipeline: str,
    task: TaskSpec,
    component: ComponentSpec,
    container: ContainerSpec,
    inputs: Inputs,
    claims: Sequence[str] = (),
) -> str:
    """The key under which a task's outputs are found again."""
    if own := task.caching_options.cache_key:
        return _digest(["key", task.component_ref.name, own])
    artifacts = {
        name: [[a.type, a.digest or a.uri, a.metadata] for a in found]
        for name, found in inputs.artifacts.items()
    }
    outputs = component.output_definitions
    return _digest(
        [
            pipeline,
            container.image,
            container.command,
            container.args,
            [[variable.name, variable.value] for variable in container.env],
            normalize(inputs.parameters),
            artifacts,
            {name: parameter.kind for name, parameter in outputs.parameters.items()},
            {name: a.artifact_type.schema_title for name, a in outputs.artifacts.items()},
            sorted(claims),
        ]
    )


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
