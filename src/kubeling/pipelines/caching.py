"""When a task may take the outputs of an earlier one instead of running.

The key is the content that decides a task's outputs: image, command, environment, parameter values,
what the input artifacts hold, and the declared outputs. Upstream's key leaves out the environment
and the artifacts' content, which surprises its users. Settings that cannot change a result, such as
resource limits, are not in it.

Caching is switched off where the task, a group around it, the run, its namespace or the platform
says so. All but the first two say it as an age: outputs older than it are not taken, and none are
younger than zero. The name and form are those of the annotation that upstream's first version read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from kubeling.pipelines.ir import ComponentSpec, TaskSpec
from kubeling.pipelines.ir_executors import ContainerSpec
from kubeling.pipelines.nodes import Inputs
from kubeling.pipelines.values import normalize

__all__ = ["MAX_AGE", "AgeLimit", "CacheRules", "fingerprint", "parse_age", "why_not_cached"]

MAX_AGE: Final = "pipelines.kubeflow.org/max_cache_staleness"
"""An annotation on tasks' pods, Runs and namespaces: a duration of ISO 8601, ``P0D`` for never."""

_DURATION: Final = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)


@dataclass(frozen=True, slots=True)
class AgeLimit:
    """How old outputs may be that are taken again, and who says so."""

    age: dt.timedelta
    says: str

    @property
    def never(self) -> bool:
        return not self.age


@dataclass(frozen=True, slots=True)
class CacheRules:
    """What a run's surroundings say about the cache; ``by_executor`` is what its tasks say."""

    limits: tuple[AgeLimit, ...] = ()
    by_executor: Mapping[str, AgeLimit] = field(default_factory=dict)

    def limit(self, executor_label: str) -> AgeLimit | None:
        """The strictest limit on a task's outputs."""
        own = self.by_executor.get(executor_label)
        limits = [*self.limits, own] if own is not None else self.limits
        return min(limits, key=lambda limit: limit.age, default=None)


def parse_age(text: str) -> dt.timedelta:
    """A duration such as ``P30D`` or ``PT12H``; raises :class:`ValueError`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(
            f'{MAX_AGE}: "{text}" is no duration such as P30D, PT12H, or P0D for never'
        )
    return dt.timedelta(**{unit: int(number) for unit, number in match.groupdict("0").items()})


def why_not_cached(
    task: TaskSpec,
    component: ComponentSpec,
    rules: CacheRules,
    groups: Iterable[tuple[str, TaskSpec]],
) -> str:
    """Why the cache is not to be asked, in words; empty if it may be."""
    if task.caching_options is None or not task.caching_options.enable_cache:
        return "caching is off for this task"
    kinds = {p.kind for p in component.input_definitions.parameters.values()}
    if "TASK_FINAL_STATUS" in kinds:
        return "the task is told how others ended"
    for name, group in groups:
        if group.caching_options is not None and not group.caching_options.enable_cache:
            return f"caching is off for {name}"
    limit = rules.limit(component.executor_label)
    return f"caching is off: {limit.says}" if limit is not None and limit.never else ""


def fingerprint(
    pipeline: str,
    task: TaskSpec,
    component: ComponentSpec,
    container: ContainerSpec,
    inputs: Inputs,
    claims: Sequence[str] = (),
) -> str:
    """The key under which a task's outputs are found again."""
    if task.caching_options is not None and (own := task.caching_options.cache_key):
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
