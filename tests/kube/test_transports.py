"""What every transport promises, held against both: in process and over HTTPS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.support.apiserver import running_server

from kubeling.kube import config
from kubeling.kube.client import Client
from kubeling.kube.crd import Scale, crd
from kubeling.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    UnsupportedMediaType,
)
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    Resource,
)
from kubeling.kube.transport import TABLE, WatchEvent

WIDGETS = Resource("example.org", "v1", "Widget", "widgets", short_names=("wd",))


class WidgetSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a widget should be."""

    size: int
    replicas: int = 1
    colour: str = "red"
    parts: list[str] = []


class WidgetStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a widget is."""

    replicas: int | None = None
    phase: str = ""


@pytest.fixture(params=["local", "https"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    definition = crd(WIDGETS, WidgetSpec, WidgetStatus, scale=Scale())
    https = request.param == "https"
    async with running_server(crds=[definition], https=https) as running:
        if not https:
            yield running.client
            return
        client = Client(HttpsTransport(config.load_kubeconfig(running.kubeconfig)), "test")
        yield client
        await client.close()


def widget(name: str = "w", **spec: object) -> Obj:
    return new_object(WIDGETS, name, "default", spec={"size": 1, **spec})


def config_map(name: str = "c", **data: str) -> Obj:
    return new_object(CONFIG_MAPS, name, "default", data=data)


def pod(name: str = "p") -> Obj:
    containers = [{"name": "main", "image": "busybox"}]
    return new_object(PODS, name, "default", labels={"app": name}, spec={"containers": containers})


# --- creating and reading ---------------------------------------------------------------------


async def test_a_created_object_has_an_identity_and_reads_back_the_same(client: Client) -> None:
    created = await client.create(CONFIG_MAPS, config_map(a="1"))
    assert created["metadata"]["uid"]
    assert created["metadata"]["creationTimestamp"].endswith("Z")
    assert int(created["metadata"]["resourceVersion"]) > 0
    assert await client.get(CONFIG_MAPS, "c", "default") == created


async def test_answers_belong_to_the_caller(client: Client) -> None:
    created = await client.create(CONFIG_MAPS, config_map(a="1"))
    created["data"]["a"] = "changed by the caller"
    assert (await client.get(CONFIG_MAPS, "c", "default"))["data"] == {"a": "1"}


async def test_a_given_object_stays_the_callers(client: Client) -> None:
    mine = config_map(a="1")
    await client.create(CONFIG_MAPS, mine)
    mine["data"]["a"] = "2"
    assert mine["metadata"] == {"name": "c", "namespace": "default"}
    assert (await client.get(CONFIG_MAPS, "c", "default"))["data"] == {"a": "1"}


async def test_creating_twice_is_refused(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map())
    with pytest.raises(AlreadyExists, match='configmaps "c" already exists'):
        await client.create(CONFIG_MAPS, config_map())


async def test_generated_names_are_unique(client: Client) -> None:
    obj = {"metadata": {"generateName": "job-", "namespace": "default"}}
    made = await asyncio.gather(*(client.create(CONFIG_MAPS, obj) for _ in range(20)))
    names = {one["metadata"]["name"] for one in made}
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_what_does_not_exist_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match='pods "nope" not found') as caught:
        await client.get(PODS, "nope", "default")
    assert caught.value.details == {"name": "nope", "kind": "pods"}


async def test_a_kind_nobody_serves_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await client.list(Resource("nobody.example", "v1", "Nothing", "nothings"))


async def test_an_object_needs_its_namespace(client: Client) -> None:
    with pytest.raises(NotFound, match='namespaces "absent" not found'):
        await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "absent"))


async def test_the_body_must_agree_with_the_address(client: Client) -> None:
    with pytest.raises(BadRequest, match="namespace of the provided object does not match"):
        await client.create(CONFIG_MAPS, config_map(), "kube-system")


async def test_a_dry_run_leaves_nothing(client: Client) -> None:
    created = await client.create(CONFIG_MAPS, config_map(), dry_run=True)
    assert created["metadata"]["uid"]
    assert await client.find(CONFIG_MAPS, "c", "default") is None


async def test_an_invalid_object_is_refused_field_by_field(client: Client) -> None:
    with pytest.raises(Invalid) as caught:
        await client.create(WIDGETS, new_object(WIDGETS, "w", "default", spec={"colour": 3}))
    fields = {cause["field"]: cause["reason"] for cause in caught.value.details["causes"]}
    assert fields == {"spec.size": "FieldValueRequired", "spec.colour": "FieldValueInvalid"}


async def test_defaults_are_filled_in(client: Client) -> None:
    made = await client.create(WIDGETS, widget())
    assert made["spec"] == {"size": 1, "replicas": 1, "colour": "red"}
    made = await client.create(PODS, pod())
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["serviceAccountName"] == "default"
    assert made["status"]["phase"] == "Pending"


async def test_unknown_fields_are_dropped(client: Client) -> None:
    made = await client.create(WIDGETS, widget(unknown=1))
    assert "unknown" not in made["spec"]


# --- lists -------------------------------------------------------------------------------------


async def test_lists_select_by_label_field_and_namespace(client: Client) -> None:
    for name in ("a", "b"):
        await client.create(PODS, pod(name))
    assert [p["metadata"]["name"] for p in (await client.list(PODS, "default")).items] == ["a", "b"]
    by_label = await client.list(PODS, labels="app in (a)")
    assert [p["metadata"]["name"] for p in by_label.items] == ["a"]
    by_field = await client.list(PODS, fields="metadata.name=b,status.phase=Pending")
    assert [p["metadata"]["name"] for p in by_field.items] == ["b"]
    assert (await client.list(PODS, "kube-system")).items == []
    with pytest.raises(BadRequest, match="field label not supported"):
        await client.list(PODS, fields="spec.colour=red")


async def test_pages_show_one_moment(client: Client) -> None:
    for index in range(5):
        await client.create(WIDGETS, widget(f"w{index}"))
    first = await client.list(WIDGETS, limit=2)
    await client.create(WIDGETS, widget("w22"))
    await client.delete(WIDGETS, "w3", "default")
    await client.patch(WIDGETS, "w4", {"spec": {"size": 9}}, "default")
    second = await client.list(WIDGETS, limit=2, continue_token=first.continue_token)
    third = await client.list(WIDGETS, limit=2, continue_token=second.continue_token)
    seen = [*first.items, *second.items, *third.items]
    assert [w["metadata"]["name"] for w in seen] == ["w0", "w1", "w2", "w3", "w4"]
    assert seen[-1]["spec"]["size"] == 1
    assert third.continue_token == ""


# --- updates -----------------------------------------------------------------------------------


async def test_a_stale_replacement_is_a_conflict(client: Client) -> None:
    first = await client.create(CONFIG_MAPS, config_map(a="1"))
    second = await client.replace(CONFIG_MAPS, {**first, "data": {"a": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    with pytest.raises(Conflict, match="the object has been modified"):
        await client.replace(CONFIG_MAPS, {**first, "data": {"a": "3"}})


async def test_writing_the_same_again_changes_nothing(client: Client) -> None:
    made = await client.create(WIDGETS, widget())
    assert await client.replace(WIDGETS, made) == made
    assert await client.patch(WIDGETS, "w", {"spec": {"size": 1}}, "default") == made


async def test_the_generation_counts_changes_of_the_spec(client: Client) -> None:
    made = await client.create(WIDGETS, widget())
    assert made["metadata"]["generation"] == 1
    labelled = await client.patch(WIDGETS, "w", {"metadata": {"labels": {"a": "b"}}}, "default")
    assert labelled["metadata"]["generation"] == 1
    resized = await client.patch(WIDGETS, "w", {"spec": {"size": 2}}, "default")
    assert resized["metadata"]["generation"] == 2


async def test_patches_of_every_kind(client: Client) -> None:
    await client.create(PODS, pod())
    merged = await client.patch(PODS, "p", {"metadata": {"labels": {"x": "1"}}}, "default")
    assert merged["metadata"]["labels"] == {"app": "p", "x": "1"}
    operations = [{"op": "remove", "path": "/metadata/labels/x"}]
    changed = await client.patch(PODS, "p", operations, "default", type="json")
    assert changed["metadata"]["labels"] == {"app": "p"}
    strategic = {"spec": {"containers": [{"name": "main", "image": "alpine"}]}}
    patched = await client.patch(PODS, "p", strategic, "default", type="strategic")
    assert [c["image"] for c in patched["spec"]["containers"]] == ["alpine"]
    assert patched["spec"]["containers"][0]["resources"] == {}


async def test_custom_resources_take_no_strategic_patch(client: Client) -> None:
    await client.create(WIDGETS, widget())
    with pytest.raises(UnsupportedMediaType, match=r"merge-patch\+json"):
        await client.patch(WIDGETS, "w", {"spec": {"size": 2}}, "default", type="strategic")


async def test_a_patch_that_fails_its_test_is_refused(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map(a="1"))
    operations = [{"op": "test", "path": "/data/a", "value": "2"}]
    with pytest.raises(Invalid):
        await client.patch(CONFIG_MAPS, "c", operations, "default", type="json")


async def test_concurrent_patches_all_count(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map())
    patches = [
        client.patch(CONFIG_MAPS, "c", {"data": {f"k{i}": str(i)}}, "default") for i in range(25)
    ]
    await asyncio.gather(*patches)
    assert len((await client.get(CONFIG_MAPS, "c", "default"))["data"]) == 25


async def test_status_and_spec_are_written_apart(client: Client) -> None:
    made = await client.create(WIDGETS, {**widget(), "status": {"phase": "ignored"}})
    assert "status" not in made
    done = await client.replace_status(
        WIDGETS, {**made, "spec": {"size": 7}, "status": {"phase": "Ready"}}
    )
    assert done["spec"]["size"] == 1
    assert done["status"] == {"phase": "Ready"}
    assert done["metadata"]["generation"] == 1
    kept = await client.patch(
        WIDGETS, "w", {"spec": {"size": 2}, "status": {"phase": "Lost"}}, "default"
    )
    assert kept["status"] == {"phase": "Ready"}


async def test_scale_reads_and_writes_replicas(client: Client) -> None:
    await client.create(WIDGETS, widget(replicas=2))
    assert (await client.get_scale(WIDGETS, "w", "default"))["spec"] == {"replicas": 2}
    scaled = await client.set_scale(WIDGETS, "w", "default", 5)
    assert scaled["spec"] == {"replicas": 5}
    found = await client.get(WIDGETS, "w", "default")
    assert found["spec"]["replicas"] == 5
    assert found["metadata"]["generation"] == 2


async def test_scale_of_a_deployment_names_its_selector(client: Client) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    await client.create(DEPLOYMENTS, new_object(DEPLOYMENTS, "web", "default", spec=spec))
    scale = await client.get_scale(DEPLOYMENTS, "web", "default")
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}


# --- server-side apply -------------------------------------------------------------------------


async def test_apply_creates_then_owns_what_it_states(client: Client) -> None:
    made = await client.apply(WIDGETS, widget(colour="blue"), field_manager="a")
    assert made["spec"]["colour"] == "blue"
    again = await client.apply(WIDGETS, widget(), field_manager="a")
    assert again["spec"]["colour"] == "red"
    assert await client.apply(WIDGETS, widget(), field_manager="a") == again


async def test_apply_refuses_to_take_anothers_field_unless_forced(client: Client) -> None:
    await client.apply(WIDGETS, widget(), field_manager="a")
    with pytest.raises(Conflict, match='conflict with "a"') as caught:
        await client.apply(WIDGETS, widget(size=2), field_manager="b", force=False)
    causes = caught.value.details["causes"]
    assert [(c["reason"], c["field"]) for c in causes] == [("FieldManagerConflict", ".spec.size")]
    forced = await client.apply(WIDGETS, widget(size=2), field_manager="b", force=True)
    assert forced["spec"]["size"] == 2


async def test_a_status_is_applied_by_its_own_manager(client: Client) -> None:
    await client.apply(WIDGETS, widget(), field_manager="user")
    report = {**widget(), "status": {"phase": "Ready"}}
    applied = await client.apply(WIDGETS, report, field_manager="robot", subresource="status")
    assert applied["status"] == {"phase": "Ready"}
    owners = {e["manager"]: e for e in applied["metadata"]["managedFields"]}
    assert owners["robot"]["subresource"] == "status"
    assert "f:status" in owners["robot"]["fieldsV1"]
    again = await client.apply(WIDGETS, widget(colour="blue"), field_manager="user")
    assert again["status"] == {"phase": "Ready"}


async def test_a_manifest_applied_again_drops_what_it_no_longer_states(client: Client) -> None:
    labelled = config_map(a="1", b="2")
    await client.apply(CONFIG_MAPS, labelled, field_manager="user")
    await client.patch(CONFIG_MAPS, "c", {"data": {"c": "3"}}, "default")
    left = await client.apply(CONFIG_MAPS, config_map(a="1"), field_manager="user")
    assert left["data"] == {"a": "1", "c": "3"}


# --- deletion ----------------------------------------------------------------------------------


async def test_deleting_removes(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config_map())
    answer = await client.delete(CONFIG_MAPS, "c", "default")
    assert answer["status"] == "Success"
    assert answer["details"]["uid"] == made["metadata"]["uid"]
    assert await client.delete(CONFIG_MAPS, "c", "default", missing_ok=True) == {}
    with pytest.raises(NotFound):
        await client.delete(CONFIG_MAPS, "c", "default")


async def test_a_namesake_is_not_deleted(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map())
    with pytest.raises(Conflict, match="Precondition failed: UID"):
        await client.delete(CONFIG_MAPS, "c", "default", uid="another")


async def test_finalizers_hold_an_object_until_the_last_is_gone(client: Client) -> None:
    obj = widget()
    obj["metadata"]["finalizers"] = ["example.org/a"]
    await client.create(WIDGETS, obj)
    held = await client.delete(WIDGETS, "w", "default")
    assert held["metadata"]["deletionTimestamp"]
    added = {"metadata": {"finalizers": ["example.org/a", "example.org/b"]}}
    with pytest.raises(Invalid, match="no new finalizers can be added"):
        await client.patch(WIDGETS, "w", added, "default")
    await client.patch(WIDGETS, "w", {"metadata": {"finalizers": None}}, "default")
    assert await client.find(WIDGETS, "w", "default") is None


async def test_a_running_pod_is_given_its_grace_period(client: Client) -> None:
    await client.create(PODS, pod())
    await client.create_subresource(PODS, "p", "default", "binding", {"target": {"name": "n"}})
    leaving = await client.delete(PODS, "p", "default")
    assert leaving["metadata"]["deletionGracePeriodSeconds"] == 30
    await client.delete(PODS, "p", "default", grace_period_seconds=0)
    assert await client.find(PODS, "p", "default") is None


async def test_propagation_is_left_to_the_garbage_collector(client: Client) -> None:
    await client.create(DEPLOYMENTS, _deployment())
    held = await client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
    assert held["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_a_collection_is_deleted_by_selector(client: Client) -> None:
    for name in ("a", "b"):
        await client.create(PODS, pod(name))
    await client.delete_collection(PODS, "default", labels="app=a")
    assert [p["metadata"]["name"] for p in (await client.list(PODS)).items] == ["b"]


# --- watches -----------------------------------------------------------------------------------


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    """The first so many events."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(5):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    await events.aclose()  # type: ignore[attr-defined]
    return found


