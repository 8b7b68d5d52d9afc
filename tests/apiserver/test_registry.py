"""The rules every object lives by: admission, quotas, names, ownership of what the server gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.requests import ApiRequest, ObjectAnswer
from kubeling.apiserver.user import ADMIN
from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.client import Client
from kubeling.kube.crd import Version, crd
from kubeling.kube.errors import (
    BadRequest,
    FieldError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
)
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    ENDPOINTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    LEASES,
    LIMIT_RANGES,
    NAMESPACES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STORAGE_CLASSES,
    Resource,
)

WIDGETS = Resource("example.org", "v1", "Widget", "widgets")
OLD_WIDGETS = Resource("example.org", "v1beta1", "Widget", "widgets")
BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")


class WidgetSpec(msgspec.Struct, omit_defaults=True):
    """What a widget should be."""

    size: int
    owner: str


def fill_in(obj: Obj, request: AdmissionRequest) -> None:
    obj["spec"].setdefault("owner", request.user)


def check(new: Obj, old: Obj | None, request: AdmissionRequest) -> Iterable[FieldError]:
    if old is not None and new["spec"]["size"] < old["spec"]["size"]:
        yield FieldError("spec.size", "Invalid value", "may not shrink", new["spec"]["size"])


def advise(obj: Obj, request: AdmissionRequest) -> Iterable[str]:
    assert request.find is not None
    palette = request.find(CONFIG_MAPS, "colours", obj["metadata"]["namespace"])
    if palette is not None:
        yield f"only {palette['data']['only']} is left"


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    definition = crd(WIDGETS, WidgetSpec, versions=[Version("v1beta1")])
    rules = {WIDGETS: Admission(fill_in, check, advise)}
    async with running_server(crds=[definition], admission=rules) as running:
        yield running


@pytest.fixture
def client(running: RunningServer) -> Client:
    return running.client


def pod(name: str = "p", namespace: str = "default", **requests: str) -> Obj:
    container: Obj = {"name": "main", "image": "busybox"}
    if requests:
        container["resources"] = {"requests": requests}
    spec = {"containers": [container]}
    return new_object(PODS, name, namespace, labels={"app": "x"}, spec=spec)


# --- admission ---------------------------------------------------------------------------------


async def test_a_room_fills_in_before_the_schema_requires(client: Client) -> None:
    made = await client.create(WIDGETS, new_object(WIDGETS, "w", "default", spec={"size": 1}))
    assert made["spec"]["owner"] == "system:admin"


async def test_a_room_sees_what_is_replaced(client: Client) -> None:
    await client.create(WIDGETS, new_object(WIDGETS, "w", "default", spec={"size": 2}))
    with pytest.raises(Invalid, match=r"spec\.size: Invalid value: 1: may not shrink"):
        await client.patch(WIDGETS, "w", {"spec": {"size": 1}}, "default")


async def test_a_room_reads_other_objects_and_warns(running: RunningServer) -> None:
    colours = new_object(CONFIG_MAPS, "colours", "default", data={"only": "red"})
    await running.client.create(CONFIG_MAPS, colours)
    request = ApiRequest("POST", WIDGETS.path("default"), ADMIN)
    request.value = new_object(WIDGETS, "w", "default", spec={"size": 1})
    answer = await running.server.handle(request)
    assert isinstance(answer, ObjectAnswer)
    assert answer.warnings == ["only red is left"]


async def test_versions_of_a_kind_show_the_same_objects(client: Client) -> None:
    await client.create(WIDGETS, new_object(WIDGETS, "w", "default", spec={"size": 1}))
    old = await client.get(OLD_WIDGETS, "w", "default")
    assert old["apiVersion"] == "example.org/v1beta1"
    await client.patch(OLD_WIDGETS, "w", {"spec": {"size": 3}}, "default")
    assert (await client.get(WIDGETS, "w", "default"))["spec"]["size"] == 3


async def test_pods_need_their_service_account(client: Client) -> None:
    obj = pod()
    obj["spec"]["serviceAccountName"] = "nobody"
    with pytest.raises(Forbidden, match='serviceaccount "nobody" not found'):
        await client.create(PODS, obj)


@pytest.mark.parametrize(
    ("resource", "name", "complaint"),
    [
        (CONFIG_MAPS, "Upper", "RFC 1123 subdomain"),
        (SERVICES, "1st", "DNS-1035 label"),
        (NAMESPACES, "a.b", "RFC 1123 label"),
    ],
)
async def test_names_must_be_names(
    client: Client, resource: Resource, name: str, complaint: str
) -> None:
    obj = new_object(resource, name, "default" if resource.namespaced else "")
    with pytest.raises(Invalid, match=complaint):
        await client.create(resource, obj)


async def test_labels_must_be_text_that_selectors_can_name(client: Client) -> None:
    for labels in ({"a": "no spaces"}, {"-a": "b"}):
        obj = new_object(CONFIG_MAPS, "c", "default", labels=labels)
        with pytest.raises(Invalid, match=r"metadata\.labels"):
            await client.create(CONFIG_MAPS, obj)
    obj = new_object(CONFIG_MAPS, "c", "default", labels={"a": 1})  # type: ignore[dict-item]
    with pytest.raises(BadRequest, match=r"cannot unmarshal number .*ObjectMeta.metadata.labels"):
        await client.create(CONFIG_MAPS, obj)


async def test_finalizers_have_an_owner_by_name(running: RunningServer) -> None:
    def held(resource: Resource, *finalizers: str, **more: Any) -> Obj:
        obj = new_object(resource, "held", "default", **more)
        obj["metadata"]["finalizers"] = list(finalizers)
        return obj

    for finalizers, wrong in (
        (["mine"], "neither a standard finalizer name nor is it fully qualified"),
        (["a b/c"], "prefix part"),
        (["orphan", "foregroundDeletion"], "cannot be both set"),
    ):
        with pytest.raises(Invalid, match=rf"metadata\.finalizers: Invalid value.*{wrong}"):
            await running.client.create(CONFIG_MAPS, held(CONFIG_MAPS, *finalizers))
    request = ApiRequest("POST", WIDGETS.path("default"), ADMIN)
    request.value = held(WIDGETS, "mine", spec={"size": 1})
    answer = await running.server.handle(request)
    assert isinstance(answer, ObjectAnswer)
    assert answer.warnings == [
        'metadata.finalizers: "mine": prefer a domain-qualified finalizer name to avoid accidental '
        "conflicts with other finalizer writers"
    ]


async def test_replacing_creates_what_others_write_whole(client: Client) -> None:
    made = await client.replace(ENDPOINTS, new_object(ENDPOINTS, "e", "default"))
    assert made["metadata"]["uid"]
    with pytest.raises(NotFound):
        await client.replace(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "default"))


async def test_some_kinds_say_what_they_replace(client: Client) -> None:
    for resource in (LEASES, BUDGETS, WIDGETS):
        obj = new_object(resource, "o", "default", spec={"size": 1} if resource is WIDGETS else {})
        await client.create(resource, obj)
        with pytest.raises(Invalid, match=r"resourceVersion: Invalid value: 0: must be specified"):
            await client.replace(resource, obj)
    obj = new_object(CONFIG_MAPS, "c", "default")
    await client.create(CONFIG_MAPS, obj)
    await client.replace(CONFIG_MAPS, {**obj, "data": {"a": "b"}})


async def test_secrets_take_plain_text(client: Client) -> None:
    made = await client.create(SECRETS, new_object(SECRETS, "s", "default", stringData={"a": "1"}))
    assert (made["data"], made["type"]) == ({"a": "MQ=="}, "Opaque")
    assert "stringData" not in made


async def test_a_collection_is_not_created_into_by_name(client: Client) -> None:
    with pytest.raises(MethodNotAllowed):
        await client.raw("POST", CONFIG_MAPS.path("default", "c"), body={})
    with pytest.raises(NotFound):
        await client.raw("GET", "/api/v1/nodes/n/nothing")


# --- quotas ------------------------------------------------------------------------------------


async def quota(client: Client, **hard: str) -> None:
    named = {key.replace("__", "."): value for key, value in hard.items()}
    await client.create(
        RESOURCE_QUOTAS, new_object(RESOURCE_QUOTAS, "q", "default", spec={"hard": named})
    )


async def test_a_quota_counts_objects(client: Client) -> None:
    await quota(client, pods="2")
    for name in ("a", "b"):
        await client.create(PODS, pod(name))
    with pytest.raises(Forbidden, match="exceeded quota: q, requested: pods=1, used: pods=2"):
        await client.create(PODS, pod("c"))
    await client.delete(PODS, "a", "default")
    await client.create(PODS, pod("c"))


async def test_a_quota_adds_up_requests(client: Client) -> None:
    await quota(client, requests__cpu="1", requests__memory="1Gi")
    await client.create(PODS, pod("a", cpu="600m", memory="512Mi"))
    with pytest.raises(Forbidden, match=r"requested: requests\.cpu=500m, used: requests\.cpu=600m"):
        await client.create(PODS, pod("b", cpu="500m", memory="1Mi"))
    with pytest.raises(Forbidden, match=r"must specify requests\.cpu for: main"):
        await client.create(PODS, pod("c", memory="1Mi"))


async def test_a_finished_pod_frees_its_place(client: Client) -> None:
    await quota(client, pods="1")
    await client.create(PODS, pod("a"))
    await client.patch_status(PODS, "a", {"phase": "Succeeded"}, "default")
    await client.create(PODS, pod("b"))


async def test_the_last_place_is_given_once(client: Client) -> None:
    await quota(client, pods="3")
    made = await asyncio.gather(
        *(client.create(PODS, pod(f"p{i}")) for i in range(10)), return_exceptions=True
    )
    assert sum(isinstance(one, dict) for one in made) == 3


async def test_limit_ranges_complete_and_bound_containers(client: Client) -> None:
    limit = {"type": "Container", "default": {"cpu": "1"}, "max": {"cpu": "2"}}
    spec = {"limits": [{**limit, "defaultRequest": {"cpu": "100m"}}]}
    await client.create(LIMIT_RANGES, new_object(LIMIT_RANGES, "l", "default", spec=spec))
    made = await client.create(PODS, pod())
    resources = made["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}
    large = pod("large")
    large["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "3"}}
    with pytest.raises(Forbidden, match="maximum cpu usage per Container is 2, but limit is 3"):
        await client.create(PODS, large)


async def test_a_claim_gets_the_default_storage_class(client: Client) -> None:
    marked = {"storageclass.kubernetes.io/is-default-class": "true"}
    obj = new_object(STORAGE_CLASSES, "local", annotations=marked, provisioner="kubeling.io/local")
    await client.create(STORAGE_CLASSES, obj)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = new_object(PERSISTENT_VOLUME_CLAIMS, "c", "default", spec=spec)
    made = await client.create(PERSISTENT_VOLUME_CLAIMS, claim)
    assert made["spec"]["storageClassName"] == "local"
    assert made["status"] == {"phase": "Pending"}


# --- what the server gives ---------------------------------------------------------------------


def service(name: str, kind: str = "ClusterIP") -> Obj:
    return new_object(SERVICES, name, "default", spec={"type": kind, "ports": [{"port": 80}]})


async def test_services_get_addresses_of_their_own_and_keep_them(client: Client) -> None:
    made = [await client.create(SERVICES, service(f"s{i}", "NodePort")) for i in range(3)]
    assert len({one["spec"]["clusterIP"] for one in made}) == 3
    assert len({one["spec"]["ports"][0]["nodePort"] for one in made}) == 3
    replaced = await client.replace(SERVICES, service("s0", "NodePort"))
    assert replaced["spec"] == made[0]["spec"]
    taken = service("s9")
    taken["spec"]["clusterIP"] = made[0]["spec"]["clusterIP"]
    with pytest.raises(Invalid, match="already allocated"):
        await client.create(SERVICES, taken)


async def test_addresses_survive_a_restart(running: RunningServer) -> None:
    made = await running.client.create(SERVICES, service("a"))
    await running.server.stop()
    async with running_server(data_dir=running.data_dir) as again:
        other = await again.client.create(SERVICES, service("b"))
        assert other["spec"]["clusterIP"] != made["spec"]["clusterIP"]


async def test_headless_services_have_no_address(client: Client) -> None:
    obj = service("s")
    obj["spec"]["clusterIP"] = "None"
    assert (await client.create(SERVICES, obj))["spec"]["clusterIPs"] == ["None"]


async def test_what_a_namespace_comes_with_returns_when_deleted(client: Client) -> None:
    start = (await client.list(SERVICE_ACCOUNTS)).resource_version
    await client.delete(SERVICE_ACCOUNTS, "default", "default")
    types = []
    async for event in client.watch(SERVICE_ACCOUNTS, resource_version=start):
        types.append(event.type)
        if event.type == "ADDED":
            break
    assert types == ["DELETED", "ADDED"]


async def test_the_namespaces_the_platform_stands_on_stay(client: Client) -> None:
    with pytest.raises(Forbidden, match="may not be deleted"):
        await client.delete(NAMESPACES, "kube-system")


async def test_a_definition_takes_its_objects_with_it(client: Client) -> None:
    held = new_object(WIDGETS, "w", "default", spec={"size": 1})
    held["metadata"]["finalizers"] = ["example.org/hold"]
    await client.create(WIDGETS, held)
    start = (await client.list(CUSTOM_RESOURCE_DEFINITIONS)).resource_version
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS.qualified)
    async for event in client.watch(WIDGETS):
        if "deletionTimestamp" in event.object["metadata"]:
            break
    assert await client.find(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS.qualified)
    await client.patch(WIDGETS, "w", {"metadata": {"finalizers": None}}, "default")
    async for event in client.watch(CUSTOM_RESOURCE_DEFINITIONS, resource_version=start):
        if event.type == "DELETED":
            break
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await client.list(WIDGETS)


async def test_a_watch_of_a_deleted_definition_tells_of_the_last_object_and_ends(
    client: Client,
) -> None:
    await client.create(WIDGETS, new_object(WIDGETS, "w", "default", spec={"size": 1}))
    watch = client.watch(WIDGETS)
    assert (await anext(watch)).type == "ADDED"
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS.qualified)
    async with asyncio.timeout(30):
        assert [event.type async for event in watch] == ["DELETED"]


async def test_a_definition_is_checked(client: Client) -> None:
    bad = crd(Resource("example.org", "v1", "Gadget", "gadgets"), WidgetSpec)
    bad["metadata"]["name"] = "wrong.example.org"
    with pytest.raises(Invalid, match=r"gadgets\.example\.org"):
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, bad)


# --- deletion ----------------------------------------------------------------------------------


async def test_a_job_keeps_its_pods_unless_told(client: Client) -> None:
    template = {"spec": {**pod()["spec"], "restartPolicy": "Never"}}
    for name, policy, finalizers in (
        ("a", None, ["orphan"]),
        ("b", "Foreground", ["foregroundDeletion"]),
    ):
        await client.create(JOBS, new_object(JOBS, name, "default", spec={"template": template}))
        held = await client.delete(JOBS, name, "default", propagation=policy)  # type: ignore[arg-type]
        assert held["metadata"]["finalizers"] == finalizers


# --- two faces of one object -------------------------------------------------------------------


async def test_events_have_two_groups_and_one_store(client: Client) -> None:
    modern = Resource("events.k8s.io", "v1", "Event", "events")
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    moment = "2026-01-01T00:00:00.000000Z"
    who = {"reportingController": "example.org/c", "reportingInstance": "i"}
    what = {"action": "A", "reason": "R", "type": "Normal", "note": "hello", "eventTime": moment}
    event = new_object(modern, "e", "default", regarding=about, **what, **who)
    await client.create(modern, event)
    found = await client.list(EVENTS, fields="involvedObject.name=p")
    assert [e["message"] for e in found.items] == ["hello"]
    assert (await client.get(modern, "e", "default"))["note"] == "hello"


async def test_autoscalers_have_two_versions_and_lose_nothing(client: Client) -> None:
    first = Resource("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    await client.create(first, new_object(first, "h", "default", spec=spec))
    status = {
        "currentReplicas": 1,
        "desiredReplicas": 1,
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    }
    await client.patch_status(HORIZONTAL_POD_AUTOSCALERS, "h", status, "default")
    await client.patch(first, "h", {"spec": {"maxReplicas": 5}}, "default")
    found = await client.get(HORIZONTAL_POD_AUTOSCALERS, "h", "default")
    assert found["spec"]["maxReplicas"] == 5
    assert found["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert found["status"]["conditions"][0]["type"] == "AbleToScale"


async def test_unknown_fields_are_refused_where_strictness_is_asked(client: Client) -> None:
    obj = pod()
    obj["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(BadRequest, match=r'unknown field "spec.containers\[0\].imagee"'):
        await client.raw(
            "POST", PODS.path("default"), query={"fieldValidation": "Strict"}, body=obj
        )
