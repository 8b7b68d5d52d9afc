"""The intermediate representation that the kfp compiler writes, schema version 2.

Only what execution needs is described; unknown fields are ignored, so that pipelines of a newer
compiler run as far as they use what is known. The protobuf messages they correspond to are
``PipelineSpec`` and ``PlatformSpec``; field names are theirs in JSON.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from kubeling.pipelines.ir_executors import DeploymentSpec, Executor
from kubeling.pipelines.ir_values import ArtifactType, ValueSpec

__all__ = [
    "ArtifactInput",
    "ArtifactOutput",
    "ComponentSpec",
    "DagSpec",
    "InputParameter",
    "ParameterInput",
    "ParameterOutput",
    "ParameterType",
    "PipelineSpec",
    "RetryPolicy",
    "TaskSpec",
]

ParameterType = Literal[
    "PARAMETER_TYPE_ENUM_UNSPECIFIED",
    "NUMBER_INTEGER",
    "NUMBER_DOUBLE",
    "STRING",
    "BOOLEAN",
    "LIST",
    "STRUCT",
    "TASK_FINAL_STATUS",
    "TASK_CONFIG",
]


class _Message(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, dict=True):
    """A protobuf message in JSON."""


class TaskOutput(_Message, frozen=True):
    """An output of a task of the same DAG."""

    producer_task: str = ""
    output_parameter_key: str = ""
    output_artifact_key: str = ""


class FinalStatus(_Message, frozen=True):
    """How a task ended, for an exit handler."""

    producer_task: str = ""


class ParameterInput(_Message, frozen=True):
    """Where a task gets a parameter from."""

    component_input_parameter: str = ""
    task_output_parameter: TaskOutput | None = None
    runtime_value: ValueSpec | None = None
    task_final_status: FinalStatus | None = None
    parameter_expression_selector: str = ""


class ArtifactInput(_Message, frozen=True):
    """Where a task gets an artifact from."""

    component_input_artifact: str = ""
    task_output_artifact: TaskOutput | None = None


class TaskInputs(_Message, frozen=True):
    """All inputs of a task."""

    parameters: dict[str, ParameterInput] = {}
    artifacts: dict[str, ArtifactInput] = {}


class TriggerPolicy(_Message, frozen=True):
    """When a task runs, beyond its upstream having ended."""

    condition: str = ""
    strategy: str = ""


class IteratorItems(_Message, frozen=True):
    """The items of a loop: JSON text, or the name of an input of the task."""

    raw: str = ""
    input_parameter: str = ""


class ParameterIterator(_Message, frozen=True):
    """A loop over parameter values."""

    items: IteratorItems = IteratorItems()
    item_input: str = ""


class ArtifactItems(_Message, frozen=True):
    """The artifact list a loop goes over."""

    input_artifact: str = ""


class ArtifactIterator(_Message, frozen=True):
    """A loop over artifacts."""

    items: ArtifactItems = ArtifactItems()
    item_input: str = ""


class IteratorPolicy(_Message, frozen=True):
    """How a loop runs."""

    parallelism_limit: int = 0


class RetryPolicy(_Message, frozen=True):
    """How often, and after which pause, a failed task is tried again."""

    max_retry_count: int = 0
    backoff_duration: str = ""
    backoff_factor: float = 2.0
    backoff_max_duration: str = ""


class CachingOptions(_Message, frozen=True):
    """Whether a task may take the outputs of an earlier one.

    The compiler writes them for every task of a component, empty for no; groups that it makes
    itself, loops and branches, have none.
    """

    enable_cache: bool = False
    cache_key: str = ""


class TaskInfo(_Message, frozen=True):
    """The name to show."""

    name: str = ""


class ComponentRef(_Message, frozen=True):
    """Which component a task runs."""

    name: str = ""


class TaskSpec(_Message, frozen=True):
    """A task of a DAG."""

    component_ref: ComponentRef = ComponentRef()
    task_info: TaskInfo = TaskInfo()
    inputs: TaskInputs = TaskInputs()
    dependent_tasks: tuple[str, ...] = ()
    trigger_policy: TriggerPolicy = TriggerPolicy()
    parameter_iterator: ParameterIterator | None = None
    artifact_iterator: ArtifactIterator | None = None
    iterator_policy: IteratorPolicy = IteratorPolicy()
    retry_policy: RetryPolicy | None = None
    caching_options: CachingOptions | None = None

    @property
    def is_loop(self) -> bool:
        return self.parameter_iterator is not None or self.artifact_iterator is not None

    @property
    def runs_after_failure(self) -> bool:
        """Whether the task runs however its upstream ends, as exit handlers do."""
        return self.trigger_policy.strategy == "ALL_UPSTREAM_TASKS_COMPLETED"

    @cached_property
    def upstream(self) -> frozenset[str]:
        """The tasks that have to end first."""
        producers = [
            *(p.task_output_parameter for p in self.inputs.parameters.values()),
            *(p.task_final_status for p in self.inputs.parameters.values()),
            *(a.task_output_artifact for a in self.inputs.artifacts.values()),
        ]
        named = {p.producer_task for p in producers if p is not None and p.producer_task}
        return frozenset(named.union(self.dependent_tasks))


class Selector(_Message, frozen=True):
    """An output of a task of a DAG."""

    producer_subtask: str = ""
    output_parameter_key: str = ""
    output_artifact_key: str = ""


class OneOf(_Message, frozen=True):
    """The output of whichever branch ran."""

    parameter_selectors: tuple[Selector, ...] = ()


class ParameterOutput(_Message, frozen=True):
    """Where a DAG gets an output parameter from."""

    value_from_parameter: Selector | None = None
    value_from_oneof: OneOf | None = None

    @property
    def selectors(self) -> tuple[Selector, ...]:
        if self.value_from_parameter is not None:
            return (self.value_from_parameter,)
        return self.value_from_oneof.parameter_selectors if self.value_from_oneof else ()


class ArtifactOutput(_Message, frozen=True):
    """Where a DAG gets an output artifact from; several selectors are branches."""

    artifact_selectors: tuple[Selector, ...] = ()


class DagOutputs(_Message, frozen=True):
    """The outputs of a DAG."""

    parameters: dict[str, ParameterOutput] = {}
    artifacts: dict[str, ArtifactOutput] = {}


class DagSpec(_Message, frozen=True):
    """Tasks and how they hang together."""

    tasks: dict[str, TaskSpec] = {}
    outputs: DagOutputs = DagOutputs()

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The tasks, each after its upstream; raises :class:`ValueError` for a cycle."""
        done: dict[str, None] = {}
        for first in self.tasks:
            path: dict[str, list[str]] = {}
            self._push(first, path, done)
            while path:
                name = next(reversed(path))
                if path[name]:
                    self._push(path[name].pop(0), path, done)
                else:
                    path.pop(name)
                    done[name] = None
        return tuple(done)

    def _push(self, name: str, path: dict[str, list[str]], done: dict[str, None]) -> None:
        if name in path:
            raise ValueError("tasks wait for each other: " + " -> ".join([*path, name]))
        if name not in done and name in self.tasks:
            path[name] = sorted(self.tasks[name].upstream)

    @cached_property
    def dependents(self) -> dict[str, tuple[str, ...]]:
        """By task, the tasks that wait for it."""
        found: dict[str, list[str]] = {}
        for name in self.order:
            for before in self.tasks[name].upstream:
                found.setdefault(before, []).append(name)
        return {name: tuple(after) for name, after in found.items()}

    @cached_property
    def inputs_used(self) -> frozenset[str]:
        """The input parameters of the DAG that its tasks take."""
        return frozenset(
            source.component_input_parameter
            for task in self.tasks.values()
            for source in task.inputs.parameters.values()
        )