def seen(events: list[WatchEvent]) -> list[tuple[str, str]]:
    return [(event.type, event.object["metadata"]["name"]) for event in events]


async def test_a_watch_tells_every_change_in_order(client: Client) -> None:
    start = (await client.list(WIDGETS)).resource_version
    await client.create(WIDGETS, widget())
    await client.patch(WIDGETS, "w", {"spec": {"size": 2}}, "default")
    await client.delete(WIDGETS, "w", "default")
    events = await take(client.watch(WIDGETS, resource_version=start), 3)
    assert seen(events) == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_a_watch_without_a_version_begins_with_what_is_there(client: Client) -> None:
    await client.create(WIDGETS, widget("a"))
    events = client.watch(WIDGETS)
    reading = asyncio.create_task(take(events, 2))
    await asyncio.sleep(0)
    await client.create(WIDGETS, widget("b"))
    assert seen(await reading) == [("ADDED", "a"), ("ADDED", "b")]


async def test_selectors_turn_entering_and_leaving_into_events(client: Client) -> None:
    await client.create(PODS, pod())
    start = (await client.list(PODS)).resource_version
    await client.patch(PODS, "p", {"metadata": {"labels": {"app": "other"}}}, "default")
    await client.patch(PODS, "p", {"metadata": {"labels": {"app": "p"}}}, "default")
    events = await take(client.watch(PODS, resource_version=start, labels="app=p"), 2)
    assert seen(events) == [("DELETED", "p"), ("ADDED", "p")]


