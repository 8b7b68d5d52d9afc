"""A training job as the reconciler sees it, whatever its kind.

The kinds of ``kubeflow.org/v1`` differ in a handful of facts, which :class:`JobKind` states; all
else is shared. Adding a kind means adding a row to the table in :mod:`kubeling.training.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import msgspec

from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.kube.resources import Resource
from kubeling.training.companions import Companion
from kubeling.training.network import first_port
from kubeling.training.resources import ElasticPolicy, ReplicaSpec, RunPolicy

__all__ = [
    "JOB_NAME",
    "JOB_ROLE",
    "OPERATOR_NAME",
    "REPLICA_INDEX",
    "REPLICA_TYPE",
    "Env",
    "JobKind",
    "Progress",
    "Replica",
    "TrainingJob",
    "env",
    "spelling_of",
]

_PREFIX: Final = "training.kubeflow.org"
OPERATOR_NAME: Final = f"{_PREFIX}/operator-name"
JOB_NAME: Final = f"{_PREFIX}/job-name"
REPLICA_TYPE: Final = f"{_PREFIX}/replica-type"
REPLICA_INDEX: Final = f"{_PREFIX}/replica-index"
JOB_ROLE: Final = f"{_PREFIX}/job-role"

Env = list[Obj]
RestartPolicy = Literal["Always", "OnFailure", "Never", "ExitCode"]


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod's place in the job."""

    type: str
    index: int

    @property
    def suffix(self) -> str:
        return f"{self.type.lower()}-{self.index}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How many pods of one role are in which state, and which indices have succeeded."""

    wanted: int
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    done: frozenset[int] = frozenset()

    @property
    def all_done(self) -> bool:
        return self.succeeded >= self.wanted


@dataclass(frozen=True, slots=True)
class JobKind:
    """What sets one kind apart.

    ``leaders`` are the roles that decide for the whole job where they are present, else worker 0
    does. ``singletons`` may have one replica at most and ``required`` must be there.
    ``environment`` makes the variables of one replica, which every container of its pod gets, or
    the one that trains, or the first. ``succeeded`` tells from the roles' progress.
    ``prepare`` adds what else the pods of the kind have, and ``companions`` names the objects that
    a job has beside them. Roles in ``unnumbered`` have one pod, named without an index. With
    ``any_container`` the container that trains may have any name, and no port is added to it.
    """

    resource: Resource
    specs_field: str
    container: str
    port_name: str
    port: int
    replica_types: tuple[str, ...]
    restart_policy: RestartPolicy
    leaders: tuple[str, ...]
    environment: Callable[[TrainingJob, Replica], Env]
    succeeded: Callable[[TrainingJob, Mapping[str, Progress]], bool]
    singletons: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    environment_of: Literal["every", "default", "first"] = "every"
    any_container: bool = False
    prepare: Callable[[TrainingJob, Replica, Obj], None] | None = None
    companions: Callable[[TrainingJob, Sequence[Obj]], list[Companion]] | None = None
    services: bool = True
    unnumbered: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.resource.kind


@dataclass(frozen=True)
class TrainingJob:
    """One job, read from its object (with the defaults of admission in it).

    Where its pods share one network (``shared_network``), each has a port of its own.
    """

    kind: JobKind
    obj: Obj
    shared_network: bool = False

    @property
    def name(self) -> str:
        return name(self.obj)

    @property
    def namespace(self) -> str:
        return namespace(self.obj)

    @property
    def uid(self) -> str:
        return uid(self.obj)

    @property
    def spec(self) -> Obj:
        found: Obj = self.obj.get("spec") or {}
        return found

    @cached_property
    def replica_specs(self) -> dict[str, ReplicaSpec]:
        """The roles in the kind's order."""
        found = msgspec.convert(
            self.spec.get(self.kind.specs_field) or {}, dict[str, ReplicaSpec], strict=False
        )
        spelled = {spelling_of(role, self.kind.replica_types): spec for role, spec in found.items()}
        return {role: spelled[role] for role in self.kind.replica_types if role in spelled}

    @cached_property
    def run_policy(self) -> RunPolicy:
        return msgspec.convert(self.spec.get("runPolicy") or {}, RunPolicy, strict=False)

    @cached_property
    def elastic_policy(self) -> ElasticPolicy | None:
        """Set where the number of workers may change while the job runs."""
        found = self.spec.get("elasticPolicy")
        return None if found is None else msgspec.convert(found, ElasticPolicy, strict=False)

    @cached_property
    def leader(self) -> Replica | None:
        """The replica whose logs and end speak for the job, if it has any."""
        for role in self.kind.leaders:
            if self.count(role) > 0:
                return Replica(role, 0)
        return Replica("Worker", 0) if self.count("Worker") > 0 else None

    @property
    def total(self) -> int:
        """The number of pods of all roles."""
        return sum(self.count(role) for role in self.replica_specs)

    def count(self, role: str) -> int:
        """The number of pods of one role."""
        spec = self.replica_specs.get(role)
        if spec is None:
            return 0
        return 1 if spec.replicas is None else spec.replicas

    def replicas(self) -> Sequence[Replica]:
        """Every replica the job wants."""
        return [
            Replica(role, index) for role in self.replica_specs for index in range(self.count(role))
        ]

    def restart_policy(self, role: str) -> RestartPolicy:
        return self.replica_specs[role].restart_policy or self.kind.restart_policy

    def pod_name(self, replica: Replica) -> str:
        """The name of the replica's pod, and of its Service."""
        if replica.type in self.kind.unnumbered:
            return f"{self.name}-{replica.type.lower()}"
        return f"{self.name}-{replica.suffix}"

    def default_container(self, role: str) -> Obj:
        """The container that trains."""
        containers: list[Obj] = (
            self.replica_specs[role].template.get("spec", {}).get("containers", [])
        )
        named = (c for c in containers if c.get("name") == self.kind.container)
        return next(named, containers[0] if containers else {})

    def port(self, replica: Replica) -> int:
        """The port on which a replica meets the others."""
        if self.shared_network:
            return first_port(self.uid) + self.replicas().index(replica)
        for port in self.default_container(replica.type).get("ports") or ():
            if port.get("name") == self.kind.port_name:
                return int(port["containerPort"])
        return self.kind.port

    def labels(self, role: str = "") -> dict[str, str]:
        """The labels by which the job finds its pods (of one role)."""
        found = {OPERATOR_NAME: f"{self.kind.name.lower()}-controller", JOB_NAME: self.name}
        if role:
            found[REPLICA_TYPE] = role.lower()
        return found


def spelling_of(role: str, known: Sequence[str]) -> str:
    """The role as the kind spells it, whatever case the user wrote (``master`` → ``Master``)."""
    return next((k for k in known if k.lower() == role.lower()), role)


def env(**variables: Any) -> Env:
    """Environment entries from names and values."""
    return [{"name": key, "value": str(value)} for key, value in variables.items()]
