"""Templates that the controller carries out itself: resources, requests, lists of artifacts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.support.objectstore import object_store
from tests.workflows.conftest import Cluster
from tests.workflows.test_running import nodes, workflow

from kubeling.kube import yaml
from kubeling.kube.clock import FakeClock
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    ROLE_BINDINGS,
    SECRETS,
    SERVICES,
)
from kubeling.workflows.errandlog import ErrandLog, errand_lines
from kubeling.workflows.errands import ErrandFailed
from kubeling.workflows.kubectlflags import UnknownFlag, parse_flags
from kubeling.workflows.logs import LogQuery, workflow_logs
from kubeling.workflows.nodes import pod_name
from kubeling.workflows.outbound import ServiceNames, near_address
from kubeling.workflows.resourceconditions import parse_condition, verdict
from kubeling.workflows.resourceoutputs import json_path, resource_outputs
from kubeling.workflows.resources import WORKFLOWS


def resource(action: str, manifest: str = "", **more: Any) -> Obj:
    """A workflow of one resource template."""
    outputs = {"outputs": more.pop("outputs")} if "outputs" in more else {}
    wanted = {"action": action, "manifest": manifest, **more}
    return workflow({"name": "main", "resource": wanted, **outputs})


async def lines_of(cluster: Cluster, name: str, **query: Any) -> list[str]:
    """What ``kubeling workflow logs`` shows."""

    async def hydrate(workflow: Obj) -> Obj:
        return workflow

    lines = workflow_logs(cluster.client, "default", name, LogQuery(**query), hydrate)
    return [line.content async for line in lines]


CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {generateName: made-, labels: {by: "{{workflow.name}}"}}
data: {phase: new}
"""