async def test_a_watch_ends_when_its_time_is_up(client: Client) -> None:
    async with asyncio.timeout(5):
        assert [event async for event in client.watch(PODS, timeout_seconds=1)] == []


async def test_bookmarks_tell_the_version_at_the_state_s_end_and_the_watch_s(
    client: Client,
) -> None:
    async with asyncio.timeout(5):
        watch = client.watch(PODS, timeout_seconds=1, bookmarks=True)
        events = [event async for event in watch]
    assert [event.type for event in events] == ["BOOKMARK", "BOOKMARK"]
    assert "annotations" in events[0].object["metadata"], "the end of the state there was"


async def test_a_version_from_elsewhere_is_expired(client: Client) -> None:
    with pytest.raises(Expired, match="too old resource version"):
        await take(client.watch(PODS, resource_version="999999999"), 1)


# --- namespaces --------------------------------------------------------------------------------


async def test_a_new_namespace_is_furnished(client: Client) -> None:
    made = await client.create(NAMESPACES, new_object(NAMESPACES, "team"))
    assert made["status"] == {"phase": "Active"}
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert await client.get(SERVICE_ACCOUNTS, "default", "team")
    authority = await client.get(CONFIG_MAPS, "kube-root-ca.crt", "team")
    assert "BEGIN CERTIFICATE" in authority["data"]["ca.crt"]


