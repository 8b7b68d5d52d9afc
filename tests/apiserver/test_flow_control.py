"""Overload: what is refused when too much is under way, and the objects about it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server
from tests.support.callers import calling, static
from tests.support.webhooks import webhook_server

from kubeling.apiserver.flowcontrol.objects import flow_control_objects
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CONFIG_MAPS,
    FLOW_SCHEMAS,
    PRIORITY_LEVELS,
    Resource,
)

WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    False,
)
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


# --- too much at once --------------------------------------------------------------------------


@dataclass
class Gate:
    """Where writes of ConfigMaps wait."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    arrivals: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def hold(self, request: Obj) -> Obj:
        """A webhook that answers when it may."""
        self.arrivals.put_nowait(request["name"])
        await self.go.wait()
        return {"allowed": True}


@contextlib.asynccontextmanager
async def held_up(folder: Path, **bounds: int) -> AsyncIterator[tuple[RunningServer, Gate]]:
    """A server where writing a ConfigMap takes until it may go on."""
    gate = Gate()
    settings = static(folder, "bob,bob,1\nroot,root,2,system:masters\n", **bounds)
    async with (
        webhook_server(hold=gate.hold) as hook,
        running_server(https=True, settings=settings) as running,
    ):
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "edit"}
        subject = {"kind": "User", "apiGroup": RBAC, "name": "bob"}
        bound = new_object(CLUSTER_ROLE_BINDINGS, "b", roleRef=reference, subjects=[subject])
        await running.client.create(CLUSTER_ROLE_BINDINGS, bound)
        rule = {
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["configmaps"],
        }
        webhook = {
            "name": "hold.example.com",
            "clientConfig": hook.url("/hold"),
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 30,
        }
        await running.client.create(WEBHOOKS, {**new_object(WEBHOOKS, "w"), "webhooks": [webhook]})
        try:
            yield running, gate
        finally:
            gate.go.set()


async def test_one_write_too_many_is_told_to_come_again(tmp_path: Path) -> None:
    async with (
        held_up(tmp_path, max_mutating_requests_inflight=2) as (running, gate),
        calling(running) as caller,
    ):
        path = CONFIG_MAPS.path("default")

        async def write(name: str, token: str = "bob") -> tuple[int, str, Any]:
            body = new_object(CONFIG_MAPS, name, "default")
            headers = {"Authorization": f"Bearer {token}"}
            url = running.server.url + path
            async with caller.session.post(url, json=body, headers=headers) as answer:
                return answer.status, answer.headers.get("Retry-After", ""), await answer.json()

        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(write(name)) for name in ("a", "b")]
            assert {await gate.arrivals.get() for _ in waiting} == {"a", "b"}
            code, after, status = await write("c")
            assert (code, after, status["reason"]) == (429, "1", "TooManyRequests")
            assert status["message"] == "Too many requests, please try again later."
            assert (await caller.get(path, "bob"))[0] == 200
            waiting.append(group.create_task(write("d", "root")))
            assert await gate.arrivals.get() == "d"
            gate.go.set()
        assert [task.result()[0] for task in waiting] == [201, 201, 201]
        assert (await write("c"))[0] == 201


async def test_what_lasts_is_not_counted(tmp_path: Path) -> None:
    settings = static(tmp_path, "root,root,1,system:masters\n", max_requests_inflight=1)
    async with running_server(https=True, settings=settings) as running, calling(running) as caller:
        url = running.server.url + CONFIG_MAPS.path("default") + "?watch=1"
        headers = {"Authorization": "Bearer root"}
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                watch = await stack.enter_async_context(caller.session.get(url, headers=headers))
                assert json.loads(await watch.content.readline())["type"] == "ADDED"
            assert (await caller.get("/readyz"))[0] == 200
            assert (await caller.get("/version"))[0] == 200


async def test_no_bound_is_no_bound(tmp_path: Path) -> None:
    settings = static(
        tmp_path, "a,a,1\n", max_requests_inflight=0, max_mutating_requests_inflight=0
    )
    async with running_server(https=True, settings=settings) as running, calling(running) as caller:
        answers = await asyncio.gather(*(caller.get("/version", "a") for _ in range(20)))
        assert {code for code, _ in answers} == {200}


# --- the objects -------------------------------------------------------------------------------