@pytest.fixture
async def allowed(cluster: Cluster) -> Cluster:
    """A cluster whose default account may edit its namespace."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    account = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    binding = new_object(ROLE_BINDINGS, "edit", "default", roleRef=role, subjects=[account])
    await cluster.client.create(ROLE_BINDINGS, binding)
    return cluster


class TestResources:
    async def test_a_step_has_no_more_rights_than_its_account(self, cluster: Cluster) -> None:
        done = await cluster.run(resource("create", CONFIG_MAP))
        assert done["status"]["phase"] == "Failed"
        assert (
            'configmaps is forbidden: User "system:serviceaccount:default:default" cannot create '
            'resource "configmaps"'
        ) in done["status"]["message"]

    async def test_what_it_makes_can_be_waited_for_and_read(self, allowed: Cluster) -> None:
        outputs = {
            "parameters": [
                {"name": "name", "valueFrom": {"jsonPath": "{.metadata.name}"}},
                {"name": "data", "valueFrom": {"jsonPath": "{.data}"}},
            ]
        }
        body = resource(
            "create",
            CONFIG_MAP,
            setOwnerReference=True,
            successCondition="data.phase == ready, data.count > 1",
            failureCondition="data.phase in (bad, worse)",
            outputs=outputs,
        )
        created = await allowed.client.create(WORKFLOWS, body, "default")
        made = await self.made(allowed)
        owner = made["metadata"]["ownerReferences"][0]
        assert owner["uid"] == created["metadata"]["uid"]
        change = {"data": {"phase": "ready", "count": "2"}}
        await allowed.client.patch(CONFIG_MAPS, made["metadata"]["name"], change, "default")
        done = await allowed.ended(created["metadata"]["name"])
        assert done["status"]["phase"] == "Succeeded", done["status"].get("message")
        [node] = done["status"]["nodes"].values()
        values = [p["value"] for p in node["outputs"]["parameters"]]
        assert values == [made["metadata"]["name"], '{"phase":"ready","count":"2"}']

    async def test_begun_again_it_finds_what_it_made(self, allowed: Cluster) -> None:
        body = resource("create", CONFIG_MAP, successCondition="data.phase == ready")
        created = await allowed.client.create(WORKFLOWS, body, "default")
        made = await self.made(allowed)
        async with allowed.controllers():
            change = {"data": {"phase": "ready"}}
            await allowed.client.patch(CONFIG_MAPS, made["metadata"]["name"], change, "default")
            done = await allowed.ended(created["metadata"]["name"])
        assert done["status"]["phase"] == "Succeeded"
        listed = await allowed.client.list(CONFIG_MAPS, "default", labels="by")
        assert len(listed.items) == 1

    async def test_a_failure_condition_ends_it(self, allowed: Cluster) -> None:
        done = await allowed.run(
            resource("create", CONFIG_MAP, failureCondition="data.phase == new")
        )
        assert done["status"]["message"] == "failure condition 'data.phase == new' evaluated true"

    async def test_it_can_be_given_up(self, allowed: Cluster) -> None:
        body = resource("create", CONFIG_MAP, successCondition="data.phase == never")
        created = await allowed.client.create(WORKFLOWS, body, "default")
        await self.made(allowed)
        name = created["metadata"]["name"]
        await allowed.client.patch(WORKFLOWS, name, {"spec": {"shutdown": "Stop"}}, "default")
        assert (await allowed.ended(name))["status"]["phase"] == "Failed"

    async def test_every_action_does_what_kubectl_does(self, allowed: Cluster) -> None:
        named = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c%s}, data: {a: '%s'}}"
        steps = [
            ("apply", {"manifest": named % ("", "1")}),
            ("replace", {"manifest": named % ("", "2")}),
            ("patch", {"manifest": named % ("", "3"), "mergeStrategy": "merge"}),
            ("patch", {"manifest": '[{"op": "add", "path": "/data/b", "value": "4"}]',
                       "mergeStrategy": "json", "flags": ["configmap", "c"]}),
            ("get", {"flags": ["cm/c"]}),
            ("create", {"manifest": named % (", labels: {old: here}", "5"),
                        "flags": ["--validate=false"]}),
        ]  # fmt: skip
        for action, more in steps[:-1]:
            done = await allowed.run(resource(action, **more))
            assert done["status"]["phase"] == "Succeeded", (action, done["status"]["message"])
        found = await allowed.client.get(CONFIG_MAPS, "c", "default")
        assert found["data"] == {"a": "3", "b": "4"}
        action, more = steps[-1]
        done = await allowed.run(resource(action, **more))
        assert done["status"]["message"] == 'configmaps "c" already exists'
        patch = {"metadata": {"labels": {"old": "here"}}}
        await allowed.client.patch(CONFIG_MAPS, "c", patch, "default")
        await allowed.run(resource("delete", flags=["configmap", "--selector", "old=here"]))
        assert await allowed.client.find(CONFIG_MAPS, "c", "default") is None

    async def test_it_says_what_it_did_and_what_it_waits_for(self, allowed: Cluster) -> None:
        """``argo logs`` shows of a resource step what kubectl printed in its pod."""
        body = resource(
            "create",
            CONFIG_MAP,
            successCondition="data.phase == ready",
            failureCondition="data.phase == bad",
        )
        created = await allowed.client.create(WORKFLOWS, body, "default")
        own = created["metadata"]["name"]
        waits = await allowed.seen(own, lambda wf: bool(errand_lines(nodes(wf)[own])))
        made = (await self.made(allowed))["metadata"]["name"]
        begun = [
            f"configmap/{made} created",
            "failure condition 'data.phase == bad' evaluated false",
            "success condition 'data.phase == ready' evaluated false",
        ]
        assert [text for _, text in errand_lines(nodes(waits)[own])] == begun
        following = asyncio.create_task(lines_of(allowed, own, follow=True))
        await allowed.client.patch(CONFIG_MAPS, made, {"data": {"phase": "ready"}}, "default")
        await allowed.ended(own)
        told = [*begun, begun[1], "success condition 'data.phase == ready' evaluated true"]
        assert await following == await lines_of(allowed, own) == told
        assert await lines_of(allowed, own, pod_name=own, tail_lines=1) == told[-1:]
        assert await lines_of(allowed, own, pod_name="another") == []
        # The artifact that upstream's tools read when a step's pod is gone.
        [artifact] = (await allowed.client.get(WORKFLOWS, own, "default"))["status"]["nodes"][own][
            "outputs"
        ]["artifacts"]
        assert artifact["name"] == "main-logs"
        assert artifact["raw"]["data"].endswith(f"Z {told[-1]}\n")

    async def test_a_failure_is_its_last_line(self, cluster: Cluster) -> None:
        done = await cluster.run(resource("get", flags=["configmap", "absent"]))
        [line] = await lines_of(cluster, done["metadata"]["name"])
        assert line == f"Failed: {done['status']['message']}"

    async def test_mistakes_are_refused_at_once(self, cluster: Cluster) -> None:
        for more, message in (
            ({"manifest": "a: b", "successCondition": "a ~ b"}, "resource.successCondition"),
            ({"flags": ["--as=root"]}, 'flag "--as" means nothing here'),
            ({}, "Must provide at least one of flags or manifest."),
        ):
            with pytest.raises(Invalid) as refused:
                await cluster.client.create(WORKFLOWS, resource("create", **more), "default")
            assert message in str(refused.value)

    async def made(self, cluster: Cluster) -> Obj:
        async with asyncio.timeout(30):
            async for event in cluster.client.watch(CONFIG_MAPS, "default", labels="by"):
                return event.object
        raise AssertionError("the watch ended")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("status.phase == Done", True),
        ("status.phase = Done, status.count > 2", True),
        ("status.count > 3", False),
        ("status.phase in (Done, Over)", True),
        ("status.phase notin (Done, Over)", False),
        ("status.phase != Open", True),
        ("status.none", False),
        ("!status.none", True),
        ("status.list.1.ok = true", True),
        ("status.count < 10", True),
    ],
)
def test_conditions_are_selectors_over_paths(condition: str, holds: bool) -> None:
    obj = {"status": {"phase": "Done", "count": 3, "list": [{}, {"ok": True}]}}
    assert verdict(obj, parse_condition(condition), []) is holds


def test_flags_are_read_as_kubectl_reads_them() -> None:
    flags = parse_flags(["pod/web", "-n", "there", "--cascade", "--grace-period=3", "--force"])
    assert flags.words == ["pod", "web"]
    assert (flags.get("namespace"), flags.get("grace-period")) == ("there", "3")
    assert flags.is_set("force")
    with pytest.raises(UnknownFlag):
        parse_flags(["--raw=/secrets"])


@pytest.mark.skipif(shutil.which("jq") is None, reason="this machine has no jq")
async def test_jq_filters_give_text_or_json() -> None:
    def declared(program: str) -> Obj:
        return {"parameters": [{"name": "p", "valueFrom": {"jqFilter": program}}]}

    obj = {"b": [1, 2], "a": "text"}
    for program, value in ((".a", "text"), (".b[]", "1\n2"), (".", '{"a":"text","b":[1,2]}')):
        outputs = await resource_outputs(declared(program), obj)
        assert outputs is not None
        assert outputs.parameters[0].value == value
    with pytest.raises(ErrandFailed, match=r"outputs.parameters.p: jqFilter: "):
        await resource_outputs(declared("-"), obj)
    outputs = await resource_outputs(declared("env | length"), obj)
    assert outputs is not None
    assert outputs.parameters[0].value == "0", "a filter must not see the controllers' variables"


def test_json_paths_are_templates() -> None:
    obj = {"metadata": {"name": "a"}, "items": [{"n": 1}, {"n": 2}]}
    assert json_path("{.metadata.name}", obj) == "a"
    assert json_path('{.metadata.name}{"/"}{.items[*].n}', obj) == "a/1 2"
    assert json_path(".items[0]", obj) == '{"n":1}'


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A web server that answers with what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        said = {
            "body": await request.text(),
            "host": request.host,
            "proxy": request.headers.get("Proxy-Authorization", ""),
            "token": request.headers.get("X-Token", ""),
        }
        headers = {"x-mood": "good"}
        return web.json_response(said, status=int(request.query["status"]), headers=headers)

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


class TestRequests:
    async def test_a_request_says_what_it_says_and_gives_its_answer(
        self, allowed: Cluster, site: str
    ) -> None:
        secret = new_object(SECRETS, "s", "default", stringData={"token": "t1"})
        await allowed.client.create(SECRETS, secret)
        reference = {"secretKeyRef": {"name": "s", "key": "token"}}
        http = {
            "url": f"{site}?status=201",
            "method": "POST",
            "body": "{{workflow.name}}",
            "headers": [{"name": "X-Token", "valueFrom": reference}],
            "successCondition": "response.statusCode == 201 && response.body contains 't1' && "
            "response.headers['X-Mood'][0] == 'good' && request.method == 'POST'",
        }
        done = await allowed.run(workflow({"name": "main", "http": http}))
        assert done["status"]["phase"] == "Succeeded", done["status"]
        [node] = done["status"]["nodes"].values()
        assert (node["type"], done["status"]["progress"]) == ("HTTP", "1/1")
        assert done["metadata"]["name"] in node["outputs"]["result"]

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({}, "received non-2xx response code: 404"),
            (
                {"successCondition": "response.statusCode == 200"},
                "successCondition 'response.statusCode == 200' evaluated false",
            ),
        ],
    )
    async def test_a_failed_request_fails_the_step(
        self, cluster: Cluster, site: str, more: Obj, message: str
    ) -> None:
        http = {"url": f"{site}?status=404", **more}
        done = await cluster.run(workflow({"name": "main", "http": http}))
        assert (done["status"]["phase"], done["status"]["message"]) == ("Failed", message)

    async def test_who_cannot_be_reached_is_named(self, cluster: Cluster) -> None:
        http = {"url": "http://127.0.0.1:1/", "timeoutSeconds": 5}
        done = await cluster.run(workflow({"name": "main", "http": http}))
        assert done["status"]["message"].startswith("http://127.0.0.1:1/: Cannot connect")

    async def test_a_proxy_is_asked_for_what_is_far_away(
        self, cluster: Cluster, site: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", site.replace("//", "//me:secret@"))
        http = {
            "url": "http://far.example/?status=200",
            "successCondition": "response.body contains 'far.example' && "
            "response.body contains 'Basic bWU6c2VjcmV0'",
        }
        done = await cluster.run(workflow({"name": "main", "http": http}))
        assert done["status"]["phase"] == "Succeeded", done["status"]["message"]
        near = {"url": f"{site}?status=200", "successCondition": "response.body contains '127'"}
        done = await cluster.run(workflow({"name": "main", "http": near}))
        assert done["status"]["phase"] == "Succeeded", done["status"]["message"]


class TestNames:
    @pytest.fixture
    async def services(self, cluster: Cluster) -> AsyncIterator[ServiceNames]:
        ports = [{"port": 80}]
        for name, where, more in (
            ("web", "default", {}),
            ("web", "kube-system", {}),
            ("each", "default", {"clusterIP": "None"}),
        ):
            service = new_object(SERVICES, name, where, spec={"ports": ports, **more})
            await cluster.client.create(SERVICES, service)
        endpoints = new_object(
            ENDPOINT_SLICES,
            "each-1",
            "default",
            labels={"kubernetes.io/service-name": "each"},
            addressType="IPv4",
            endpoints=[
                {"addresses": ["10.1.1.1"]},
                {"addresses": ["10.1.1.2"], "conditions": {"ready": False}},
            ],
        )
        await cluster.client.create(ENDPOINT_SLICES, endpoints)
        names = ServiceNames(cluster.client, "default")
        yield names
        await names.close()

    async def test_a_services_name_means_what_it_does_in_a_pod(
        self, cluster: Cluster, services: ServiceNames
    ) -> None:
        own = (await cluster.client.get(SERVICES, "web", "default"))["spec"]["clusterIP"]
        other = (await cluster.client.get(SERVICES, "web", "kube-system"))["spec"]["clusterIP"]
        for name in ("web", "web.default", "web.default.svc", "web.default.svc.cluster.local."):
            [found] = await services.resolve(name, 80)
            assert (found["hostname"], found["host"], found["port"]) == (name, own, 80)
        [found] = await services.resolve("web.kube-system", 80)
        assert found["host"] == other

    async def test_a_headless_service_is_its_ready_pods(self, services: ServiceNames) -> None:
        assert [found["host"] for found in await services.resolve("each")] == ["10.1.1.1"]

    async def test_a_store_is_asked_at_its_services_address(
        self, cluster: Cluster, services: ServiceNames
    ) -> None:
        own = (await cluster.client.get(SERVICES, "web", "default"))["spec"]["clusterIP"]
        for given, near in (
            ("http://web:9000", f"http://{own}:9000"),
            ("http://each/account", "http://10.1.1.1/account"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ):
            assert await near_address(given, services) == near

    async def test_all_other_names_are_the_machines(self, services: ServiceNames) -> None:
        assert await services.addresses("web.default.example") is None
        assert (await services.resolve("localhost"))[0]["host"] == "127.0.0.1"


def test_of_many_lines_the_first_and_the_last_stay() -> None:
    shown: list[str] = []
    log = ErrandLog(FakeClock().now, shown.append)
    for number in range(1000):
        log.say(f"line {number}")
    log.say("x" * 10_000)
    log.publish()
    lines = [line.partition(" ")[2] for line in shown[0].splitlines()]
    assert lines[0] == "line 0"
    assert "… 921 lines …" in lines
    assert lines[-2] == "line 999"
    assert len(shown[0]) < 10_000


async def test_a_data_template_without_a_key_lists_all_there_is(cluster: Cluster) -> None:
    for name in ("a/main.log", "b/c/main.log"):
        path = cluster.artifacts / "default" / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    data = {
        "source": {"artifactPaths": {"name": "logs", "s3": {"bucket": "my-bucket"}}},
        "transformation": [{"expression": "filter(data, {# endsWith 'main.log'})"}],
    }
    done = await cluster.run(workflow({"name": "main", "data": data}))
    [node] = done["status"]["nodes"].values()
    assert node["outputs"]["result"] == '["a/main.log","b/c/main.log"]', done["status"]


async def test_a_data_template_lists_artifacts_and_transforms_the_list(cluster: Cluster) -> None:
    folder = cluster.artifacts / "default" / "logs"
    folder.mkdir(parents=True)
    for name in ("b.log", "a.log", "c.txt"):
        (folder / name).write_text(name)
    data = {
        "source": {"artifactPaths": {"name": "logs", "s3": {"key": "logs"}}},
        "transformation": [{"expression": "filter(data, {# endsWith '.log'})"}],
    }
    done = await cluster.run(
        workflow(
            {"name": "main", "steps": [
                [{"name": "list", "template": "list"}],
                [{"name": "each", "template": "each",
                  "withParam": "{{steps.list.outputs.result}}",
                  "arguments": {"artifacts": [{"name": "log", "s3": {"key": "{{item}}"}}]}}],
            ]},
            {"name": "list", "data": data},
            {"name": "each", "inputs": {"artifacts": [{"name": "log", "path": "/tmp/log"}]},
             "container": {"image": "busybox", "command": ["cat", "/tmp/log"]}},
        )
    )  # fmt: skip
    assert done["status"]["phase"] == "Succeeded", done["status"]
    found = nodes(done)
    assert found["list"]["outputs"]["result"] == '["logs/a.log","logs/b.log"]'
    assert {"each(0:logs/a.log)", "each(1:logs/b.log)"} <= set(found)
    assert await lines_of(cluster, done["metadata"]["name"], pod_name=pod_of(found["list"])) == [
        "listed 3 files",
        "transformation 'filter(data, {# endsWith '.log'})' gave 2 files",
    ]


def pod_of(node: Obj) -> str:
    """The name that an errand's pod would have."""
    return pod_name(node["id"].rpartition("-")[0], node["name"], node["templateName"])


