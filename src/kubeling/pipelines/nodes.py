"""The state of one task of a run: what is known about it, and nothing that follows from the spec.

Nodes are kept in the metadata database, one row each, so a run has no size limit and a controller
that was killed goes on where the rows say.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from typing import Any, Final, Literal

import msgspec

__all__ = [
    "FINAL",
    "ArtifactRef",
    "Inputs",
    "Kind",
    "NodeState",
    "Outputs",
    "Stage",
    "TaskError",
    "TaskNode",
    "artifact_id",
    "child_path",
    "task_id",
]

NodeState = Literal["PENDING", "RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"]
FINAL: Final = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})

Kind = Literal["", "container", "importer", "dag", "loop"]
"""What runs a task; empty until its inputs are there."""

Stage = Literal["wait", "cache", "launch", "pod", "backoff", "open", "end"]
"""What a task waits for: upstream, an answer from the cache, its pod's creation or end, the pause
before another attempt, its own tasks, nothing more."""

_TASKS: Final = uuid.UUID("5f0c2f5a-39d5-4f3c-8a0f-0d5e34b5e7a1")


class ArtifactRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """An artifact as tasks hand it on."""

    id: int
    name: str
    type: str
    uri: str
    metadata: dict[str, Any] = {}
    schema_version: str = "0.0.1"
    digest: str = ""


class Inputs(msgspec.Struct, omit_defaults=True):
    """What a task takes; a parameter that is ``None`` was not given."""

    parameters: dict[str, Any] = {}
    artifacts: dict[str, list[ArtifactRef]] = {}


class Outputs(msgspec.Struct, omit_defaults=True):
    """What a task gives."""

    parameters: dict[str, Any] = {}
    artifacts: dict[str, list[ArtifactRef]] = {}


class TaskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task failed: a code of gRPC's, and words."""

    message: str
    code: int = 13
    exit_code: int | None = None

    @property
    def summary(self) -> str:
        """The first line, without the end of the log that may follow."""
        return self.message.partition("\n")[0]


class TaskNode(msgspec.Struct, omit_defaults=True):
    """A task, an iteration of a loop, or the run itself (whose path is empty).

    ``path`` is the way through the DAGs to it: ``loop/0/train``. ``epoch`` counts how often the run
    was sent back to work; with ``attempt`` it makes names of pods unique. ``first_attempt`` is the
    one since a group around it was last tried again. ``cache`` says in words why the cache had an
    answer, or none.
    """

    path: str
    name: str
    display_name: str = ""
    component: str = ""
    parent: str = ""
    iteration: int | None = None
    kind: Kind = ""
    state: NodeState = "PENDING"
    stage: Stage = "wait"
    attempt: int = 0
    first_attempt: int = 0
    epoch: int = 0
    inputs: Inputs = msgspec.field(default_factory=Inputs)
    outputs: Outputs = msgspec.field(default_factory=Outputs)
    items: list[Any] | None = None
    fingerprint: str = ""
    cached_from: str = ""
    cache: str = ""
    message: str = ""
    error: TaskError | None = None
    pod: str = ""
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    retry_at: dt.datetime | None = None

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def is_root(self) -> bool:
        return self.path == ""


def child_path(parent: str, name: str | int) -> str:
    """The path of a task, or of an iteration, below another."""
    return f"{parent}/{name}" if parent else str(name)


def task_id(run_id: str, path: str) -> str:
    """The id of a task, the same after every restart."""
    return str(uuid.uuid5(_TASKS, f"{run_id}/{path}"))


def artifact_id(*identity: str | int) -> int:
    """A positive 63-bit id made from what identifies an artifact.

    Ids are 64-bit integers on the wire. Made from content they need no counter, so a controller
    that repeats its last step after a crash makes no second artifact.
    """
    text = "\0".join(map(str, identity))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
