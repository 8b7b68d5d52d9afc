"""InferenceGraph, as KServe spells it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from kubeling.kube.crd import (
    Affinity,
    Column,
    Condition,
    ResourceRequirements,
    crd,
)
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.serving.inline import Toleration

__all__ = ["INFERENCE_GRAPHS", "ROOT", "graph_definition"]

INFERENCE_GRAPHS: Final = Resource(
    "serving.kserve.io", "v1alpha1", "InferenceGraph", "inferencegraphs", True, ("ig",)
)
ROOT: Final = "root"


class Step(msgspec.Struct, rename="camel", omit_defaults=True):
    """One service or node asked, and when."""

    name: str | None = None
    node_name: str | None = None
    service_name: str | None = None
    service_url: str | None = None
    data: str | None = None
    map_predictions_to_instances: bool | None = None
    weight: int | None = None
    condition: str | None = None
    dependency: Literal["Soft", "Hard"] | None = None


class Router(msgspec.Struct, rename="camel", omit_defaults=True):
    """A node of the graph."""

    router_type: Literal["Sequence", "Splitter", "Ensemble", "Switch"]
    steps: list[Step] | None = None


class RouterTimeouts(msgspec.Struct, rename="camel", omit_defaults=True):
    """Timeouts in seconds; ``serviceClient`` is that of each step."""

    server_read: int | None = None
    server_write: int | None = None
    server_idle: int | None = None
    service_client: int | None = None


class InferenceGraphSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """Nodes by name, begun at ``root``; the inference gateway runs them, so pods' fields are idle.

    What upstream's router pods take (resources, replicas, placement) is accepted for its manifests'
    sake; there are no such pods.
    """

    nodes: dict[str, Router]
    timeout: int | None = None
    router_timeouts: RouterTimeouts | None = None
    resources: ResourceRequirements | None = None
    affinity: Affinity | None = None
    tolerations: list[Toleration] | None = None
    node_selector: dict[str, str] | None = None
    node_name: str | None = None
    service_account_name: str | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    scale_target: int | None = None
    scale_metric: Literal["cpu", "memory", "concurrency", "rps"] | None = None


class InferenceGraphStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What the controller observed."""

    conditions: list[Condition] | None = None
    observed_generation: int | None = None
    url: str | None = None
    deployment_mode: str | None = None


def graph_definition() -> Obj:
    """The definition of the kind."""
    columns = (
        Column("URL", ".status.url"),
        Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
    )
    return crd(INFERENCE_GRAPHS, InferenceGraphSpec, InferenceGraphStatus, columns=columns)