class InputParameter(_Message, frozen=True):
    """An input parameter of a component."""

    parameter_type: ParameterType = "PARAMETER_TYPE_ENUM_UNSPECIFIED"
    type: str = ""
    default_value: Any | UnsetType = UNSET
    is_optional: bool = False
    description: str = ""
    literals: tuple[Any, ...] = ()

    @property
    def kind(self) -> str:
        """The type, legacy spellings translated."""
        legacy = {"INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE", "STRING": "STRING"}
        return legacy.get(self.type, str(self.parameter_type))


class InputArtifact(_Message, frozen=True):
    """An input artifact of a component."""

    artifact_type: ArtifactType = ArtifactType()
    is_optional: bool = False
    is_artifact_list: bool = False


class InputDefinitions(_Message, frozen=True):
    """The inputs of a component."""

    parameters: dict[str, InputParameter] = {}
    artifacts: dict[str, InputArtifact] = {}


class OutputParameter(_Message, frozen=True):
    """An output parameter of a component."""

    parameter_type: ParameterType = "PARAMETER_TYPE_ENUM_UNSPECIFIED"
    type: str = ""

    @property
    def kind(self) -> str:
        """The type, legacy spellings translated."""
        return InputParameter(self.parameter_type, self.type).kind


class OutputArtifact(_Message, frozen=True):
    """An output artifact of a component."""

    artifact_type: ArtifactType = ArtifactType()
    is_artifact_list: bool = False
    metadata: dict[str, Any] = {}


class OutputDefinitions(_Message, frozen=True):
    """The outputs of a component."""

    parameters: dict[str, OutputParameter] = {}
    artifacts: dict[str, OutputArtifact] = {}


class TaskConfigPassthrough(_Message, frozen=True):
    """A kind of settings that a component is told instead of, or beside, having them."""

    field: str = ""
    apply_to_task: bool = False


class ComponentSpec(_Message, frozen=True):
    """A component: a DAG, or the label of an executor."""

    input_definitions: InputDefinitions = InputDefinitions()
    output_definitions: OutputDefinitions = OutputDefinitions()
    dag: DagSpec | None = None
    executor_label: str = ""
    task_config_passthroughs: tuple[TaskConfigPassthrough, ...] = ()


class PipelineInfo(_Message, frozen=True):
    """The pipeline's name."""

    name: str = ""
    display_name: str = ""
    description: str = ""


class PipelineSpec(_Message, frozen=True):
    """A compiled pipeline."""

    pipeline_info: PipelineInfo = PipelineInfo()
    deployment_spec: DeploymentSpec = DeploymentSpec()
    components: dict[str, ComponentSpec] = {}
    root: ComponentSpec = ComponentSpec()
    schema_version: str = ""
    sdk_version: str = ""
    default_pipeline_root: str = ""

    def component_of(self, task: TaskSpec) -> ComponentSpec:
        return self.components[task.component_ref.name]

    def executor_of(self, component: ComponentSpec) -> Executor:
        return self.deployment_spec.executors[component.executor_label]
