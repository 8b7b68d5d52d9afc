"""The unmodified kubectl against the embedded API server, command by command."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.apiserver import running_server
from tests.support.node import HostNode
from tests.support.webhooks import patch, webhook_server

from kubeling.kube import yaml
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import NODES, PODS

KUBECTL = shutil.which("kubectl")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"),
]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: nginx, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Schedule, type: string, jsonPath: .spec.schedule}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [schedule]
            properties:
              schedule: {type: string, description: When it runs.}
              replicas: {type: integer, default: 1, minimum: 1}
"""

CRONTAB = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: nightly}
spec: {schedule: "0 3 * * *"}
"""


@dataclass
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@dataclass
class Kubectl:
    """kubectl with a kubeconfig and a cache of its own."""

    kubeconfig: Path
    home: Path
    client: Client
    node: HostNode

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        assert KUBECTL is not None
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            KUBECTL,
            *arguments,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home)}
            | environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )

    async def run(self, *arguments: str, stdin: str = "", **environment: str) -> Outcome:
        process = await self.start(*arguments, **environment)
        async with asyncio.timeout(30):
            out, err = await process.communicate(stdin.encode())
        return Outcome(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """The output of a command that must succeed."""
        done = await self.run(*arguments, stdin=stdin, **environment)
        assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.out}{done.err}"
        return done.out

    async def refused(self, *arguments: str, stdin: str = "") -> str:
        """What a command that must fail complains about."""
        done = await self.run(*arguments, stdin=stdin)
        assert done.code != 0, f"kubectl {' '.join(arguments)} succeeded: {done.out}"
        return done.err


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    node = HostNode()
    async with running_server(node=node, https=True) as running:
        yield Kubectl(running.kubeconfig, tmp_path, running.client, node)


async def test_apply_creates_then_changes_then_leaves_alone(kubectl: Kubectl) -> None:
    assert await kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == (
        "deployment.apps/web created\nservice/web created\n"
    )
    assert "web unchanged" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    changed = DEPLOYMENT.replace("nginx", "nginx:2")
    assert "deployment.apps/web configured" in await kubectl("apply", "-f", "-", stdin=changed)
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deploy", "web", "-o", image) == "nginx:2"


async def test_server_side_apply_after_client_side(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    out = await kubectl("apply", "--server-side", "-f", "-", stdin=DEPLOYMENT)
    assert "deployment.apps/web serverside-applied" in out
    changed = DEPLOYMENT.replace("nginx", "nginx:2")
    assert "configured" in await kubectl("apply", "-f", "-", stdin=changed)


async def test_server_side_apply_names_the_owner_of_a_contested_field(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "-f", "-", stdin=DEPLOYMENT)
    await kubectl("scale", "deploy", "web", "--replicas=5")
    refused = await kubectl.refused("apply", "--server-side", "-f", "-", stdin=DEPLOYMENT)
    assert ".spec.replicas" in refused
    forced = await kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=DEPLOYMENT
    )
    assert "serverside-applied" in forced


async def test_get_in_every_form(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    plain = await kubectl("get", "deploy")
    assert plain.splitlines()[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    wide = await kubectl("get", "deploy", "-o", "wide")
    assert wide.splitlines()[0].split()[-3:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert await kubectl("get", "deploy", "-o", "name") == "deployment.apps/web\n"
    assert json.loads(await kubectl("get", "deploy", "web", "-o", "json"))["kind"] == "Deployment"
    assert "kind: Deployment" in await kubectl("get", "deploy", "web", "-o", "yaml")
    assert "default" in await kubectl("get", "deploy,svc", "-A")
    assert "deployment.apps/web" in await kubectl("get", "all")
    assert "NotFound" in await kubectl.refused("get", "deploy", "nope")


async def test_get_watches(kubectl: Kubectl) -> None:
    process = await kubectl.start("get", "configmaps", "-w", "-o", "name")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"configmap/kube-root-ca.crt\n"
        await kubectl("create", "configmap", "later", "--from-literal=a=b")
        assert await process.stdout.readline() == b"configmap/later\n"
    process.terminate()
    await process.wait()


async def test_describe_shows_the_object_and_its_events(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    uid = await kubectl("get", "deploy", "web", "-o", "jsonpath={.metadata.uid}")
    about = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "default"}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": {**about, "uid": uid},
        "reason": "ScalingReplicaSet",
        "message": "Scaled up",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    await kubectl("create", "-f", "-", stdin=json.dumps(event))
    described = await kubectl("describe", "deploy", "web")
    assert "Replicas:               2 desired" in described
    assert "ScalingReplicaSet" in described
    assert "Scaled up" in await kubectl("events", "--for", "deployment/web")


async def test_create_speaks_protobuf(kubectl: Kubectl) -> None:
    await kubectl("create", "namespace", "team")
    await kubectl("create", "configmap", "c", "--from-literal=a=1", "-n", "team")
    await kubectl("create", "secret", "generic", "s", "--from-literal=a=1", "-n", "team")
    await kubectl("create", "serviceaccount", "bob", "-n", "team")
    await kubectl("create", "deployment", "d", "--image=busybox", "-n", "team")
    await kubectl("create", "job", "j", "--image=busybox", "-n", "team", "--", "echo", "hi")
    await kubectl("create", "cronjob", "cj", "--image=busybox", "--schedule=@hourly", "-n", "team")
    await kubectl("create", "role", "r", "--verb=get", "--resource=pods", "-n", "team")
    await kubectl("create", "quota", "q", "--hard=pods=3", "-n", "team")
    secret = await kubectl("get", "secret", "s", "-n", "team", "-o", "jsonpath={.data.a}")
    assert secret == "MQ=="
    command = "jsonpath={.spec.template.spec.containers[0].command}"
    assert await kubectl("get", "job", "j", "-n", "team", "-o", command) == '["echo","hi"]'


async def test_edit_patch_label_annotate_scale(kubectl: Kubectl, tmp_path: Path) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 2/replicas: 3/' $1\n")
    editor.chmod(0o755)
    out = await kubectl("edit", "deploy", "web", KUBE_EDITOR=str(editor))
    assert out == "deployment.apps/web edited\n"
    env = {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]}}
    await kubectl("patch", "deploy", "web", "-p", json.dumps({"spec": {"template": env}}))
    operations = json.dumps([{"op": "add", "path": "/metadata/labels/y", "value": "2"}])
    await kubectl("patch", "deploy", "web", "--type=json", "-p", operations)
    await kubectl("label", "deploy", "web", "x=1")
    await kubectl("annotate", "deploy", "web", "note=hello")
    await kubectl("set", "image", "deploy/web", "web=nginx:3")
    await kubectl("scale", "deploy", "web", "--replicas=4")
    found = json.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert found["spec"]["replicas"] == 4
    assert found["metadata"]["labels"] == {"app": "web", "x": "1", "y": "2"}
    assert found["metadata"]["annotations"]["note"] == "hello"
    assert (container["image"], container["env"]) == ("nginx:3", [{"name": "A", "value": "1"}])
    assert "web" in await kubectl("get", "deploy", "-l", "x=1", "-o", "name")


async def test_delete_waits_until_it_is_gone(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    out = await kubectl("delete", "deploy,svc", "--all")
    assert 'deployment.apps "web" deleted' in out
    assert "No resources found" in (await kubectl.run("get", "deploy")).err


async def test_wait_sees_a_condition(kubectl: Kubectl) -> None:
    await kubectl("run", "p", "--image=busybox", "--restart=Never")
    waiting = await kubectl.start("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    await kubectl.client.patch_status(PODS, "p", ready, "default")
    out, err = await waiting.communicate()
    assert (out.decode(), err.decode()) == ("pod/p condition met\n", "")
    timed_out = await kubectl.refused("wait", "--for=delete", "pod/p", "--timeout=1s")
    assert "timed out waiting" in timed_out


async def test_logs_follow_a_container_to_its_end(kubectl: Kubectl) -> None:
    await kubectl("run", "p", "--image=busybox", "--restart=Never")
    assert "waiting to start" in await kubectl.refused("logs", "p")
    log = kubectl.node.log("p", "p")
    await log.write("one", "two")
    assert await kubectl("logs", "p") == "one\ntwo\n"
    assert await kubectl("logs", "p", "--tail=1") == "two\n"
    following = await kubectl.start("logs", "-f", "p")
    assert following.stdout is not None
    assert await following.stdout.readline() == b"one\n"
    assert await following.stdout.readline() == b"two\n"
    await log.write("three", end=True)
    rest, _ = await following.communicate()
    assert rest == b"three\n"


async def test_exec_passes_input_output_and_the_exit_code(kubectl: Kubectl) -> None:
    await kubectl("run", "p", "--image=busybox", "--restart=Never")
    assert await kubectl("exec", "p", "--", "echo", "hi") == "hi\n"
    assert await kubectl("exec", "-i", "p", "--", "cat", stdin="through\n") == "through\n"
    done = await kubectl.run("exec", "p", "--", "sh", "-c", "echo no >&2; exit 3")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("no\n")


async def test_top_shows_usage(kubectl: Kubectl) -> None:
    await kubectl("run", "p", "--image=busybox", "--restart=Never")
    kubectl.node.log("p")
    assert (await kubectl("top", "pods")).splitlines()[1].split() == ["p", "250m", "64Mi"]
    capacity = {
        "capacity": {"cpu": "4", "memory": "8Gi"},
        "allocatable": {"cpu": "4", "memory": "8Gi"},
    }
    await kubectl.client.create(NODES, new_object(NODES, "node"))
    await kubectl.client.patch_status(NODES, "node", capacity)
    assert (await kubectl("top", "nodes")).splitlines()[1].split()[:2] == ["node", "1500m"]


async def test_api_resources_and_explain(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEFINITION)
    resources = await kubectl("api-resources", "--api-group=stable.example.com", "--no-headers")
    assert resources.split() == ["crontabs", "ct", "stable.example.com/v1", "true", "CronTab"]
    assert "stable.example.com/v1" in await kubectl("api-versions")
    explained = await kubectl("explain", "ct.spec.schedule")
    assert "When it runs." in explained
    assert "containers\t<[]Container>" in await kubectl("explain", "pod.spec")


async def test_custom_resources_live_like_built_in_ones(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEFINITION)
    await kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com")
    await kubectl("apply", "-f", "-", stdin=CRONTAB)
    table = (await kubectl("get", "ct", "-o", "wide")).splitlines()
    assert table[0].split() == ["NAME", "SCHEDULE", "REPLICAS"]
    assert table[1].split() == ["nightly", "0", "3", "*", "*", "*", "1"]
    changed = CRONTAB.replace("0 3", "0 4")
    assert await kubectl("apply", "-f", "-", stdin=changed) == (
        "crontab.stable.example.com/nightly configured\n"
    )
    await kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    await kubectl("delete", "crd", "crontabs.stable.example.com")
    assert "NotFound" in await kubectl.refused("get", "ct")


async def test_a_list_is_applied_as_its_items(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEFINITION)
    documents = [*yaml.load_all(DEPLOYMENT), yaml.load(CRONTAB)]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    out = await kubectl("apply", "-f", "-", stdin=listed)
    assert out.splitlines() == [
        "deployment.apps/web created",
        "service/web created",
        "crontab.stable.example.com/nightly created",
    ]
    misspelt = listed.replace('"replicas"', '"replikas"')
    refused = await kubectl.refused("apply", "-f", "-", stdin=misspelt)
    assert 'unknown field "replikas" in io.k8s.api.apps.v1.DeploymentSpec' in refused


async def test_a_bad_manifest_is_refused_by_the_path_of_the_field(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEFINITION)
    misspelt = CRONTAB.replace("schedule", "shedule")
    assert 'unknown field "spec.shedule"' in await kubectl.refused(
        "apply", "-f", "-", stdin=misspelt
    )
    wrong = CRONTAB.replace('"0 3 * * *"', "5")
    refused = await kubectl.refused("apply", "-f", "-", stdin=wrong)
    assert "spec.schedule: Invalid value" in refused
    mistyped = DEPLOYMENT.replace("replicas: 2", "replicas: two")
    assert "spec.replicas" in await kubectl.refused("apply", "-f", "-", stdin=mistyped)
    unnamed = DEPLOYMENT.replace("name: web, image", "name: Web_1, image")
    refused = await kubectl.refused("apply", "-f", "-", stdin=unnamed)
    assert "spec.template.spec.containers[0].name: Invalid value" in refused


async def test_dry_run_and_diff_change_nothing(kubectl: Kubectl) -> None:
    out = await kubectl("apply", "--dry-run=server", "-f", "-", stdin=DEPLOYMENT)
    assert "deployment.apps/web created (server dry run)" in out
    assert "NotFound" in await kubectl.refused("get", "deploy", "web")
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    same = await kubectl.run("diff", "-f", "-", stdin=DEPLOYMENT)
    assert (same.code, same.out) == (0, "")
    differing = await kubectl.run("diff", "-f", "-", stdin=DEPLOYMENT.replace("nginx", "nginx:2"))
    assert differing.code == 1
    assert "+      - image: nginx:2" in differing.out


async def test_auth_answers_for_oneself_and_for_others(kubectl: Kubectl) -> None:
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    await kubectl("create", "rolebinding", "bob", "--role=reader", "--user=bob")
    assert await kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert await kubectl("auth", "can-i", "list", "pods", "--as=bob") == "yes\n"
    refused = await kubectl.run("auth", "can-i", "delete", "pods", "--as=bob")
    assert (refused.code, refused.out) == (1, "no\n")
    assert "pods" in await kubectl("auth", "can-i", "--list", "--as=bob")
    assert "system:masters" in await kubectl("auth", "whoami")
    assert "No resources found" in (await kubectl.run("get", "pods", "--as=bob")).err
    assert "Forbidden" in await kubectl.refused("get", "secrets", "--as=bob")


async def test_a_service_accounts_token_opens_what_its_roles_allow(kubectl: Kubectl) -> None:
    await kubectl("create", "serviceaccount", "bot")
    await kubectl(
        "create", "rolebinding", "bot", "--clusterrole=view", "--serviceaccount=default:bot"
    )
    token = (await kubectl("create", "token", "bot")).strip()
    server = await kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
    minimal = ["--kubeconfig=/dev/null", f"--server={server}", "--insecure-skip-tls-verify"]
    assert await kubectl(*minimal, f"--token={token}", "get", "cm", "-o", "name") == (
        "configmap/kube-root-ca.crt\n"
    )
    assert "Forbidden" in await kubectl.refused(*minimal, f"--token={token}", "get", "secrets")
    assert "Unauthorized" in await kubectl.refused(*minimal, "--token=wrong", "get", "cm")


async def test_config_and_health(kubectl: Kubectl) -> None:
    assert await kubectl("config", "current-context") == "kubeling\n"
    assert "Server Version: v1." in await kubectl("version")
    assert "readyz check passed" in await kubectl("get", "--raw", "/readyz?verbose")
    assert "apiserver_request_total" in await kubectl("get", "--raw", "/metrics")


CONFIGURATION = """
apiVersion: admissionregistration.k8s.io/v1
kind: {kind}
metadata: {{name: house-rules}}
webhooks:
- name: rules.house.example.org
  clientConfig: {{url: "{url}", caBundle: {ca_bundle}}}
  rules:
  - {{operations: [CREATE, UPDATE, DELETE], apiGroups: [""], apiVersions: [v1],
     resources: [configmaps]}}
  sideEffects: None
  admissionReviewVersions: [v1]
