"""What all parts of the intermediate representation are made of."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

__all__ = ["ArtifactType", "ValueSpec"]


class _Message(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, dict=True):
    """A protobuf message in JSON."""


class ValueSpec(_Message, frozen=True):
    """A constant, or the name of a parameter of the run."""

    constant: Any = UNSET
    runtime_parameter: str = ""
    constant_value: dict[str, Any] | None = None


class ArtifactType(_Message, frozen=True):
    """The schema of an artifact."""

    schema_title: str = ""
    instance_schema: str = ""
    schema_version: str = ""
