"""What a pod is given when it is made, and what may be added to it and changed while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from tests.support.apiserver import running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import BadRequest, Conflict, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import PODS, SERVICE_ACCOUNTS

REQUESTS = {"cpu": "1", "memory": "1Gi"}
LIMITS = {"memory": "2Gi"}
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running_server() as running:
        yield running.client


def pod(**spec: Any) -> Obj:
    resources = {"requests": REQUESTS, "limits": LIMITS}
    main = {"name": "main", "image": "busybox", "resources": resources}
    return new_object(PODS, "p", "default", spec={"containers": [main], **spec})


async def through(client: Client, subresource: str, spec: Obj) -> Obj:
    body = {"spec": spec}
    return await client.patch(PODS, "p", body, "default", subresource=subresource)


# The service account


async def test_every_container_is_given_its_account_s_token(client: Client) -> None:
    init = {"name": "init", "image": "busybox"}
    made = await client.create(PODS, pod(initContainers=[init]))
    (volume,) = made["spec"]["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert [next(iter(s)) for s in volume["projected"]["sources"]] == [
        "serviceAccountToken", "configMap", "downwardAPI",
    ]  # fmt: skip
    for container in (*made["spec"]["initContainers"], *made["spec"]["containers"]):
        (mount,) = container["volumeMounts"]
        assert (mount["mountPath"], mount["readOnly"]) == (TOKEN, True)


async def test_a_pod_or_its_account_can_decline_the_token(client: Client) -> None:
    assert (
        "volumes"
        not in (await client.create(PODS, pod(automountServiceAccountToken=False)))["spec"]
    )
    declines = {"metadata": {"name": "shy"}, "automountServiceAccountToken": False}
    await client.create(SERVICE_ACCOUNTS, declines, "default")
    other = pod(serviceAccountName="shy")
    other["metadata"]["name"] = "q"
    assert "volumes" not in (await client.create(PODS, other))["spec"]


async def test_a_mount_of_one_s_own_stays(client: Client) -> None:
    wanted = pod(volumes=[{"name": "mine", "emptyDir": {}}])
    mounts = [{"name": "mine", "mountPath": TOKEN}]
    wanted["spec"]["containers"][0]["volumeMounts"] = mounts
    made = await client.create(PODS, wanted)
    assert made["spec"]["containers"][0]["volumeMounts"] == mounts
    assert [v["name"] for v in made["spec"]["volumes"]] == ["mine"]


async def test_a_pod_without_pull_secrets_has_its_account_s(client: Client) -> None:
    secrets = [{"name": "registry"}]
    account = {"metadata": {"name": "puller"}, "imagePullSecrets": secrets}
    await client.create(SERVICE_ACCOUNTS, account, "default")
    made = await client.create(PODS, pod(serviceAccountName="puller"))
    assert made["spec"]["imagePullSecrets"] == secrets


# Debug containers


async def test_a_debug_container_is_added_and_completed(client: Client) -> None:
    made = await client.create(PODS, pod())
    added = {"name": "look", "image": "busybox", "targetContainerName": "main"}
    new = await through(client, "ephemeralcontainers", {"ephemeralContainers": [added]})
    (found,) = new["spec"]["ephemeralContainers"]
    assert found["terminationMessagePolicy"] == "File"
    assert new["spec"]["containers"] == made["spec"]["containers"]
    assert new["metadata"]["generation"] == made["metadata"]["generation"] + 1


async def test_nothing_else_changes_with_a_debug_container(client: Client) -> None:
    made = await client.create(PODS, pod())
    spec = {"activeDeadlineSeconds": 5, "ephemeralContainers": [{"name": "d", "image": "x"}]}
    new = await through(client, "ephemeralcontainers", spec)
    assert "activeDeadlineSeconds" not in new["spec"]
    assert new["spec"]["containers"] == made["spec"]["containers"]


@pytest.mark.parametrize(
    ("added", "why"),
    [
        ({"name": "main", "image": "x"}, r"ephemeralContainers\[0\].name: Duplicate value"),
        ({"name": "d", "image": ""}, r"ephemeralContainers\[0\].image: Required value"),
        (
            {"name": "d", "image": "x", "targetContainerName": "none"},
            'targetContainerName: Not found: "none"',
        ),
        (
            {"name": "d", "image": "x", "ports": [{"containerPort": 1}]},
            "ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
        (
            {"name": "d", "image": "x", "resources": {"limits": {"cpu": "1"}}},
            "resources: Forbidden: cannot be set for an Ephemeral Container",
        ),
    ],
)
async def test_what_a_debug_container_cannot_have(client: Client, added: Obj, why: str) -> None:
    await client.create(PODS, pod())
    with pytest.raises(Invalid, match=why):
        await through(client, "ephemeralcontainers", {"ephemeralContainers": [added]})


async def test_debug_containers_stay_as_they_were_added(client: Client) -> None:
    await client.create(PODS, pod())
    added = {"name": "d", "image": "x"}
    await through(client, "ephemeralcontainers", {"ephemeralContainers": [added]})
    changed = {"ephemeralContainers": [{"name": "d", "image": "y"}]}
    with pytest.raises(Invalid, match='existing ephemeral containers "d" may not be changed'):
        await through(client, "ephemeralcontainers", changed)
    with pytest.raises(Invalid, match='existing ephemeral containers "d" may not be removed'):
        await through(client, "ephemeralcontainers", {"ephemeralContainers": []})


async def test_debug_containers_are_added_in_no_other_way(client: Client) -> None:
    added = [{"name": "d", "image": "x"}]
    with pytest.raises(Invalid, match="Forbidden: cannot be set on create"):
        await client.create(PODS, pod(ephemeralContainers=added))
    await client.create(PODS, pod())
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await client.patch(PODS, "p", {"spec": {"ephemeralContainers": added}}, "default")


# Resources


def resized(**resources: Obj) -> Obj:
    return {"containers": [{"name": "main", "resources": resources}]}


async def test_a_pod_is_resized_through_its_subresource_only(client: Client) -> None:
    await client.create(PODS, pod())
    wanted = resized(requests={"cpu": "2", "memory": "1Gi"}, limits={"memory": "3Gi"})
    new = await through(client, "resize", wanted)
    (main,) = new["spec"]["containers"]
    assert main["resources"]["requests"] == {"cpu": "2", "memory": "1Gi"}
    assert main["resources"]["limits"] == {"memory": "3Gi"}
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await client.patch(PODS, "p", {"spec": resized(limits={"memory": "4Gi"})}, "default")


@pytest.mark.parametrize(
    ("resources", "why"),
    [
        (
            {"requests": {**REQUESTS, "ephemeral-storage": "1Gi"}, "limits": LIMITS},
            "only cpu and memory resources are mutable",
        ),
        ({"requests": {"memory": "1Gi"}, "limits": LIMITS}, "resource requests cannot be removed"),
        (
            {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
            "Pod QOS Class may not change as a result of resizing",
        ),
        (
            {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": LIMITS},
            "must be less than or equal to memory limit",
        ),
    ],
)
async def test_what_cannot_be_resized(client: Client, resources: Obj, why: str) -> None:
    await client.create(PODS, pod())
    with pytest.raises(Invalid, match=why):
        await through(client, "resize", resized(**resources))


# Its node


def to(node: str, **metadata: str) -> Obj:
    return {"metadata": {"name": "p", **metadata}, "target": {"kind": "Node", "name": node}}


async def test_a_pod_is_bound_once_and_in_no_other_way(client: Client) -> None:
    made = await client.create(PODS, pod())
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await client.patch(PODS, "p", {"spec": {"nodeName": "here"}}, "default")
    bind = partial(client.create_subresource, PODS, "p", "default", "binding")
    with pytest.raises(Conflict, match="UID in precondition: u, UID in object meta"):
        await bind(to("here", uid="u"))
    with pytest.raises(BadRequest, match="name in URL does not match name in Binding object"):
        await bind(to("here", name="q"))
    await bind(to("here", uid=made["metadata"]["uid"]))
    assert (await client.get(PODS, "p", "default"))["spec"]["nodeName"] == "here"
    with pytest.raises(Conflict, match='pod p is already assigned to node "here"'):
        await bind(to("there"))


async def test_an_eviction_is_of_the_pod_it_names(client: Client) -> None:
    await client.create(PODS, pod())
    with pytest.raises(BadRequest, match="name in URL does not match name in Eviction object"):
        await client.create_subresource(
            PODS, "p", "default", "eviction", {"metadata": {"name": "q"}}
        )
