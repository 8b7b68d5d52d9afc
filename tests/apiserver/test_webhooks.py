"""Users' admission webhooks: who is asked about what, and what the answers do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.support.apiserver import RunningServer, running_server
from tests.support.webhooks import WebhookServer, allow, patch, webhook_server

from kubeling.apiserver.query import Query
from kubeling.apiserver.requests import ApiRequest
from kubeling.apiserver.user import ADMIN
from kubeling.kube.client import Client
from kubeling.kube.crd import Version, crd
from kubeling.kube.errors import ApiError, Conflict, Forbidden, InternalError, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
)

GROUP = "admissionregistration.k8s.io"
MUTATING = Resource(
    GROUP, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False
)
VALIDATING = Resource(
    GROUP, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
)
CONFIG_MAP_RULE = {
    "operations": ["CREATE", "UPDATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["configmaps"],
}


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


@pytest.fixture
def client(running: RunningServer) -> Client:
    return running.client


def webhook(client_config: Obj, name: str = "hook.example.org", **fields: Any) -> Obj:
    return {
        "name": name,
        "clientConfig": client_config,
        "rules": [CONFIG_MAP_RULE],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }


def rule(*resources: str, operations: tuple[str, ...] = ("*",), **fields: Any) -> Obj:
    return {
        "operations": list(operations),
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": list(resources),
        **fields,
    }


async def configure(client: Client, resource: Resource, *webhooks: Obj, name: str = "c") -> None:
    await client.create(resource, new_object(resource, name, webhooks=list(webhooks)))


def config_map(name: str = "m", namespace: str = "default", **data: str) -> Obj:
    return new_object(CONFIG_MAPS, name, namespace, data=data)


def label(key: str, value: str) -> Obj:
    return {"op": "add", "path": "/metadata/labels", "value": {key: value}}


def datum(key: str, value: str) -> Obj:
    return {"op": "add", "path": f"/data/{key}", "value": value}


def deny(message: str = "", **status: Any) -> Obj:
    return {"allowed": False, "status": {"message": message, **status}}


class TestWhatIsAsked:
    async def test_a_creation_is_described_in_full(self, running: RunningServer) -> None:
        user = running.client_of("ann", "staff", "system:masters")
        async with webhook_server(v=allow) as server:
            await configure(running.client, VALIDATING, webhook(server.url("/v")))
            await user.create(CONFIG_MAPS, config_map(a="1"))
        (request,) = server.requests
        kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
        resource = {"group": "", "version": "v1", "resource": "configmaps"}
        assert request["kind"] == request["requestKind"] == kind
        assert request["resource"] == request["requestResource"] == resource
        assert (request["name"], request["namespace"]) == ("m", "default")
        assert request["operation"] == "CREATE"
        assert request["userInfo"]["username"] == "ann"
        assert "staff" in request["userInfo"]["groups"]
        assert request["object"]["data"] == {"a": "1"}
        assert request["object"]["metadata"]["uid"]
        assert request["oldObject"] is None
        assert request["dryRun"] is False
        assert request["options"]["kind"] == "CreateOptions"
        assert "subResource" not in request

    async def test_an_update_shows_both_states_and_a_deletion_the_last(
        self, client: Client
    ) -> None:
        await client.create(CONFIG_MAPS, config_map(a="1"))
        async with webhook_server(v=allow) as server:
            rules = [rule("configmaps")]
            await configure(client, VALIDATING, webhook(server.url("/v"), rules=rules))
            await client.patch(CONFIG_MAPS, "m", {"data": {"a": "2"}}, "default")
            await client.delete(CONFIG_MAPS, "m", "default")
        update, deletion = server.requests
        assert update["oldObject"]["data"] == {"a": "1"}
        assert update["object"]["data"] == {"a": "2"}
        assert deletion["operation"] == "DELETE"
        assert deletion["object"] is None
        assert deletion["oldObject"]["data"] == {"a": "2"}
        assert deletion["options"]["kind"] == "DeleteOptions"
        assert deletion["kind"]["kind"] == "ConfigMap"

    async def test_a_mutating_webhook_sees_a_new_object_complete_but_without_identity(
        self, client: Client
    ) -> None:
        pod = new_object(PODS, "", "default", spec={"containers": [{"name": "c", "image": "x"}]})
        pod["metadata"] = {"generateName": "p-"}
        async with webhook_server(m=allow) as server:
            await configure(client, MUTATING, webhook(server.url("/m"), rules=[rule("pods")]))
            await client.create(PODS, pod, namespace="default")
        (request,) = server.requests
        assert "name" not in request
        assert "name" not in request["object"]["metadata"]
        assert "uid" not in request["object"]["metadata"]
        assert request["object"]["spec"]["restartPolicy"] == "Always"
        assert request["object"]["spec"]["serviceAccountName"] == "default"

    async def test_dry_run_is_said_and_stores_nothing(self, client: Client) -> None:
        async with webhook_server(m=lambda _: patch(datum("b", "2"))) as server:
            await configure(client, MUTATING, webhook(server.url("/m"), sideEffects="NoneOnDryRun"))
            made = await client.create(CONFIG_MAPS, config_map(a="1"), dry_run=True)
        assert made["data"] == {"a": "1", "b": "2"}
        assert server.requests[0]["dryRun"] is True
        assert server.requests[0]["options"]["dryRun"] == ["All"]
        assert await client.find(CONFIG_MAPS, "m", "default") is None


class TestMutating:
    async def test_patches_are_made_in_the_order_of_the_configurations_names(
        self, client: Client
    ) -> None:
        def after(request: Obj) -> Obj:
            return patch(datum("order", request["object"]["data"].get("order", "") + "b"))

        async with webhook_server(a=lambda _: patch(datum("order", "a")), b=after) as server:
            await configure(client, MUTATING, webhook(server.url("/b")), name="second")
            await configure(client, MUTATING, webhook(server.url("/a")), name="first")
            made = await client.create(CONFIG_MAPS, config_map(x="1"))
        assert made["data"]["order"] == "ab"
        assert server.paths == ["/a", "/b"]

    async def test_it_may_supply_what_validation_requires(self, client: Client) -> None:
        pod = new_object(PODS, "p", "default", spec={"containers": [{"name": "c"}]})
        fix = {"op": "add", "path": "/spec/containers/0/image", "value": "nginx"}
        async with webhook_server(m=lambda _: patch(fix)) as server:
            await configure(client, MUTATING, webhook(server.url("/m"), rules=[rule("pods")]))
            made = await client.create(PODS, pod)
        assert made["spec"]["containers"][0]["image"] == "nginx"

    async def test_what_it_makes_is_completed_and_judged(self, client: Client) -> None:
        pod = new_object(
            PODS, "p", "default", spec={"containers": [{"name": "c", "image": "nginx"}]}
        )
        sidecar = {"op": "add", "path": "/spec/containers/-", "value": {"name": "s", "image": "x"}}
        answers = [patch(sidecar), patch({**sidecar, "value": {"name": "S P"}})]
        async with webhook_server(m=lambda _: answers.pop(0)) as server:
            await configure(client, MUTATING, webhook(server.url("/m"), rules=[rule("pods")]))
            made = await client.create(PODS, pod)
            assert made["spec"]["containers"][1]["imagePullPolicy"] == "Always"
            other = new_object(PODS, "q", "default", spec=pod["spec"])
            with pytest.raises(Invalid, match=r"spec.containers\[1\].name"):
                await client.create(PODS, other)

    async def test_the_writer_owns_what_it_wrote_only(self, client: Client) -> None:
        async with webhook_server(m=lambda _: patch(datum("b", "2"))) as server:
            await configure(client, MUTATING, webhook(server.url("/m")))
            made = await client.create(CONFIG_MAPS, config_map(a="1"))
            changed = await client.patch(CONFIG_MAPS, "m", {"data": {"c": "3"}}, "default")
        (entry,) = made["metadata"]["managedFields"]
        assert "f:b" not in entry["fieldsV1"]["f:data"]
        (entry,) = changed["metadata"]["managedFields"]
        assert entry["fieldsV1"]["f:data"].keys() >= {"f:a", "f:c"}
        assert "f:b" not in entry["fieldsV1"]["f:data"]

    async def test_it_changes_what_is_applied(self, client: Client) -> None:
        async with webhook_server(m=lambda _: patch(datum("b", "2"))) as server:
            await configure(client, MUTATING, webhook(server.url("/m")))
            await client.apply(CONFIG_MAPS, config_map(a="1"))
            applied = await client.apply(CONFIG_MAPS, config_map(a="3"))
        assert applied["data"] == {"a": "3", "b": "2"}
        assert [request["operation"] for request in server.requests] == ["CREATE", "UPDATE"]
        (entry,) = applied["metadata"]["managedFields"]
        assert entry["fieldsV1"]["f:data"] == {"f:a": {}}

    async def test_it_is_asked_again_where_another_changed_the_object_after_it(
        self, client: Client
    ) -> None:
        def count(request: Obj) -> Obj:
            return patch(datum("keys", str(len(request["object"]["data"]))))

        async with webhook_server(count=count, add=lambda _: patch(datum("b", "2"))) as server:
            await configure(
                client,
                MUTATING,
                webhook(server.url("/count"), "a.example.org", reinvocationPolicy="IfNeeded"),
                webhook(server.url("/add"), "b.example.org"),
            )
            made = await client.create(CONFIG_MAPS, config_map(a="1"))
        assert server.paths == ["/count", "/add", "/count"]
        assert made["data"]["keys"] == "3"

    async def test_a_scale_is_seen_as_one_and_can_be_changed(self, client: Client) -> None:
        template = {
            "metadata": {"labels": {"app": "w"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        }
        spec = {"selector": {"matchLabels": {"app": "w"}}, "template": template}
        await client.create(DEPLOYMENTS, new_object(DEPLOYMENTS, "w", "default", spec=spec))
        at_most = patch({"op": "replace", "path": "/spec/replicas", "value": 3})
        async with webhook_server(m=lambda _: at_most) as server:
            rules = [rule("deployments/scale")]
            await configure(client, MUTATING, webhook(server.url("/m"), rules=rules))
            scale = await client.set_scale(DEPLOYMENTS, "w", "default", 10)
        assert scale["spec"]["replicas"] == 3
        (request,) = server.requests
        assert request["subResource"] == "scale"
        assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        assert request["object"]["spec"] == {"replicas": 10}
        assert request["oldObject"]["spec"] == {"replicas": 1}

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ({"allowed": True, "patch": "W10="}, "response.patch but not response.patchType"),
            ({"allowed": True, "patchType": "JSONPatch"}, "patchType but not response.patch"),
            ({"allowed": True, "uid": "other"}, 'expected response.uid="'),
            (web.json_response({"kind": "AdmissionReview"}), "expected webhook response of"),
            (web.Response(text="hello"), "failed to call webhook"),
            (patch({"op": "remove", "path": "/data/none"}), "the server rejected our request"),
        ],
    )
    async def test_an_answer_that_is_none_refuses(
        self, client: Client, answer: Any, message: str
    ) -> None:
        async with webhook_server(m=lambda _: answer) as server:
            await configure(client, MUTATING, webhook(server.url("/m")))
            with pytest.raises(InternalError, match="Internal error occurred: ") as caught:
                await client.create(CONFIG_MAPS, config_map(a="1"))
        assert message in caught.value.message


class TestValidating:
    @pytest.mark.parametrize(
        ("answer", "code", "message"),
        [
            (deny("no cats"), 400, "denied the request: no cats"),
            (deny("no", code=403, reason="Forbidden"), 403, "denied the request: no"),
            (deny(reason="Busy", code=429), 429, "denied the request: Busy"),
            ({"allowed": False}, 400, "denied the request without explanation"),
            (deny("odd", code=200), 400, "denied the request: odd"),
        ],
    )
    async def test_a_refusal_is_told_in_its_own_words(
        self, client: Client, answer: Obj, code: int, message: str
    ) -> None:
        async with webhook_server(v=lambda _: answer) as server:
            await configure(client, VALIDATING, webhook(server.url("/v")))
            with pytest.raises(ApiError) as caught:
                await client.create(CONFIG_MAPS, config_map())
        assert caught.value.message == f'admission webhook "hook.example.org" {message}'
        assert caught.value.status_code == code
        assert await client.find(CONFIG_MAPS, "m", "default") is None

    async def test_a_refused_change_and_a_refused_deletion_leave_things_alone(
        self, client: Client
    ) -> None:
        made = await client.create(CONFIG_MAPS, config_map(a="1"))
        async with webhook_server(v=lambda _: deny("no")) as server:
            rules = [rule("configmaps", operations=("UPDATE", "DELETE"))]
            await configure(client, VALIDATING, webhook(server.url("/v"), rules=rules))
            with pytest.raises(ApiError, match="denied the request"):
                await client.patch(CONFIG_MAPS, "m", {"data": {"a": "2"}}, "default")
            with pytest.raises(ApiError, match="denied the request"):
                await client.delete(CONFIG_MAPS, "m", "default")
            with pytest.raises(ApiError, match="denied the request"):
                await client.delete_collection(CONFIG_MAPS, "default")
        assert await client.get(CONFIG_MAPS, "m", "default") == made

    async def test_all_are_asked_together(self, client: Client) -> None:
        everyone = asyncio.Barrier(3)

        async def meet(request: Obj) -> Obj:
            async with asyncio.timeout(5):
                await everyone.wait()
            return {"allowed": True}

        async with webhook_server(v=meet) as server:
            webhooks = [webhook(server.url("/v"), f"{letter}.example.org") for letter in "abc"]
            await configure(client, VALIDATING, *webhooks)
            await client.create(CONFIG_MAPS, config_map())
        assert len(server.requests) == 3

    async def test_it_sees_what_the_mutating_ones_made(self, client: Client) -> None:
        async with webhook_server(m=lambda _: patch(datum("b", "2")), v=allow) as server:
            await configure(client, MUTATING, webhook(server.url("/m")))
            await configure(client, VALIDATING, webhook(server.url("/v")))
            await client.create(CONFIG_MAPS, config_map(a="1"))
        assert server.requests[1]["object"]["data"] == {"a": "1", "b": "2"}

    async def test_it_may_not_patch(self, client: Client) -> None:
        async with webhook_server(v=lambda _: patch(datum("b", "2"))) as server:
            await configure(client, VALIDATING, webhook(server.url("/v")))
            with pytest.raises(InternalError, match="may not return response"):
                await client.create(CONFIG_MAPS, config_map())


class TestWhoIsAsked:
    @pytest.mark.parametrize(
        ("wanted", "asked"),
        [
            (rule("*"), True),
            (rule("*/*"), True),
            (rule("configmaps/*"), True),
            (rule("configmaps/status"), False),
            (rule("secrets"), False),
            (rule("configmaps", operations=("UPDATE",)), False),
            (rule("configmaps", scope="Cluster"), False),
            (rule("configmaps", scope="Namespaced"), True),
            ({**rule("configmaps"), "apiGroups": ["apps"]}, False),
            ({**rule("configmaps"), "apiVersions": ["v2"]}, False),
        ],
    )
    async def test_rules(self, client: Client, wanted: Obj, asked: bool) -> None:
        async with webhook_server(v=allow) as server:
            await configure(client, VALIDATING, webhook(server.url("/v"), rules=[wanted]))
            await client.create(CONFIG_MAPS, config_map())
        assert bool(server.requests) == asked

    async def test_the_status_is_a_resource_of_its_own(self, client: Client) -> None:
        containers = [{"name": "c", "image": "x"}]
        await client.create(PODS, new_object(PODS, "p", "default", spec={"containers": containers}))
        async with webhook_server(v=lambda _: deny("no")) as server:
            await configure(client, VALIDATING, webhook(server.url("/v"), rules=[rule("pods")]))
            await client.patch_status(PODS, "p", {"phase": "Running"}, "default")
            await configure(
                client,
                VALIDATING,
                webhook(server.url("/v"), rules=[rule("pods/status")]),
                name="status",
            )
            with pytest.raises(ApiError, match="denied the request"):
                await client.patch_status(PODS, "p", {"phase": "Failed"}, "default")
        assert server.requests[0]["subResource"] == "status"

    async def test_namespaces_and_objects_are_selected_by_their_labels(
        self, client: Client
    ) -> None:
        watched = new_object(NAMESPACES, "watched", labels={"watch": "yes"})
        await client.create(NAMESPACES, watched)
        async with webhook_server(v=allow) as server:
            await configure(
                client,
                VALIDATING,
                webhook(
                    server.url("/v"),
                    rules=[rule("configmaps", "namespaces")],
                    namespaceSelector={"matchLabels": {"watch": "yes"}},
                    objectSelector={
                        "matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]
                    },
                ),
            )
            await client.create(CONFIG_MAPS, config_map("a", "default"))
            await client.create(CONFIG_MAPS, config_map("b", "watched"))
            skipped = new_object(CONFIG_MAPS, "c", "watched", labels={"skip": "yes"})
            await client.create(CONFIG_MAPS, skipped)
            await client.create(NAMESPACES, new_object(NAMESPACES, "d", labels={"watch": "yes"}))
            await client.create(NAMESPACES, new_object(NAMESPACES, "e"))
        assert [request["name"] for request in server.requests] == ["b", "d"]

    async def test_a_rule_for_another_version_gets_the_object_in_that_version(self) -> None:
        current, old = (Resource("example.org", v, "Widget", "widgets") for v in ("v1", "v1beta1"))
        definition = crd(current, dict[str, Any], versions=[Version("v1beta1")])
        rules = [{**rule("widgets"), "apiVersions": ["v1beta1"]}]
        async with running_server(crds=[definition]) as running, webhook_server(v=allow) as server:
            await configure(
                running.client,
                VALIDATING,
                webhook(server.url("/v"), "a.example.org", rules=rules),
                webhook(server.url("/v"), "b.example.org", rules=rules, matchPolicy="Exact"),
            )
            await running.client.create(current, new_object(current, "w", "default", spec={}))
        (request,) = server.requests
        assert request["kind"]["version"] == request["resource"]["version"] == "v1beta1"
        assert request["requestKind"]["version"] == request["requestResource"]["version"] == "v1"
        assert request["object"]["apiVersion"] == old.api_version

    async def test_configurations_themselves_are_never_asked_about(self, client: Client) -> None:
        async with webhook_server(v=lambda _: deny("no")) as server:
            await configure(client, VALIDATING, webhook(server.url("/v"), rules=[rule("*")]))
            await client.patch(VALIDATING, "c", {"metadata": {"labels": {"a": "b"}}})
            await configure(client, MUTATING, name="other")
            await client.delete(VALIDATING, "c")
            await client.create(CONFIG_MAPS, config_map())
        assert server.requests == []

    async def test_configurations_are_known_after_a_restart(self, running: RunningServer) -> None:
        async with webhook_server(v=lambda _: deny("no")) as server:
            await configure(running.client, VALIDATING, webhook(server.url("/v")))
            await running.server.stop()
            async with running_server(data_dir=running.data_dir) as again:
                with pytest.raises(ApiError, match="denied the request"):
                    await again.client.create(CONFIG_MAPS, config_map())


class TestFailure:
    async def test_an_unreachable_webhook_refuses_unless_it_is_to_be_ignored(
        self, client: Client
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        nowhere = {"url": f"https://127.0.0.1:{port}/v"}
        await configure(client, VALIDATING, webhook(nowhere))
        with pytest.raises(InternalError) as caught:
            await client.create(CONFIG_MAPS, config_map())
        assert caught.value.message == (
            'Internal error occurred: failed calling webhook "hook.example.org": failed to call '
            f'webhook: Post "https://127.0.0.1:{port}/v?timeout=10s": '
            f"dial tcp 127.0.0.1:{port}: connect: connection refused"
        )
        await client.delete(VALIDATING, "c")
        await configure(client, VALIDATING, webhook(nowhere, failurePolicy="Ignore"))
        await client.create(CONFIG_MAPS, config_map())

    async def test_an_error_of_its_own_is_passed_on(self, client: Client) -> None:
        async with webhook_server(v=lambda _: web.Response(status=500, text="boom")) as server:
            await configure(client, VALIDATING, webhook(server.url("/v")))
            with pytest.raises(InternalError, match=r'an error on the server \("boom"\)'):
                await client.create(CONFIG_MAPS, config_map())

    async def test_one_that_nobody_vouches_for_is_not_asked(self, client: Client) -> None:
        async with webhook_server(v=allow) as server, webhook_server(v=allow) as other:
            config = {**server.url("/v"), "caBundle": other.ca_bundle}
            await configure(client, VALIDATING, webhook(config))
            with pytest.raises(InternalError, match="failed to verify certificate"):
                await client.create(CONFIG_MAPS, config_map())
        assert server.requests == []

    async def test_a_slow_one_is_given_up_on_and_holds_up_nobody_else(self, client: Client) -> None:
        asked, never = asyncio.Event(), asyncio.Event()

        async def hang(request: Obj) -> Obj:
            asked.set()
            await never.wait()
            return {"allowed": True}

        await client.create(CONFIG_MAPS, config_map(a="1"))
        async with webhook_server(v=hang) as server:
            slow = webhook(server.url("/v"), timeoutSeconds=1)
            slow["rules"] = [rule("configmaps", operations=("UPDATE",))]
            await configure(client, VALIDATING, slow)
            change = client.patch(CONFIG_MAPS, "m", {"data": {"a": "2"}}, "default")
            waiting = asyncio.create_task(change)
            await asked.wait()
            async with asyncio.timeout(0.5):
                await client.create(CONFIG_MAPS, config_map("other"))
                await client.delete(CONFIG_MAPS, "m", "default")
            with pytest.raises(InternalError, match="context deadline exceeded"):
                await waiting

    async def test_a_change_made_meanwhile_is_not_lost(self, client: Client) -> None:
        await client.create(CONFIG_MAPS, config_map(a="1"))
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def wait(request: Obj) -> Obj:
            if request["userInfo"]["username"] == "system:admin" and not asked.is_set():
                asked.set()
                await go_on.wait()
            return {"allowed": True}

        async with webhook_server(v=wait) as server:
            await configure(client, VALIDATING, webhook(server.url("/v")))
            change = client.patch(CONFIG_MAPS, "m", {"data": {"b": "2"}}, "default")
            first = asyncio.create_task(change)
            await asked.wait()
            stale = await client.patch(CONFIG_MAPS, "m", {"data": {"c": "3"}}, "default")
            go_on.set()
            assert (await first)["data"] == {"a": "1", "b": "2", "c": "3"}
            stale["data"] = {}
            with pytest.raises(Conflict):
                await client.replace(CONFIG_MAPS, stale)


class TestServices:
    async def test_a_service_is_called_at_a_pod_behind_it(self, client: Client) -> None:
        async with webhook_server(v=lambda _: deny("no")) as server:
            await behind_service(client, server)
            await configure(client, VALIDATING, webhook(server.service("/v")))
            with pytest.raises(ApiError, match="denied the request: no"):
                await client.create(CONFIG_MAPS, config_map())

    async def test_without_a_pod_or_a_service_it_cannot_be_called(self, client: Client) -> None:
        async with webhook_server(v=allow) as server:
            await configure(client, VALIDATING, webhook(server.service("/v")))
            with pytest.raises(InternalError) as caught:
                await client.create(CONFIG_MAPS, config_map())
            assert caught.value.message.endswith(
                'Post "https://hook.default.svc:8443/v?timeout=10s": service "hook" not found'
            )
            await create_service(client)
            with pytest.raises(InternalError) as caught:
                await client.create(CONFIG_MAPS, config_map())
            assert caught.value.message.endswith('no endpoints available for service "hook"')


async def create_service(client: Client) -> None:
    ports = [{"name": "https", "port": 8443}]
    await client.create(SERVICES, new_object(SERVICES, "hook", "default", spec={"ports": ports}))


async def behind_service(client: Client, server: WebhookServer) -> None:
    await create_service(client)
    slice_ = new_object(
        ENDPOINT_SLICES,
        "hook-1",
        "default",
        labels={"kubernetes.io/service-name": "hook"},
        addressType="IPv4",
        endpoints=[{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        ports=[{"name": "https", "port": server.port}],
    )
    await client.create(ENDPOINT_SLICES, slice_)


async def test_warnings_reach_the_client() -> None:
    answer = {"allowed": True, "warnings": ["this is old"]}
    async with running_server(https=True) as running, webhook_server(v=lambda _: answer) as server:
        import aiohttp

        from kubeling.kube import config

        await configure(running.client, VALIDATING, webhook(server.url("/v")))
        context = config.load_kubeconfig(running.kubeconfig).ssl_context()
        connector = aiohttp.TCPConnector(ssl=context or True)
        url = running.server.url + CONFIG_MAPS.path("default")
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(url, json=config_map()) as response,
        ):
            assert response.status == 201
            assert response.headers.getall("Warning") == ['299 - "this is old"']


class TestMatchConditions:
    async def test_all_must_hold(self, client: Client) -> None:
        conditions = [
            {"name": "not-mine", "expression": "request.userInfo.username != 'ann'"},
            {"name": "wanted", "expression": "'ask' in object.data"},
        ]
        async with webhook_server(v=allow) as server:
            conditional = webhook(server.url("/v"), matchConditions=conditions)
            await configure(client, VALIDATING, conditional)
            await client.create(CONFIG_MAPS, config_map("a", ask="1"))
            await client.create(CONFIG_MAPS, config_map("b", other="1"))
        assert [request["name"] for request in server.requests] == ["a"]

    async def test_where_they_fail_the_failure_policy_decides(self, client: Client) -> None:
        conditions = [{"name": "wanted", "expression": "object.data.ask == '1'"}]
        async with webhook_server(v=allow) as server:
            conditional = webhook(server.url("/v"), matchConditions=conditions)
            await configure(client, VALIDATING, conditional)
            with pytest.raises(Forbidden, match="no such key: ask"):
                await client.create(CONFIG_MAPS, config_map(other="1"))
            await client.delete(VALIDATING, "c")
            await configure(client, VALIDATING, {**conditional, "failurePolicy": "Ignore"})
            await client.create(CONFIG_MAPS, config_map(other="1"))
        assert server.requests == []


class TestConfigurations:
    @pytest.mark.parametrize(
        ("field", "value", "error"),
        [
            ("name", "short", "webhooks[0].name: Invalid value"),
            ("sideEffects", None, "webhooks[0].sideEffects: Required value"),
            ("sideEffects", "Some", "webhooks[0].sideEffects: Unsupported value"),
            ("admissionReviewVersions", [], "admissionReviewVersions: Required value"),
            ("admissionReviewVersions", ["v9"], "must include at least one of v1, v1beta1"),
            ("timeoutSeconds", 31, "the timeout value must be between 1 and 30 seconds"),
            ("clientConfig", {}, "clientConfig: Required value: exactly one of url or service"),
            ("clientConfig", {"url": "http://a.b"}, "'https' is the only allowed URL scheme"),
            ("clientConfig", {"url": "https://u@a.b"}, "user information is not permitted"),
            ("clientConfig", {"url": "https://a.b?c"}, "query parameters are not permitted"),
            (
                "clientConfig",
                {"service": {"name": "s"}},
                "clientConfig.service.namespace: Required value",
            ),
            ("clientConfig", {"url": "https://a.b", "caBundle": "bm8="}, "as PEM block"),
            ("rules", [{"operations": ["CREATE"]}], "webhooks[0].rules[0].apiGroups: Required"),
            ("rules", [rule("*/*", "pods")], "if '*/*' is present"),
            ("rules", [rule("pods", operations=("*", "CREATE"))], "if '*' is present"),
            ("rules", [rule("pods", operations=("PATCH",))], "operations[0]: Unsupported value"),
            ("matchConditions", [{"name": "a", "expression": "1 +"}], "[0].expression: Invalid"),
            ("matchConditions", [{"name": "a", "expression": "1"}], "[0].expression: Invalid"),
        ],
    )
    async def test_what_cannot_work_is_refused(
        self, client: Client, field: str, value: Any, error: str
    ) -> None:
        made = webhook({"url": "https://hook.example.org"})
        made[field] = value
        with pytest.raises(Invalid) as caught:
            await configure(client, VALIDATING, made)
        assert error in caught.value.message

    async def test_names_are_unique_and_a_blank_bundle_may_be_filled_in_later(
        self, client: Client
    ) -> None:
        blank = webhook({"url": "https://hook.example.org", "caBundle": "Cg=="})
        with pytest.raises(Invalid, match=r"webhooks\[1\].name: Duplicate value"):
            await configure(client, MUTATING, blank, blank)
        await configure(client, MUTATING, blank)


class TestConnections:
    async def test_a_command_in_a_container_can_be_refused(self, running: RunningServer) -> None:
        containers = [{"name": "c", "image": "x"}]
        pod = new_object(PODS, "p", "default", spec={"containers": containers})
        await running.client.create(PODS, pod)
        async with webhook_server(v=lambda _: deny("no shells")) as server:
            rules = [rule("pods/exec", operations=("CONNECT",))]
            await configure(running.client, VALIDATING, webhook(server.url("/v"), rules=rules))
            request = ApiRequest(
                "GET",
                PODS.path("default", "p", "exec"),
                ADMIN,
                Query([("command", "sh"), ("command", "-c"), ("stdin", "true")]),
            )
            with pytest.raises(ApiError, match="no shells"):
                await running.server.handle(request)
        (asked,) = server.requests
        assert (asked["operation"], asked["subResource"]) == ("CONNECT", "exec")
        assert asked["kind"] == {"group": "", "version": "v1", "kind": "PodExecOptions"}
        assert asked["object"]["command"] == ["sh", "-c"]
        assert asked["object"]["stdin"] is True

    async def test_bindings_and_evictions_can_be_refused(self, client: Client) -> None:
        containers = [{"name": "c", "image": "x"}]
        await client.create(PODS, new_object(PODS, "p", "default", spec={"containers": containers}))
        async with webhook_server(v=lambda _: deny("no")) as server:
            rules = [rule("pods/*", operations=("CREATE",))]
            await configure(client, VALIDATING, webhook(server.url("/v"), rules=rules))
            for part, body in (("binding", {"target": {"name": "n"}}), ("eviction", {})):
                sent = {"metadata": {"name": "p"}, **body}
                with pytest.raises(ApiError, match="denied the request"):
                    await client.create_subresource(PODS, "p", "default", part, sent)
        assert [r["kind"]["kind"] for r in server.requests] == ["Binding", "Eviction"]
        assert "nodeName" not in (await client.get(PODS, "p", "default"))["spec"]


async def test_the_server_starts_whatever_webhooks_there_are(running: RunningServer) -> None:
    nowhere = {"url": "https://127.0.0.1:1/"}
    everything = webhook(nowhere, rules=[rule("*/*")])
    await configure(running.client, MUTATING, everything)
    await configure(running.client, VALIDATING, everything)
    await running.server.stop()
    async with running_server(data_dir=running.data_dir) as again:
        with pytest.raises(InternalError):
            await again.client.create(CONFIG_MAPS, config_map())
        await again.client.delete(MUTATING, "c")
        await again.client.delete(VALIDATING, "c")
        await again.client.create(CONFIG_MAPS, config_map())