async def test_every_cluster_has_the_same_levels_and_schemas(running: RunningServer) -> None:
    levels = (await running.client.list(PRIORITY_LEVELS)).items
    assert {level["metadata"]["name"] for level in levels} == {
        *("catch-all", "exempt", "global-default", "leader-election", "node-high"),
        *("system", "workload-high", "workload-low"),
    }
    schemas = (await running.client.list(FLOW_SCHEMAS)).items
    names = [s["metadata"]["name"] for s in sorted(schemas, key=_precedence)]
    assert names[:3] == ["exempt", "probes", "system-leader-election"]
    assert names[-1] == "catch-all"


def _precedence(schema: Obj) -> int:
    return int(schema["spec"]["matchingPrecedence"])


async def test_the_objects_are_as_they_would_be_written(running: RunningServer) -> None:
    for resource, obj in flow_control_objects(""):
        name = obj["metadata"]["name"]
        kept = await running.client.get(resource, name)
        assert kept["spec"] == obj["spec"]
        again = await running.client.replace(resource, kept)
        assert again["metadata"]["generation"] == 1


async def test_a_schema_says_whether_its_level_exists(running: RunningServer) -> None:
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "bob"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    wanted = {"priorityLevelConfiguration": {"name": "mine"}, "rules": [rule]}
    made = await running.client.create(FLOW_SCHEMAS, new_object(FLOW_SCHEMAS, "s", spec=wanted))
    assert made["spec"]["matchingPrecedence"] == 1000

    async def told(status: str) -> str:
        found = await running.client.list(FLOW_SCHEMAS)
        watch = running.client.watch(FLOW_SCHEMAS, resource_version=found.resource_version)
        seen = [item for item in found.items if item["metadata"]["name"] == "s"]
        async with contextlib.aclosing(watch):
            while True:
                for schema in seen:
                    for entry in (schema.get("status") or {}).get("conditions") or ():
                        if entry["status"] == status:
                            return str(entry["message"])
                seen = [
                    event.object
                    for event in [await anext(watch)]
                    if event.object["metadata"]["name"] == "s"
                ]

    about = 'This FlowSchema references the PriorityLevelConfiguration object named "mine"'
    assert await told("True") == f"{about} but there is no such object"
    limited = {"limitResponse": {"type": "Queue", "queuing": {}}}
    level = new_object(PRIORITY_LEVELS, "mine", spec={"type": "Limited", "limited": limited})
    kept = (await running.client.create(PRIORITY_LEVELS, level))["spec"]["limited"]
    assert (kept["nominalConcurrencyShares"], kept["lendablePercent"]) == (30, 0)
    queuing = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}
    assert kept["limitResponse"]["queuing"] == queuing
    assert await told("False") == f"{about} and it exists"


EXEMPT: Obj = {"priorityLevelConfiguration": {"name": "exempt"}}


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("s", {**EXEMPT, "matchingPrecedence": 1}, "only the schema named 'exempt'"),
        ("s", {**EXEMPT, "matchingPrecedence": 10001}, "must not be greater than 10000"),
        ("s", {"priorityLevelConfiguration": {"name": ""}}, "must reference a priority level"),
        ("s", {**EXEMPT, "rules": [{"subjects": []}]}, "subjects must contain at least one"),
        ("catch-all", {**EXEMPT, "matchingPrecedence": 5}, "must equal the fixed value"),
    ],
)
async def test_a_schema_that_cannot_be_right_is_refused(
    running: RunningServer, name: str, spec: Obj, message: str
) -> None:
    schema = new_object(FLOW_SCHEMAS, name, spec=spec)
    with pytest.raises(Invalid, match=message):
        await running.client.apply(FLOW_SCHEMAS, schema, force=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "Exempt"}, "if and only if `name` is 'exempt'"),
        ({"type": "Limited"}, "must not be empty when type is Limited"),
        (
            {"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}},
            "must not be empty if limited.limitResponse.type is Limited",
        ),
    ],
)
async def test_a_level_that_cannot_be_right_is_refused(
    running: RunningServer, spec: Obj, message: str
) -> None:
    level = new_object(PRIORITY_LEVELS, "l", spec=spec)
    with pytest.raises(Invalid, match=message):
        await running.client.create(PRIORITY_LEVELS, level)
