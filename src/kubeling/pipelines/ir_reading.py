"""Reading a compiled pipeline, with everything that is wrong with it named at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from kubeling.pipelines.ir import ComponentSpec, DagSpec, PipelineSpec

__all__ = ["parse_spec"]


def parse_spec(document: Any) -> PipelineSpec:
    """Reads a pipeline spec; raises :class:`ValueError` naming everything that is wrong."""
    try:
        spec = msgspec.convert(document, PipelineSpec, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if problems := list(_problems(spec)):
        raise ValueError("; ".join(problems))
    return spec


def _problems(spec: PipelineSpec) -> Iterator[str]:
    if not spec.pipeline_info.name:
        yield "pipelineInfo.name: Required value: the pipeline's name"
    if not spec.schema_version.startswith("2."):
        yield (
            f'schemaVersion: Unsupported value: "{spec.schema_version}": compile the pipeline with '
            "kfp 2.0 or later"
        )
    if spec.root.dag is None:
        yield "root.dag: Required value: the tasks of the pipeline"
        return
    yield from _dag_problems(spec, "root", spec.root.dag)
    for name, component in spec.components.items():
        if component.dag is not None:
            yield from _dag_problems(spec, f"components.{name}", component.dag)
        else:
            yield from _executor_problems(spec, name, component)


def _executor_problems(spec: PipelineSpec, name: str, component: ComponentSpec) -> Iterator[str]:
    path = f"components.{name}.executorLabel"
    executor = spec.deployment_spec.executors.get(component.executor_label)
    if executor is None:
        yield f'{path}: Not found: "{component.executor_label}" is not in deploymentSpec.executors'
    elif executor.container is None and executor.importer is None:
        yield (
            f"deploymentSpec.executors.{component.executor_label}: Unsupported value: only "
            "container and importer executors can be run"
        )


def _dag_problems(spec: PipelineSpec, path: str, dag: DagSpec) -> Iterator[str]:
    for name, task in dag.tasks.items():
        own = f"{path}.dag.tasks.{name}"
        if task.component_ref.name not in spec.components:
            yield f'{own}.componentRef.name: Not found: no component "{task.component_ref.name}"'
        for before in sorted(task.upstream - dag.tasks.keys()):
            yield f'{own}: Not found: it depends on "{before}", which is no task here'
    try:
        _ = dag.order
    except ValueError as error:
        yield f"{path}.dag.tasks: Invalid value: {error}"
