"""The messages that clients send: their fields, and what each may hold.

Upstream reads proto-JSON: fields in the proto's spelling or in camelCase, 64-bit numbers also as
text, unknown fields refused. A shape says the same of one message: ``str``, ``bool``, ``int``,
``dict`` (a map), ``object`` (any JSON) or the shape of a message within.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import InvalidArgumentError

__all__ = [
    "ARTIFACT_REQUEST",
    "ARTIFACT_TASK_REQUEST",
    "EXPERIMENT",
    "NEW_PIPELINE",
    "PIPELINE",
    "RECURRING_RUN",
    "RUN",
    "TASK",
    "VERSION",
    "Shape",
    "read_message",
]

Shape = Mapping[str, Any]

EXPERIMENT: Final[Shape] = {
    "experiment_id": str, "display_name": str, "description": str, "created_at": str,
    "namespace": str, "storage_state": str, "last_run_created_at": str,
}  # fmt: skip
PIPELINE: Final[Shape] = {
    "pipeline_id": str, "name": str, "display_name": str, "description": str, "created_at": str,
    "namespace": str, "error": object, "tags": dict,
}  # fmt: skip
VERSION: Final[Shape] = {
    "pipeline_id": str, "pipeline_version_id": str, "name": str, "display_name": str,
    "description": str, "created_at": str, "package_url": {"pipeline_url": str},
    "code_source_url": str, "pipeline_spec": dict, "error": object, "tags": dict,
}  # fmt: skip
NEW_PIPELINE: Final[Shape] = {"pipeline": PIPELINE, "pipeline_version": VERSION}
_SOURCE: Final[Shape] = {
    "display_name": str, "description": str, "experiment_id": str, "pipeline_version_id": str,
    "pipeline_spec": dict,
    "pipeline_version_reference": {"pipeline_id": str, "pipeline_version_id": str},
    "runtime_config": {"parameters": dict, "pipeline_root": str},
    "service_account": str, "created_at": str, "error": object,
}  # fmt: skip
RUN: Final[Shape] = {
    **_SOURCE, "run_id": str, "storage_state": str, "scheduled_at": str, "finished_at": str,
    "state": str, "run_details": object, "recurring_run_id": str, "state_history": object,
    "plugins_input": dict, "plugins_output": object,
}  # fmt: skip
_PERIOD: Final[Shape] = {"start_time": str, "end_time": str}
RECURRING_RUN: Final[Shape] = {
    **_SOURCE, "recurring_run_id": str, "max_concurrency": int, "mode": str, "updated_at": str,
    "status": str, "no_catchup": bool, "namespace": str,
    "trigger": {
        "cron_schedule": {**_PERIOD, "cron": str},
        "periodic_schedule": {**_PERIOD, "interval_second": int},
    },
    "plugins_input": dict,
}  # fmt: skip
_ARTIFACT: Final[Shape] = {
    "artifact_id": str, "name": str, "description": str, "type": str, "uri": str, "metadata": dict,
    "number_value": float, "created_at": str, "namespace": str,
}  # fmt: skip
ARTIFACT_REQUEST: Final[Shape] = {
    "artifact": _ARTIFACT, "run_id": str, "task_id": str, "type": str, "producer_task_name": str,
    "producer_key": str,
}  # fmt: skip
ARTIFACT_TASK_REQUEST: Final[Shape] = {
    "artifact_task": {
        "id": str, "artifact_id": str, "run_id": str, "task_id": str, "type": str,
        "producer_task_name": str, "producer_key": str, "artifact_key": str,
    },
}  # fmt: skip
TASK: Final[Shape] = {
    "name": str, "display_name": str, "task_id": str, "run_id": str, "pods": object,
    "cache_fingerprint": str, "create_time": str, "start_time": str, "end_time": str,
    "status": str, "status_metadata": dict, "state_history": object, "type": str,
    "type_attributes": {"iteration_index": int, "iteration_count": int},
    "error": object, "parent_task_id": str, "child_tasks": object, "inputs": dict,
    "outputs": dict,
}  # fmt: skip

_EXPECTED: Final[Mapping[Any, str]] = {
    str: "a string", bool: "true or false", int: "a whole number", float: "a number",
    dict: "an object",
}  # fmt: skip


def read_message(value: Any, shape: Shape, path: str = "") -> Obj:
    """The message with its fields in the proto's spelling; unset fields are left out."""
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{path or 'the body'}: an object is expected")
    found: Obj = {}
    for given, item in value.items():
        name = _snake(given)
        where = f"{path}.{name}" if path else name
        if name not in shape:
            known = ", ".join(sorted(shape))
            shown = f"{path}.{given}" if path else given
            raise InvalidArgumentError(f'unknown field "{shown}" (known: {known})')
        if item is not None:
            found[name] = _read(item, shape[name], where)
    return found


def _read(value: Any, kind: Any, path: str) -> Any:
    if isinstance(kind, Mapping):
        return read_message(value, kind, path)
    if kind is object:
        return value
    if kind in (int, float) and not isinstance(value, bool):
        try:
            return kind(value)
        except (TypeError, ValueError):
            pass
    elif isinstance(value, kind):
        return value
    raise InvalidArgumentError(f"{path}: {_EXPECTED[kind]} is expected, not {value!r:.100}")


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