async def test_a_namespace_that_ends_takes_nothing_new(client: Client) -> None:
    await client.create(NAMESPACES, new_object(NAMESPACES, "team"))
    ending = await client.delete(NAMESPACES, "team")
    assert ending["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden, match="being terminated") as caught:
        await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "team"))
    assert caught.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    ending["spec"]["finalizers"] = []
    await client.replace(NAMESPACES, ending, subresource="finalize")
    assert await client.find(NAMESPACES, "team") is None


# --- tables and discovery ----------------------------------------------------------------------


async def test_tables_show_the_columns_of_a_kind(client: Client) -> None:
    await client.create(PODS, pod())
    table = await client.raw("GET", PODS.path("default"), accept=TABLE)
    names = [column["name"] for column in table["columnDefinitions"]]
    assert names[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert table["rows"][0]["cells"][:3] == ["p", "0/1", "Pending"]


async def test_discovery_names_what_is_served(client: Client) -> None:
    groups = await client.raw("GET", "/apis")
    assert "example.org" in {group["name"] for group in groups["groups"]}
    resources = (await client.raw("GET", "/apis/example.org/v1"))["resources"]
    assert [r["name"] for r in resources] == ["widgets", "widgets/scale", "widgets/status"]
    assert resources[0]["shortNames"] == ["wd"]
    assert (await client.raw("GET", "/version"))["gitVersion"].startswith("v1.")


async def test_a_new_definition_is_served_at_once(client: Client) -> None:
    gadgets = Resource("example.org", "v1", "Gadget", "gadgets")
    definitions = Resource(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        False,
    )
    made = await client.create(definitions, crd(gadgets, WidgetSpec))
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    await client.create(gadgets, new_object(gadgets, "g", "default", spec={"size": 1}))
    assert len((await client.list(gadgets)).items) == 1


def _deployment() -> Obj:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return new_object(DEPLOYMENTS, "web", "default", spec=spec)


async def test_what_is_done_in_anothers_name_is_judged_by_their_rights(client: Client) -> None:
    account = client.acting_as("system:serviceaccount:default:default")
    with pytest.raises(Forbidden, match="system:serviceaccount:default:default"):
        await account.create(CONFIG_MAPS, config_map())
    await client.create(
        ROLE_BINDINGS,
        new_object(
            ROLE_BINDINGS,
            "editor",
            "default",
            roleRef={
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "edit",
            },
            subjects=[{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
        ),
    )
    await account.create(CONFIG_MAPS, config_map())
    await account.close()
    assert await client.find(CONFIG_MAPS, "c", "default")
