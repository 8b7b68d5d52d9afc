"""What Argo's own test cluster has beside Argo, so far as its examples and tests ask for it.

Upstream's quick start runs httpbin and MinIO as Services ``httpbin`` and ``minio``; here these are
servers of this process, which the same Services lead to, and ``artifactory``, for an example. Their
Secrets and the repository that the examples name are upstream's own.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from tests.conformance.outside import address
from tests.conformance.rows import Platform
from tests.support.objectstore import object_store

from kubeling.kube import yaml
from kubeling.kube.client import Client
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.objects import new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    PERSISTENT_VOLUME_CLAIMS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from kubeling.workflows.resources import CLUSTER_WORKFLOW_TEMPLATES, WORKFLOW_TEMPLATES

__all__ = ["NAMESPACE", "others", "prepare"]

NAMESPACE: Final = "default"
_QUICK_START: Final = "manifests/quick-start/base"
_FILES: Final = (
    "artifact-repositories-configmap.yaml",
    "httpbin/my-httpbin-cred-secret.yaml",
    "minio/my-minio-cred-secret.yaml",
)
_ARTIFACTORY: Final = {"username": "me", "password": "secret"}
_APPLIED: Final[dict[str, Resource]] = {
    resource.kind: resource
    for resource in (
        CONFIG_MAPS,
        PERSISTENT_VOLUME_CLAIMS,
        WORKFLOW_TEMPLATES,
        CLUSTER_WORKFLOW_TEMPLATES,
    )
}


async def prepare(client: Client, platform: Platform, upstream: Path) -> None:
    """Applies what the Workflows refer to."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    accounts = ("argo", "argo-server")
    subjects = [
        {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
        for name in ("default", *accounts)
    ]
    for resource, name, fields in (
        (ROLE_BINDINGS, "conformance", {"roleRef": role, "subjects": subjects}),
        *((SERVICE_ACCOUNTS, account, {}) for account in accounts),
        (SECRETS, "my-secret", {"stringData": {"mypassword": "S00perS3cret"}}),
        (SECRETS, "my-s3-credentials", {"stringData": {"accessKey": "key", "secretKey": "any"}}),
        (SECRETS, "my-artifactory-credentials", {"stringData": dict(_ARTIFACTORY)}),
        (CONFIG_MAPS, "my-config", {"data": {"template": "3", "workflow": "3"}}),
    ):
        await _made(client, resource, new_object(resource, name, NAMESPACE, **fields))
    for path in sorted((upstream / "examples").rglob("*.y*ml")):
        for document in yaml.load_all(path.read_text()):
            resource = _APPLIED.get((document or {}).get("kind"))
            if resource is not None:
                with contextlib.suppress(ApiError):
                    await _made(client, resource, document)
    for document in _quick_start(upstream):
        resource = CONFIG_MAPS if document["kind"] == "ConfigMap" else SECRETS
        # What says no repository of its own uses the platform's.
        document["metadata"].pop("annotations", None)
        await _made(client, resource, document)
    await _limit_in_database(platform)


@contextlib.asynccontextmanager
async def others(client: Client) -> AsyncIterator[None]:
    """Serves what the Services lead to, until the block ends."""
    here = address()
    runner = web.AppRunner(_httpbin())
    await runner.setup()
    try:
        await web.TCPSite(runner, here, 0).start()
        with object_store(here, **{"my-bucket": {}}) as store:
            at = int(store.url.rpartition(":")[2])
            await _service(client, "httpbin", 9100, here, runner.addresses[0][1])
            await _service(client, "artifactory", 8081, here, runner.addresses[0][1])
            await _service(client, "minio", 9000, here, at)
            yield
    finally:
        await runner.cleanup()


async def resume(server: aiohttp.ClientSession, workflow: dict[str, Any]) -> None:
    """Does what an example wants somebody to do: gives what is asked for, and lets it go on."""
    templates = workflow["spec"].get("templates") or ()
    waits = {template["name"] for template in templates if template.get("suspend") == {}}
    for node in ((workflow.get("status") or {}).get("nodes") or {}).values():
        if (node["type"], node["phase"]) != ("Suspend", "Running"):
            continue
        if node.get("templateName") not in waits:
            continue
        path = f"/api/v1/workflows/{NAMESPACE}/{workflow['metadata']['name']}"
        body = {"nodeFieldSelector": f"id={node['id']}"}
        asked = (node.get("outputs") or {}).get("parameters") or ()
        if asked:
            given = json.dumps({parameter["name"]: "YES" for parameter in asked})
            await server.put(f"{path}/set", json={**body, "outputParameters": given})
        await server.put(f"{path}/resume", json=body)


def _quick_start(upstream: Path) -> Iterator[dict[str, Any]]:
    for name in _FILES:
        yield from yaml.load_all((upstream / _QUICK_START / name).read_text())


async def _made(client: Client, resource: Resource, obj: dict[str, Any]) -> None:
    if resource.namespaced:
        obj["metadata"]["namespace"] = NAMESPACE
    with contextlib.suppress(AlreadyExists):
        await client.create(resource, obj)


async def _service(client: Client, name: str, port: int, host: str, at: int) -> None:
    """A Service without a selector, and where it leads."""
    ports = [{"name": "api", "port": port, "targetPort": at}]
    await _made(client, SERVICES, new_object(SERVICES, name, NAMESPACE, spec={"ports": ports}))
    endpoints = new_object(
        ENDPOINT_SLICES,
        name,
        NAMESPACE,
        labels={"kubernetes.io/service-name": name},
        addressType="IPv4",
        endpoints=[{"addresses": [host]}],
        ports=[{"name": "api", "port": at}],
    )
    await _made(client, ENDPOINT_SLICES, endpoints)


async def _limit_in_database(platform: Platform) -> None:
    """Sets the limits of semaphores that upstream's tests write into a database."""
    async with aiohttp.ClientSession(platform.url) as session:
        for key in ("template", "workflow"):
            limit = {"key": key, "limit": 3, "type": "DATABASE"}
            async with session.post(f"/api/v1/sync/{NAMESPACE}", json=limit) as response:
                response.raise_for_status()


def _httpbin() -> web.Application:
    """As much of httpbin as is asked of it, and of Artifactory."""

    async def status(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["code"]))

    async def decoded(request: web.Request) -> web.Response:
        return web.Response(text=base64.b64decode(request.match_info["text"]).decode())

    async def basic(request: web.Request) -> web.Response:
        wanted = aiohttp.encode_basic_auth(request.match_info["user"], request.match_info["pass"])
        return _allowed(request, request.headers.get("Authorization") == wanted)

    async def bearer(request: web.Request) -> web.Response:
        return _allowed(request, request.headers.get("Authorization", "").startswith("Bearer "))

    kept: dict[str, bytes] = {}

    async def artifactory(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != aiohttp.encode_basic_auth(
            *_ARTIFACTORY.values()
        ):
            return _allowed(request, False)
        if request.method == "PUT":
            kept[request.path] = await request.read()
        return web.Response(
            body=kept.get(request.path), status=200 if request.path in kept else 404
        )

    async def echo(request: web.Request) -> web.Response:
        return _allowed(request, True)

    app = web.Application()
    app.router.add_get("/status/{code}", status)
    app.router.add_route("*", "/base64/{text}", decoded)
    app.router.add_get("/basic-auth/{user}/{pass}", basic)
    app.router.add_get("/bearer", bearer)
    app.router.add_route("*", "/artifactory/{path:.*}", artifactory)
    app.router.add_get("/get", echo)
    app.router.add_put("/put", echo)
    return app


def _allowed(request: web.Request, allowed: bool) -> web.Response:
    return web.json_response({"url": str(request.url)}, status=200 if allowed else 401)
