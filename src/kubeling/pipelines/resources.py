"""The kinds of this room: Run and RecurringRun.

A run of a pipeline is a resource like any other: the REST API creates it, a controller in whatever
process carries it out, kubectl shows it. Its uid is the run's id everywhere. What has no bound, the
state of each task, is in the metadata database.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from kubeling.kube.crd import AnyObject, Column, Condition, Time, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "RECURRING_RUNS",
    "RUNS",
    "RecurringRunSpec",
    "RunSpec",
    "crds",
    "decode_recurring_run",
    "decode_run",
]

GROUP: Final = "pipelines.kubeflow.org"
RUNS: Final = Resource(GROUP, "v2beta1", "Run", "runs", categories=("kubeflow",))
RECURRING_RUNS: Final = Resource(
    GROUP, "v2beta1", "RecurringRun", "recurringruns", categories=("kubeflow",)
)


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True):
    """camelCase in JSON."""


class VersionReference(_Struct):
    """A pipeline that was uploaded; without a version, the latest one."""

    pipeline_id: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="pipelineID")
    pipeline_version_id: str = msgspec.field(default="", name="pipelineVersionID")


class RuntimeConfig(_Struct):
    """What a run is given."""

    parameters: dict[str, Any] = {}
    pipeline_root: str = ""


class RunSpec(_Struct):
    """What to run. Either ``pipelineSpec`` or ``pipelineVersionReference`` is required."""

    display_name: str = ""
    description: str = ""
    pipeline_spec: AnyObject | None = None
    platform_spec: AnyObject | None = None
    pipeline_version_reference: VersionReference | None = None
    runtime_config: RuntimeConfig | None = None
    experiment_id: str = msgspec.field(default="", name="experimentID")
    recurring_run_id: str = msgspec.field(default="", name="recurringRunID")
    service_account: str = ""
    plugins_input: dict[str, AnyObject] = {}
    scheduled_at: Time | None = None
    terminate: bool = False
    retries: Annotated[int, msgspec.Meta(ge=0)] = 0

    @property
    def parameters(self) -> dict[str, Any]:
        return self.runtime_config.parameters if self.runtime_config else {}

    @property
    def pipeline_root(self) -> str:
        return self.runtime_config.pipeline_root if self.runtime_config else ""


class StateChange(_Struct):
    """When a run came into a state."""

    state: str
    update_time: Time


class RunStatus(_Struct):
    """How a run is doing."""

    state: str = ""
    run_id: str = msgspec.field(default="", name="runID")
    message: str = ""
    tasks: str = ""
    started_at: Time | None = None
    finished_at: Time | None = None
    expires_at: Time | None = None
    retries: int = 0
    state_history: list[StateChange] = []
    conditions: list[Condition] = []


class CronSchedule(_Struct):
    """A cron expression, seconds first; the sixth field, days of the week, may be left out."""

    cron: str
    start_time: Time | None = None
    end_time: Time | None = None


class PeriodicSchedule(_Struct):
    """A fixed interval."""

    interval_second: Annotated[int, msgspec.Meta(ge=1)]
    start_time: Time | None = None
    end_time: Time | None = None


class Trigger(_Struct):
    """When runs are created; one of the two."""

    cron_schedule: CronSchedule | None = None
    periodic_schedule: PeriodicSchedule | None = None


class RecurringRunSpec(_Struct):
    """What to run again and again."""

    run: RunSpec
    trigger: Trigger
    enabled: bool = True
    max_concurrency: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    no_catchup: bool = False


class RecurringRunStatus(_Struct):
    """What was run."""

    last_scheduled_at: Time | None = None
    next_scheduled_at: Time | None = None
    index: int = 0
    active: list[str] = []
    conditions: list[Condition] = []


def decode_run(run: Obj) -> RunSpec:
    """The spec of a Run."""
    return msgspec.convert(run.get("spec") or {}, RunSpec)


def decode_recurring_run(recurring_run: Obj) -> RecurringRunSpec:
    """The spec of a RecurringRun."""
    return msgspec.convert(recurring_run.get("spec") or {}, RecurringRunSpec)


def crds() -> list[Obj]:
    """The definitions of both kinds."""
    return [
        crd(
            RUNS,
            RunSpec,
            RunStatus,
            columns=[
                Column("State", ".status.state"),
                Column("Tasks", ".status.tasks"),
                Column("Name", ".spec.displayName", priority=1),
                Column("Message", ".status.message", priority=1),
            ],
        ),
        crd(
            RECURRING_RUNS,
            RecurringRunSpec,
            RecurringRunStatus,
            columns=[
                Column("Enabled", ".spec.enabled", "boolean"),
                Column("Last", ".status.lastScheduledAt", "date"),
                Column("Cron", ".spec.trigger.cronSchedule.cron"),
                Column("Seconds", ".spec.trigger.periodicSchedule.intervalSecond", "integer"),
            ],
        ),
    ]
