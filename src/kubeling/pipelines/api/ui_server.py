"""The paths of upstream's UI server: artifacts by store and key, pods, and what is not there.

Upstream: ``frontend/server``. Its own web pages and people's links use these. In multi-user mode
each needs the right to ``get`` ``viewers`` of ``kubeflow.org`` in the namespace, and of artifacts
only those are shown that a task of that namespace made or used.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.resources import EVENTS, PODS
from kubeling.pipelines.api.contents import Contents
from kubeling.pipelines.api.errors import (
    InvalidArgumentError,
    NotFoundError,
    UnimplementedError,
)
from kubeling.pipelines.api.logs import stream_log
from kubeling.pipelines.api.service import DEFAULT_NAMESPACE, Service
from kubeling.pipelines.api.wire import answer, query_of
from kubeling.pipelines.logs import step_log
from kubeling.pipelines.tables import ARTIFACTS

__all__ = ["UiService"]

_SCHEMES: Final = {"minio": "minio", "s3": "s3", "gcs": "gs"}


class UiService(Service):
    """What upstream's UI server answers besides its pages."""

    resource = "runs"

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        """``/artifacts/get``: the content, unpacked if it is an archive, or its first bytes."""
        source, bucket = query_of(request, "source"), query_of(request, "bucket")
        key = query_of(request, "key")
        for name, value in (("source", source), ("bucket", bucket), ("key", key)):
            if not value:
                raise InvalidArgumentError(f"{name}: Required value")
        return await self._answer(request, source, bucket, key, unpack=True)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """``/artifacts/SOURCE/BUCKET/KEY``: the content as it is."""
        found = request.match_info
        return await self._answer(request, found["source"], found["bucket"], found["key"])

    async def pod(self, request: web.Request) -> web.StreamResponse:
        """``/k8s/pod``: the object."""
        name, namespace = await self._pod(request)
        return answer(await self.context.client.get(PODS, name, namespace))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """``/k8s/pod/events``: what happened to a pod."""
        name, namespace = await self._pod(request)
        fields = {"involvedObject.kind": "Pod", "involvedObject.name": name}
        selected = ",".join(f"{key}={value}" for key, value in fields.items())
        found = await self.context.client.list(EVENTS, namespace, fields=selected)
        return answer({"apiVersion": "v1", "kind": "EventList", "items": found.items})

    async def log(self, request: web.Request) -> web.StreamResponse:
        """``/k8s/pod/logs``: as it is written."""
        name, namespace = await self._pod(request)
        follow = query_of(request, "follow") == "true"
        context = self.context
        pieces = step_log(
            context.client, context.artifacts, namespace, name, container="", follow=follow
        )
        return await stream_log(request, pieces)

    async def may_run_code(self, request: web.Request) -> web.StreamResponse:
        """``/visualizations/allowed``: no visualization runs users' code here."""
        return answer(False)

    async def cluster(self, request: web.Request) -> web.StreamResponse:
        """``/system/…``: facts of Google's clusters."""
        raise NotFoundError("GKE metadata endpoints are disabled: this is no cluster of GKE")

    async def tensorboard(self, request: web.Request) -> web.StreamResponse:
        """``/apps/tensorboard``: the viewer that upstream starts for a log folder."""
        raise UnimplementedError(
            "TensorBoard is not started from here: create a Tensorboard (tensorboard.kubeflow.org) "
            "whose spec.logspath is the folder, or download the artifact and run tensorboard on it"
        )

    async def _answer(
        self, request: web.Request, source: str, bucket: str, key: str, *, unpack: bool = False
    ) -> web.StreamResponse:
        uri = _uri(source, bucket, key)
        namespace = self.need_namespace(query_of(request, "namespace"))
        await self._allow_viewing(request, namespace)
        folder = None
        if self.access.multi_user:
            folder = self.context.artifacts.folder / "pipelines" / namespace
            if source != "file":
                await self._need_known(uri, namespace)
        peek = query_of(request, "peek")
        if peek and not peek.isdecimal():
            raise InvalidArgumentError(f"peek: a number of bytes is expected, not {peek!r}")
        return await Contents(self.context).answer(
            request,
            uri,
            namespace=namespace or DEFAULT_NAMESPACE,
            folder=folder,
            peek=int(peek or 0),
            unpack=unpack,
        )

    async def _need_known(self, uri: str, namespace: str) -> None:
        """Buckets are read with the platform's credentials, so only what runs made is shown."""
        parts = uri.split("/")
        above = ["/".join(parts[:end]) for end in range(4, len(parts) + 1)]
        query = sa.select(ARTIFACTS.c.artifact_id).where(
            ARTIFACTS.c.namespace == namespace, ARTIFACTS.c.uri.in_(above)
        )
        if await self.database.run(lambda c: c.execute(query.limit(1)).first()) is None:
            raise NotFoundError(f"no run in the namespace {namespace} made or used {uri}")

    async def _pod(self, request: web.Request) -> tuple[str, str]:
        name, namespace = query_of(request, "podname"), query_of(request, "podnamespace")
        if not name:
            raise InvalidArgumentError("podname: Required value")
        namespace = self.need_namespace(namespace) or "default"
        await self._allow_viewing(request, namespace)
        return name, namespace

    async def _allow_viewing(self, request: web.Request, namespace: str) -> None:
        await self.access.require(request, "get", "viewers", namespace, group="kubeflow.org")


def _uri(source: str, bucket: str, key: Any) -> str:
    """The address of an artifact; a local one is taken apart as ``file://BUCKET/KEY``."""
    if source == "file":
        return f"/{bucket}/{key}"
    if source == "volume":
        raise UnimplementedError(
            "volumes are not mounted here: mount the claim in a notebook, or keep the artifact in "
            "the store"
        )
    if source in ("http", "https"):
        raise UnimplementedError(
            f"{source}://{bucket}/{key} is on the web: open it there; it is not passed on"
        )
    if source not in _SCHEMES:
        known = ", ".join([*_SCHEMES, "file"])
        raise InvalidArgumentError(f"source: Unsupported value: {source!r} ({known})")
    return f"{_SCHEMES[source]}://{bucket}/{key}"
