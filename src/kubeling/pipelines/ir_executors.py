"""Executors in the intermediate representation: what runs a component, and with what resources."""

from __future__ import annotations

from typing import Any

import msgspec

from kubeling.pipelines.ir_values import ArtifactType, ValueSpec

__all__ = [
    "Accelerator",
    "ContainerSpec",
    "DeploymentSpec",
    "EnvVar",
    "Executor",
    "ImporterSpec",
    "Resources",
]


class _Message(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, dict=True):
    """A protobuf message in JSON."""


class EnvVar(_Message, frozen=True):
    """An environment variable."""

    name: str
    value: str = ""


class Accelerator(_Message, frozen=True):
    """What beside CPU and memory a container needs."""

    type: str = ""
    count: int | str = 0
    resource_type: str = ""
    resource_count: str = ""


class Resources(_Message, frozen=True):
    """What a container needs; the doubles are the form older compilers wrote."""

    cpu_limit: float = 0.0
    memory_limit: float = 0.0
    cpu_request: float = 0.0
    memory_request: float = 0.0
    accelerator: Accelerator | None = None
    resource_cpu_limit: str = ""
    resource_memory_limit: str = ""
    resource_cpu_request: str = ""
    resource_memory_request: str = ""


class ContainerSpec(_Message, frozen=True):
    """A command to run."""

    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: Resources | None = None


class ImporterSpec(_Message, frozen=True):
    """An artifact that is there already."""

    artifact_uri: ValueSpec = ValueSpec()
    type_schema: ArtifactType = ArtifactType()
    metadata: dict[str, Any] = {}
    reimport: bool = False
    download_to_workspace: bool = False


class Executor(_Message, frozen=True):
    """How a component is run."""

    container: ContainerSpec | None = None
    importer: ImporterSpec | None = None
    resolver: dict[str, Any] | None = None
    custom_job: dict[str, Any] | None = None


class DeploymentSpec(_Message, frozen=True):
    """All executors, by label."""

    executors: dict[str, Executor] = {}
