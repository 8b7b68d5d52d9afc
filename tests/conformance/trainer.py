"""Trainer's examples for kubectl (``examples/yaml``), as upstream's own tests would have them end.

What upstream leaves to its users is made beforehand: the service account and the node's label that
an example asks for. Where an example waits for Kueue, this suite is Kueue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from tests.conformance.rows import Case, Platform, Row

from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import Obj, condition, is_condition_true, new_object
from kubeling.kube.resources import NODES, SERVICE_ACCOUNTS, Resource

__all__ = ["ENVIRONMENT", "cases", "run"]

ENVIRONMENT: Final = {"KUBELING_ENGINE_CAPACITY": "{cpu: '32', memory: 128Gi}"}
"""What the examples ask for, whatever the machine has: none of them uses it."""

_EXAMPLES: Final = "trainer/examples/yaml"
_GROUP: Final = "trainer examples"
_NAMESPACE: Final = "default"
_WITHIN: Final = 500.0
"""Seconds; most of them for an environment with PyTorch, which the first of them builds."""

_KINDS: Final = {
    "TrainJob": "trainjobs",
    "TrainingRuntime": "trainingruntimes",
    "ClusterTrainingRuntime": "clustertrainingruntimes",
}
_REFUSED: Final = {"05-multi-step.yaml": "must have volumeMount with name - initializer"}
"""What upstream's own admission says of them (``plugins/jobset/jobset.go``)."""


def cases(upstream: Path) -> list[Case]:
    """Every file of the folder."""
    return [
        Case(path.name, _GROUP, path, message=_REFUSED.get(path.name, ""))
        for path in sorted((upstream / _EXAMPLES).glob("*.yaml"))
    ]


async def run(cases: Sequence[Case], platform: Platform) -> list[Row]:
    """All of them, side by side."""
    client = Client(HttpsTransport(load(platform.kubeconfig)))
    try:
        await _prepare(client)
        return list(await asyncio.gather(*(_row(case, client) for case in cases)))
    finally:
        await client.close()


async def _prepare(client: Client) -> None:
    account = new_object(SERVICE_ACCOUNTS, "training-sa", _NAMESPACE)
    await client.create(SERVICE_ACCOUNTS, account)
    for node in (await client.list(NODES)).items:
        patch = {"metadata": {"labels": {"node-type": "training"}}}
        await client.patch(NODES, node["metadata"]["name"], patch)


async def _row(case: Case, client: Client) -> Row:
    try:
        reason = await asyncio.wait_for(_carry_out(case, client), _WITHIN)
    except TimeoutError:
        reason = f"did not end within {_WITHIN:.0f} s"
    except ApiError as error:
        reason = f"refused: {error}"
        if case.message and case.message in reason:
            return Row(case.name, case.group, "passed", f"refused as at upstream: {case.message}")
    return Row(case.name, case.group, "failed" if reason else "passed", reason)


async def _carry_out(case: Case, client: Client) -> str:
    """Applies a file; says what went wrong with its TrainJob, if anything."""
    job: Obj = {}
    for document in yaml.safe_load_all(case.path.read_text()):
        if not document or document["kind"] not in _KINDS:
            continue
        resource = _resource(document)
        if document["kind"] != "ClusterTrainingRuntime":
            document["metadata"].setdefault("namespace", _NAMESPACE)
        try:
            made = await client.create(resource, document)
        except AlreadyExists:
            continue
        job = made if document["kind"] == "TrainJob" else job
    if job["spec"].get("suspend"):
        await client.patch(_resource(job), job["metadata"]["name"], _ADMITTED, _NAMESPACE)
    return await _ended(client, job)


_ADMITTED: Final[dict[str, Any]] = {"spec": {"suspend": False}}


def _resource(document: Obj) -> Resource:
    group, _, version = document["apiVersion"].partition("/")
    kind = document["kind"]
    return Resource(group, version, kind, _KINDS[kind], kind != "ClusterTrainingRuntime")


async def _ended(client: Client, job: Obj) -> str:
    name = job["metadata"]["name"]
    only = f"metadata.name={name}"
    async for event in client.watch(_resource(job), _NAMESPACE, fields=only):
        if is_condition_true(event.object, "Complete"):
            return ""
        if is_condition_true(event.object, "Failed"):
            failure = condition(event.object, "Failed")
            return failure.message if failure else "Failed"
    return "the watch ended"