"""


async def test_webhooks_change_warn_and_refuse(kubectl: Kubectl) -> None:
    def judge(request: Obj) -> Obj:
        if (request["object"] or request["oldObject"])["data"].get("pet") == "cat":
            return {"allowed": False, "status": {"message": "no cats", "reason": "Forbidden"}}
        return {"allowed": True, "warnings": ["the house has rules"]}

    label = {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}
    async with webhook_server(mutate=lambda _: patch(label), judge=judge) as server:
        for kind, path in (
            ("MutatingWebhookConfiguration", "/mutate"),
            ("ValidatingWebhookConfiguration", "/judge"),
        ):
            config = {"kind": kind, **server.url(path), "ca_bundle": server.ca_bundle}
            await kubectl("apply", "-f", "-", stdin=CONFIGURATION.format(**config))
        made = await kubectl.run("create", "cm", "rex", "--from-literal=pet=dog")
        assert made.out == "configmap/rex created\n"
        assert "Warning: the house has rules" in made.err
        shown = await kubectl("get", "cm", "rex", "-o", "jsonpath={.metadata.labels.seen}")
        assert shown == "yes"
        dry = await kubectl(
            "create", "cm", "dry", "--from-literal=pet=dog", "--dry-run=server", "-o", "yaml"
        )
        assert "seen:" in dry
        refused = await kubectl.refused("create", "cm", "tom", "--from-literal=pet=cat")
        denied = 'admission webhook "rules.house.example.org" denied the request: no cats'
        assert denied in refused
        patched = await kubectl.refused("patch", "cm", "rex", "-p", '{"data":{"pet":"cat"}}')
        assert denied in patched
        assert "deleted" in await kubectl("delete", "cm", "rex")
    unreachable = await kubectl.refused("create", "cm", "rex", "--from-literal=pet=dog")
    assert 'failed calling webhook "rules.house.example.org": failed to call webhook' in unreachable
    listed = await kubectl("get", "validatingwebhookconfigurations")
    assert listed.split()[:5] == ["NAME", "WEBHOOKS", "AGE", "house-rules", "1"]
    await kubectl("delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "--all")
    assert await kubectl("create", "cm", "rex") == "configmap/rex created\n"
