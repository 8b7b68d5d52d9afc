"""What is handed to templates and by them: parameters and artifacts, as typed structs."""

from __future__ import annotations

from typing import Any

import msgspec

from kubeling.kube.crd import AnyObject

__all__ = [
    "Arguments",
    "Artifact",
    "Inputs",
    "Outputs",
    "Parameter",
    "ValueFrom",
]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Field names as in the manifests; what is not given is not written."""


class ValueFrom(_Struct):
    """Where a parameter's value comes from."""

    path: str = ""
    parameter: str = ""
    expression: str = ""
    config_map_key_ref: AnyObject | None = None
    default: Any = None
    supplied: AnyObject | None = None
    json_path: str = ""
    jq_filter: str = ""
    event: str = ""


class Parameter(_Struct):
    """A named text; numbers and booleans are taken as their text."""

    name: str
    value: Any = None
    default: Any = None
    value_from: ValueFrom | None = None
    enum: list[Any] | None = None
    description: str = ""
    global_name: str = ""


class Artifact(_Struct):
    """A file or folder handed into or out of a step."""

    name: str
    path: str = ""
    from_: str = msgspec.field(default="", name="from")
    from_expression: str = ""
    raw: AnyObject | None = None
    s3: AnyObject | None = None
    gcs: AnyObject | None = None
    azure: AnyObject | None = None
    oss: AnyObject | None = None
    hdfs: AnyObject | None = None
    git: AnyObject | None = None
    http: AnyObject | None = None
    artifactory: AnyObject | None = None
    plugin: AnyObject | None = None
    archive: AnyObject | None = None
    archive_logs: bool | None = None
    artifact_gc: AnyObject | None = msgspec.field(default=None, name="artifactGC")
    deleted: bool | None = None
    global_name: str = ""
    mode: int | None = None
    optional: bool | None = None
    recurse_mode: bool | None = None
    sub_path: str = ""


class Arguments(_Struct):
    """Values for inputs."""

    parameters: list[Parameter] = []
    artifacts: list[Artifact] = []


class Inputs(_Struct):
    """What a template needs."""

    parameters: list[Parameter] = []
    artifacts: list[Artifact] = []


class Outputs(_Struct):
    """What a template gives; ``result`` is what it printed."""

    parameters: list[Parameter] = []
    artifacts: list[Artifact] = []
    result: str | None = None
    exit_code: str = ""