async def test_data_and_manifests_come_from_any_store(allowed: Cluster) -> None:
    """Of an S3 store: one by the place in full, one by its key in the workflow's repository."""
    manifest = CONFIG_MAP.replace("{{workflow.name}}", "s3").encode()
    files = {"in/b.yaml": b"b", "in/a.yaml": manifest, "other": b""}
    secret = {"metadata": {"name": "store"}, "stringData": {"id": "key", "secret": "secret"}}
    await allowed.client.create(SECRETS, secret, "default")
    with object_store(private=files) as server:
        place: Obj = {
            "endpoint": server.url.removeprefix("http://"),
            "bucket": "private",
            "insecure": True,
            "accessKeySecret": {"name": "store", "key": "id"},
            "secretKeySecret": {"name": "store", "key": "secret"},
        }
        repository = {
            "metadata": {"name": "repositories"},
            "data": {"s3": yaml.dump({"s3": place})},
        }
        await allowed.client.create(CONFIG_MAPS, repository, "default")
        keyed = {"name": "files", "s3": {"key": "in"}}
        inputs = {"artifacts": [{"name": "m", "path": "/m", "s3": {**place, "key": "in/a.yaml"}}]}
        body = workflow(
            {"name": "main", "steps": [[
                {"name": "list", "template": "list"}, {"name": "make", "template": "make"},
                {"name": "all", "template": "all"},
            ]]},
            {"name": "all", "data": {
                "source": {"artifactPaths": {"name": "files", "s3": place}},
                "transformation": [{"expression": "data"}],
            }},
            {"name": "list", "data": {
                "source": {"artifactPaths": keyed},
                "transformation": [{"expression": "map(data, {# + '!'})"}],
            }},
            {"name": "make", "inputs": inputs, "resource": {
                "action": "create", "manifestFrom": {"artifact": {"name": "m"}},
            }},
        )  # fmt: skip
        body["spec"]["artifactRepositoryRef"] = {"configMap": "repositories", "key": "s3"}
        done = await allowed.run(body)
    assert done["status"]["phase"] == "Succeeded", done["status"]
    assert nodes(done)["list"]["outputs"]["result"] == '["in/a.yaml!","in/b.yaml!"]'
    assert nodes(done)["all"]["outputs"]["result"] == '["in/a.yaml","in/b.yaml","other"]'
    assert len((await allowed.client.list(CONFIG_MAPS, "default", labels="by=s3")).items) == 1
