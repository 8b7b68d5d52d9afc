"""``kr8s``: objects by their methods (create, wait, label, scale, logs), queries and new kinds."""

from __future__ import annotations

import kr8s
import pytest
from kr8s.asyncio.objects import (
    ConfigMap,
    CustomResourceDefinition,
    Deployment,
    Namespace,
    Pod,
    new_class,
)

THING = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.kr8s.example.com"},
    "spec": {
        "group": "kr8s.example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"size": {"type": "integer"}},
                    }
                },
            }
        ],
    },
}


@pytest.fixture
async def namespace():
    made = await Namespace({"metadata": {"generateName": "kr8s-"}})
    await made.create()
    yield made.name
    await made.delete()


def pod(name: str, namespace: str, *command: str) -> dict:
    container = {"name": "main", "image": "busybox", "command": list(command)}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "containers": [container],
        },
    }


async def test_objects_are_created_found_patched_and_deleted(namespace: str) -> None:
    made = await ConfigMap(
        {"metadata": {"name": "crud", "namespace": namespace}, "data": {"a": "1"}}
    )
    await made.create()
    assert await made.exists()
    await made.label(tier="web", owner="me")
    await made.annotate(note="hello")
    await made.patch({"data": {"b": "2"}})
    (found,) = [
        obj
        async for obj in kr8s.asyncio.get(
            "configmaps", namespace=namespace, label_selector={"tier": "web"}
        )
    ]
    assert found.labels == {"tier": "web", "owner": "me"}
    assert found.annotations["note"] == "hello"
    assert dict(found.raw["data"]) == {"a": "1", "b": "2"}
    await found.remove_label("tier")
    assert "tier" not in found.labels
    with pytest.raises(kr8s.ServerError, match="already exists"):
        await made.create()
    await made.delete()
    await made.wait("delete")
    with pytest.raises(kr8s.NotFoundError):
        await ConfigMap.get("crud", namespace=namespace)


async def test_a_pod_is_waited_for_and_its_log_read(namespace: str) -> None:
    talks = await Pod(pod("talks", namespace, "sh", "-c", "echo one; echo two; sleep 600"))
    await talks.create()
    await talks.wait("condition=Ready", timeout=30)
    assert await talks.ready()
    lines = []
    async for line in talks.logs(follow=True):
        lines.append(line)
        if len(lines) == 2:
            break
    assert lines == ["one", "two"]
    assert [line async for line in talks.logs(tail_lines=1)] == ["two"]
    await talks.delete()
    await talks.wait("delete", timeout=30)


async def test_a_deployment_is_scaled_and_its_pods_found(namespace: str) -> None:
    web = await Deployment(
        {
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "web"}},
                "template": pod("web", namespace, "sleep", "600")
                | {"metadata": {"labels": {"app": "web"}}},
            },
        }
    )
    del web.raw["spec"]["template"]["spec"]["restartPolicy"]
    await web.create()
    await web.wait("condition=Available", timeout=30)
    await web.scale(2)
    await web.wait("jsonpath='{.status.readyReplicas}'=2", timeout=30)
    assert len(await web.pods()) == 2
    await web.delete(propagation_policy="Foreground")
    await web.wait("delete", timeout=30)
    assert [obj async for obj in kr8s.asyncio.get("pods", namespace=namespace)] == []


async def test_events_of_a_watch_come_in_order(namespace: str) -> None:
    api = await kr8s.asyncio.api()
    made = await ConfigMap({"metadata": {"name": "watched", "namespace": namespace}})
    await made.create()
    seen = []
    async for event, obj in api.watch(
        "configmaps", namespace=namespace, field_selector="metadata.name=watched"
    ):
        seen.append(event)
        if event == "ADDED":
            await made.patch({"data": {"a": "b"}})
        elif event == "MODIFIED":
            await made.delete()
        else:
            assert obj.name == "watched"
            break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_new_kinds_are_found_by_any_of_their_names(namespace: str) -> None:
    definition = await CustomResourceDefinition(THING)
    await definition.create()
    try:
        await definition.wait("condition=Established", timeout=10)
        thing = new_class("Thing", "kr8s.example.com/v1", asyncio=True, namespaced=True)
        made = await thing({"metadata": {"name": "t", "namespace": namespace}, "size": 1})
        await made.create()
        for name in ("things", "thing", "th", "things.kr8s.example.com"):
            (found,) = [obj async for obj in kr8s.asyncio.get(name, namespace=namespace)]
            assert (found.name, found.raw["size"]) == ("t", 1)
        with pytest.raises(kr8s.ServerError, match='size: Invalid value: "string"'):
            await made.patch({"size": "big"})
    finally:
        await definition.delete()


async def test_what_the_server_says_of_itself() -> None:
    api = await kr8s.asyncio.api()
    assert (await api.version())["major"] == "1"
    kinds = {resource["kind"] for resource in await api.api_resources()}
    assert {"Pod", "Deployment", "CronJob", "NetworkPolicy", "Lease"} <= kinds
    assert (await api.whoami()) is not None
